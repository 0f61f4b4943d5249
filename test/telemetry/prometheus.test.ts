import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TaskContext, Worker } from '../../dist/index.js'
import { FewValues } from '../../dist/telemetry/few-values.js'
import { LiveApp, until } from '../live-app.js'

class Declined extends Error {}

let live: LiveApp
let worker: Worker
let url: string

beforeAll(async () => {
  live = new LiveApp({ workerMetricsPort: 0, workerHealthPort: 0, flowerCompat: true })
  live.app.task('ok', () => 1)
  live.app.task('fail', () => {
    throw new Declined('no')
  })
  live.app.task('again', { bind: true }, (self: TaskContext) => (self.request.retries === 0 ? self.retry({ countdown: 0 }) : 1))
  live.app.task('reject', { bind: true }, (self: TaskContext) => self.reject())
  worker = await live.work({ hostname: 'p@h' })
  const [line] = live.said(/^listening on /)
  url = String((line?.fields as { url?: unknown } | undefined)?.url)
})
afterAll(async () => live[Symbol.asyncDispose]())

const scrape = async (): Promise<string> => {
  const response = await fetch(`${url}/metrics`)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  return response.text()
}
const seriesOf = (text: string, series: string): number | undefined => {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}
const of = (name: string): string => `{name="${name}",hostname="p@h",queue_name="celery"}`

test('it counts what happens to tasks, under the names of celery-exporter', async () => {
  for (const name of ['ok', 'fail', 'again']) await live.app.sendTask(name).get({ timeout: 20, propagate: false })
  await live.app.sendTask('reject')
  await live.app.sendTask('ok', {}, { expires: new Date(0) })
  await live.app.sendTask('from-the-wire').get({ timeout: 20, propagate: false })
  const text = await until(async () => {
    const now = await scrape()
    return (
      seriesOf(now, `celery_task_rejected_total${of('reject')}`) === 1 && seriesOf(now, `celery_task_revoked_total${of('ok')}`) === 1 && now
    )
  }, 20_000)
  expect({
    received: seriesOf(text, `celery_task_received_total${of('again')}`),
    started: seriesOf(text, `celery_task_started_total${of('again')}`),
    succeeded: seriesOf(text, `celery_task_succeeded_total${of('again')}`),
    retried: seriesOf(text, `celery_task_retried_total${of('again')}`),
    failed: seriesOf(text, 'celery_task_failed_total{name="fail",hostname="p@h",queue_name="celery",exception="Declined"}'),
    // Nobody who can write to the broker can make series.
    unknown: seriesOf(text, 'celery_task_failed_total{name="(unknown)",hostname="p@h",queue_name="celery",exception="NotRegistered"}'),
    runs: seriesOf(text, `celery_task_runtime_count${of('ok')}`),
    waits: seriesOf(text, `celery_task_queue_wait_time_count${of('ok')}`),
  }).toEqual({ received: 2, started: 2, succeeded: 1, retried: 1, failed: 1, unknown: 1, runs: 1, waits: 1 })
})

test('it says how the worker, its queues and its process are', async () => {
  const text = await scrape()
  expect(seriesOf(text, 'celery_worker_up{hostname="p@h"}')).toBe(1)
  expect(seriesOf(text, 'celery_worker_tasks_active{hostname="p@h"}')).toBe(0)
  expect(seriesOf(text, 'celery_queue_length{queue_name="celery"}')).toBe(0)
  expect(seriesOf(text, 'celery_active_process_count{queue_name="celery"}')).toBe(100)
  expect(seriesOf(text, 'celeriac_event_loop_lag_seconds{hostname="p@h"}')).toBeGreaterThanOrEqual(0)
  expect(seriesOf(text, 'process_resident_memory_bytes')).toBeGreaterThan(1e6)
  expect(seriesOf(text, 'celeriac_dead_letters')).toBe(2)
})

test('what waits in a paused queue grows old', async () => {
  await live.app.control.addConsumer('held')
  await live.app.control.pause('held', { timeout: 0.2 })
  await live.app.sendTask('ok', {}, { queue: 'held' })
  const text = await until(async () => {
    const now = await scrape()
    return (seriesOf(now, 'celeriac_queue_oldest_seconds{queue="held"}') ?? 0) > 0 && now
  })
  expect(['celery', 'held'].map((queue) => seriesOf(text, `celeriac_queue_paused{queue="${queue}"}`))).toEqual([0, 1])
  expect(['celery', 'held'].map((queue) => seriesOf(text, `celery_active_worker_count{queue_name="${queue}"}`))).toEqual([1, 0])
  expect(seriesOf(text, 'celery_queue_length{queue_name="held"}')).toBe(1)
  expect(seriesOf(text, 'celeriac_queue_oldest_seconds{queue="celery"}')).toBe(0)
  await live.app.control.cancelConsumer('held')
  expect(seriesOf(await scrape(), 'celeriac_queue_paused{queue="held"}')).toBeUndefined()
})

test('with flowerCompat it has the names of Flower, too', async () => {
  const text = await scrape()
  const task = '{worker="p@h",task="ok"}'
  expect({
    events: ['received', 'started', 'succeeded', 'revoked'].map((what) =>
      seriesOf(text, `flower_events_total{worker="p@h",type="task-${what}",task="ok"}`),
    ),
    runs: seriesOf(text, `flower_task_runtime_seconds_count${task}`),
    prefetched: seriesOf(text, `flower_worker_prefetched_tasks${task}`),
    waited: seriesOf(text, `flower_task_prefetch_time_seconds${task}`),
    online: seriesOf(text, 'flower_worker_online{worker="p@h"}'),
    executing: seriesOf(text, 'flower_worker_number_of_currently_executing_tasks{worker="p@h"}'),
  }).toEqual({ events: [1, 1, 1, 1], runs: 1, prefetched: 0, waited: 0, online: 1, executing: 0 })
})

test('health and metrics share a port that is given to both', async () => {
  const response = await fetch(`${url}/readyz`)
  expect([response.status, ((await response.json()) as { hostname: string }).hostname]).toEqual([200, worker.hostname])
})

test('a label has a limited number of values', () => {
  const few = new FewValues(2)
  expect(['a', 'b', 'c', 'a', 'd'].map((value) => few.of(value))).toEqual(['a', 'b', '(others)', 'a', '(others)'])
})

test('the port is closed with the worker', async () => {
  await worker.stop()
  await expect(fetch(`${url}/metrics`)).rejects.toThrow()
})
