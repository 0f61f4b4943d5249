import { isFullRun } from '../harness/depth.js'
import { testCalls } from './call-rows.js'
import { testErrors } from './error-rows.js'

testCalls('classic')
// What an error is, messages and results say, and both are the same on every broker.
if (isFullRun) testErrors('classic')
