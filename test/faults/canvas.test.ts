import { someOf } from '../harness/depth.js'
import { faultTest } from '../harness/fault-test.js'
import { canvasRows } from './canvas-rows.js'

// What is left out here is taken on Redis, whose store counts in another way.
const sqliteTest = someOf(faultTest, ({ id, variant = '', promise }) => {
  if (id === 'C4' && variant === 'prefork') return /continuation|ack|after_count/.test(promise)
  return id !== 'C3' && variant !== '5 000 headers'
})
canvasRows((row, body) => sqliteTest({ concurrent: true, ...row }, body))
