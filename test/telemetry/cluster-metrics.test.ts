/** What `celeriac events --metrics-port` tells of a cluster. */
import { expect, test } from 'vitest'
import { openExporter } from '../../dist/cli/events/exporter.js'
import type { CommandContext } from '../../dist/cli/with-app.js'
import { ClusterState } from '../../dist/events/cluster-state.js'
import { Celeriac, type TaskContext } from '../../dist/index.js'
import type { ClusterEvent } from '../../dist/protocol/events.js'
import { ClusterMetrics } from '../../dist/telemetry/cluster-metrics.js'
import { openRegistry } from '../../dist/telemetry/registry.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { LiveApp, until } from '../live-app.js'

const seriesOf = (text: string, series: string): number | undefined => {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

/** Metrics of events that are made up: as Python's workers send them. */
class Rig {
  readonly clock = new VirtualClock(1_700_000_000_000)
  readonly state = new ClusterState({ now: () => this.clock.now() })
  #lamport = 0

  static async open(): Promise<Rig & { metrics: ClusterMetrics }> {
    const rig = new Rig()
    return Object.assign(rig, { metrics: new ClusterMetrics(await openRegistry(), rig.state, { clock: rig.clock, flower: true }) })
  }

  event(type: string, hostname: string, fields: Readonly<Record<string, unknown>>): ClusterEvent {
    return { type, hostname, clock: ++this.#lamport, timestamp: this.clock.now() / 1000, utcoffset: 0, pid: 1, ...fields }
  }
}

test('tasks of Python workers are counted, and their waits measured, from what events tell', async () => {
  const rig = await Rig.open()
  const tell = (type: string, hostname: string, fields: Readonly<Record<string, unknown>>): void => {
    const event = rig.event(type, hostname, fields)
    rig.state.take(event)
    rig.metrics.take(event)
  }
  const text = () => rig.metrics.text(undefined)
  const one = '{name="add",hostname="py@h",queue_name="mail"}'
  tell('worker-heartbeat', 'py@h', { freq: 2, active: 3 })
  tell('task-sent', 'gen77@web', { uuid: 'a', name: 'add', queue: 'mail' })
  await rig.clock.moveTo(rig.clock.now() + 2_000)
  tell('task-received', 'py@h', { uuid: 'a', name: 'add', retries: 0, eta: null })
  const flower =
    (name: string, labels = '{worker="py@h",task="add"}') =>
    async () =>
      seriesOf(await text(), `${name}${labels}`)
  const [prefetched, prefetchTime] = [flower('flower_worker_prefetched_tasks'), flower('flower_task_prefetch_time_seconds')]
  expect(await prefetched()).toBe(1)
  await rig.clock.moveTo(rig.clock.now() + 3_000)
  tell('task-started', 'py@h', { uuid: 'a' })
  expect([await prefetched(), await prefetchTime()]).toEqual([0, 3])
  tell('task-succeeded', 'py@h', { uuid: 'a', runtime: 0.2 })
  expect(await prefetchTime()).toBe(0)
  tell('task-received', 'py@h', { uuid: 'b', name: 'add', retries: 0, eta: '2023-11-14T22:13:24+00:00' })
  tell('task-failed', 'py@h', { uuid: 'b', exception: "ValueError('no')" })
  for (const what of ['retried', 'rejected', 'revoked']) tell(`task-${what}`, 'py@h', { uuid: 'a' })
  // Who has sent b was not heard.
  expect(await text()).not.toContain('ValueError')
  await rig.clock.moveTo(rig.clock.now() + 1_000)
  // A worker may be quicker than a sender.
  tell('task-received', 'py@h', { uuid: 'c', name: 'late', retries: 0, eta: null })
  tell('task-started', 'py@h', { uuid: 'c' })
  tell('task-sent', 'gen77@web', { uuid: 'c', name: 'late', queue: 'mail' })
  const now = await text()
  expect(seriesOf(now, 'celery_task_started_total{name="late",hostname="py@h",queue_name="mail"}')).toBe(1)
  expect({
    sent: seriesOf(now, 'celery_task_sent_total{name="add",hostname="gen@web",queue_name="mail"}'),
    received: seriesOf(now, `celery_task_received_total${one}`),
    started: seriesOf(now, `celery_task_started_total${one}`),
    succeeded: seriesOf(now, `celery_task_succeeded_total${one}`),
    others: ['retried', 'rejected', 'revoked'].map((what) => seriesOf(now, `celery_task_${what}_total${one}`)),
    failed: seriesOf(now, 'celery_task_failed_total{name="add",hostname="py@h",queue_name="(unknown)",exception="ValueError"}'),
    waited: seriesOf(now, `celery_task_queue_wait_time_sum${one}`),
    ran: seriesOf(now, `celery_task_runtime_sum${one}`),
    up: seriesOf(now, 'celery_worker_up{hostname="py@h"}'),
    active: seriesOf(now, 'celery_worker_tasks_active{hostname="py@h"}'),
    flower: seriesOf(now, 'flower_events_total{worker="py@h",type="task-failed",task="add"}'),
    flowerRan: seriesOf(now, 'flower_task_runtime_seconds_sum{worker="py@h",task="add"}'),
  }).toEqual({
    sent: 1,
    received: 1,
    started: 1,
    succeeded: 1,
    others: [1, 1, 1],
    failed: 1,
    waited: 5,
    ran: 0.2,
    up: 0,
    active: 0,
    flower: 1,
    flowerRan: 0.2,
  })
  tell('worker-heartbeat', 'py@h', { freq: 2, active: 3 })
  expect(seriesOf(await text(), 'celery_worker_tasks_active{hostname="py@h"}')).toBe(3)
  expect(await flower('flower_worker_number_of_currently_executing_tasks', '{worker="py@h"}')()).toBe(3)
  // Ten minutes after it was heard last, all of it is forgotten.
  await rig.clock.moveTo(rig.clock.now() + 600_000)
  expect(seriesOf(await text(), 'flower_worker_online{worker="py@h"}')).toBe(0)
  await rig.clock.moveTo(rig.clock.now() + 2_000)
  expect((await text()).split('\n').filter((line) => line.includes('py@h'))).toEqual([])
  expect(await text()).toContain('gen@web')
})

test('schedules tell when they last ran, and how often they were late', async () => {
  const { metrics } = await Rig.open()
  const told = async (missed: number) => {
    const text = await metrics.text({ queues: [], dead: new Map(), schedules: [{ name: 'nightly', lastRunAtMs: 5_000, missed }] })
    return [
      seriesOf(text, 'celeriac_schedule_missed_total{schedule="nightly"}'),
      seriesOf(text, 'celeriac_schedule_last_run_timestamp_seconds{schedule="nightly"}'),
    ]
  }
  expect([await told(2), await told(2), await told(5), await told(1)]).toEqual([
    [2, 5],
    [2, 5],
    [5, 5],
    [6, 5],
  ])
})

test('the exporter tells of the queues, workers and schedules of an app', async () => {
  await using live = new LiveApp({
    taskSendSentEvent: true,
    workerSendTaskEvents: true,
    beatSchedule: { nightly: { task: 'add', schedule: 86_400 } },
  })
  const { app } = live
  const add = app.task('add', { bind: true }, (self: TaskContext) => self.request.id.length)
  await live.work({ hostname: 'n@h', queues: ['celery'], concurrency: 3 })
  const terminal = { data: () => {}, note: () => {} }
  const flags = { app: undefined, workdir: undefined, color: false, quiet: true, verbose: false }
  const context: CommandContext = { app, core: Celeriac.internals(app).core, file: '', exportName: 'app', terminal, flags }
  await using exporter = await openExporter(context, { host: '127.0.0.1', port: 0 }, { flower: false })
  const scrape = async () => (await fetch(`${exporter.url}/metrics`)).text()
  await app.sendTask('add', {}, { queue: 'lonely' })
  await app.sendTask('nobody').get({ timeout: 20, propagate: false })
  await add.delay().get({ timeout: 20 })
  await app.schedule.run('nightly')
  await app.control.pause('lonely', { timeout: 0.2 })
  const sent = `celery_task_sent_total{name="add",hostname="gen@`
  const text = await until(async () => {
    const now = await scrape()
    const isAll =
      seriesOf(now, 'celery_worker_up{hostname="n@h"}') === 1 &&
      seriesOf(now, 'celery_task_succeeded_total{name="add",hostname="n@h",queue_name="celery"}') === 2 &&
      seriesOf(now, 'celeriac_queue_paused{queue="lonely"}') === 1 &&
      (seriesOf(now, 'celeriac_schedule_last_run_timestamp_seconds{schedule="nightly"}') ?? 0) > 0
    return isAll && now
  })
  expect(text.split('\n').filter((line) => line.startsWith(sent))).toHaveLength(2)
  expect({
    up: seriesOf(text, 'celery_worker_up{hostname="n@h"}'),
    lengths: ['celery', 'lonely'].map((queue) => seriesOf(text, `celery_queue_length{queue_name="${queue}"}`)),
    workers: ['celery', 'lonely'].map((queue) => seriesOf(text, `celery_active_worker_count{queue_name="${queue}"}`) ?? 0),
    processes: seriesOf(text, 'celery_active_process_count{queue_name="celery"}'),
    dead: ['celery', 'lonely'].map((queue) => seriesOf(text, `celeriac_dead_letters{queue="${queue}"}`)),
  }).toEqual({ up: 1, lengths: [0, 1], workers: [1, 0], processes: 3, dead: [1, 0] })
  expect(seriesOf(text, 'celeriac_queue_oldest_seconds{queue="lonely"}')).toBeGreaterThan(0)
  expect(text).not.toContain('flower_')
})
