import { testCalls } from './call-rows.js'

testCalls('redis')
