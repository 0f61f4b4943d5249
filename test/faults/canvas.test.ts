import { faultTest } from '../harness/fault-test.js'
import { canvasRows } from './canvas-rows.js'

canvasRows((row, body) => faultTest({ concurrent: true, ...row }, body))
