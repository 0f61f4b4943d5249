import { testCalls } from './call-rows.js'
import { testErrors } from './error-rows.js'
import { oneFleet } from './fleet.js'

const fleet = oneFleet({ python: ['python'], node: ['node'] })
testCalls('redis', fleet)
testErrors('redis', fleet)
