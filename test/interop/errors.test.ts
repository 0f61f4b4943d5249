import { testErrors } from './error-rows.js'

testErrors('redis')
