import { faultTest } from '../harness/fault-test.js'
import { crashRows } from './crash-rows.js'

crashRows(faultTest)
