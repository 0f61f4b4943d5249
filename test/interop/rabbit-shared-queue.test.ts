import { testSharedQueue } from './shared-queue-rows.js'

testSharedQueue('classic')
