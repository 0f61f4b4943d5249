import { isFullRun } from '../harness/depth.js'
import { testCalls } from './call-rows.js'
import { testErrors } from './error-rows.js'
import { oneFleet } from './fleet.js'

const fleet = oneFleet({ broker: 'classic', python: ['python'], node: ['node'] })
testCalls('classic', fleet)
// What an error is, messages and results say, and both are the same on every broker.
if (isFullRun) testErrors('classic', fleet)
