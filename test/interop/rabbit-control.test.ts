import { testControl } from './control-rows.js'

testControl('classic')
