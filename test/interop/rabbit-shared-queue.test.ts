import { testSharedQueue } from './shared-queue-rows.js'

testSharedQueue('classic', { count: 10_000 })
