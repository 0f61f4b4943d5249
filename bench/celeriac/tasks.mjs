// @ts-check
import { setTimeout as sleep } from 'node:timers/promises'
import { Celeriac } from '../../dist/index.js'
import { mark, spin, stamp, stampLate } from '../marks.mjs'

const { BENCH_BROKER: broker, BENCH_BACKEND: backend, BENCH_IGNORE: ignore, BENCH_UNCONFIRMED: unconfirmed } = process.env
const { BENCH_EVENTS: events, BENCH_METRICS: metrics, BENCH_TRACES: traces } = process.env
if (traces !== undefined) await import('./traces.mjs')

export const app = new Celeriac('bench', {
  broker,
  workerLogLevel: 'warning',
  // As in a project without its package, which is among the development dependencies of this one.
  openTelemetry: false,
  ...(backend === undefined ? {} : { backend }),
  ...(ignore === undefined ? {} : { taskIgnoreResult: true }),
  ...(events === undefined ? {} : { workerSendTaskEvents: true }),
  ...(metrics === undefined ? {} : { workerMetricsPort: 0 }),
  ...(unconfirmed === undefined ? {} : { brokerTransportOptions: { confirmPublish: false } }),
})

export const add = app.task('bench.add', (/** @type {number} */ x, /** @type {number} */ y) => {
  mark()
  return x + y
})

export const cpu = app.task('bench.cpu', (/** @type {number} */ ms) => {
  spin(ms)
  mark()
})

export const wait = app.task('bench.wait', async (/** @type {number} */ ms) => {
  await sleep(ms)
  mark()
})

export const stamped = app.task('bench.stamped', (/** @type {number} */ sentNs) => stamp(sentNs))

export const late = app.task('bench.late', (/** @type {number} */ dueMs) => stampLate(dueMs))

export const total = app.task('bench.total', (/** @type {number[]} */ numbers) => numbers.reduce((sum, number) => sum + number, 0))
