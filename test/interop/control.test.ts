import { testControl } from './control-rows.js'

testControl('redis')
