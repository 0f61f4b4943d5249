import { rounds } from '../harness/depth.js'
import { testSharedQueue } from './shared-queue-rows.js'

testSharedQueue('classic', { count: rounds(2_000, 10_000) })
