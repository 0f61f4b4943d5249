import { testErrors } from './error-rows.js'

testErrors('classic')
