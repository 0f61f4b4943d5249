import { testCanvas } from './canvas-rows.js'

testCanvas('redis')
