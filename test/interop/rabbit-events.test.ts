import { testEvents } from './event-rows.js'

testEvents('classic')
