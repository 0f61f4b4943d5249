import { testSharedQueue } from './shared-queue-rows.js'

testSharedQueue('redis', { count: 10_000 })
