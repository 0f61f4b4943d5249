import { testSharedQueue } from './shared-queue-rows.js'

testSharedQueue('quorum', { count: 4_000 })
