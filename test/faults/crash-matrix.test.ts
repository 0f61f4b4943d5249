import { faultTest } from '../harness/fault-test.js'
import { crashRows } from './crash-rows.js'

/** Each point once, the pools in turn; two of them are redis-process.test.ts'. */
const async = /before_start|after_store|ack/
const prefork = /run\.started|continuation|shutdown/

crashRows(faultTest, { takes: ({ variant, promise }) => (variant === 'async' ? async : prefork).test(promise.split(':')[0] ?? '') })
