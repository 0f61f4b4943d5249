import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { eventRoad } from '../../dist/app/event-road.js'
import { Celeriac, type ClusterEvent } from '../../dist/index.js'
import { eventExchange, eventQueue } from '../../dist/protocol/events.js'
import { LiveApp, until } from '../live-app.js'

test('a task that a cold stop cuts off is told of as cancelled, and waits again', async () => {
  await using live = new LiveApp({ workerSendTaskEvents: true })
  const { app } = live
  const task = app.task(
    'gated',
    { bind: true },
    (self) => new Promise((_, fail) => self.signal.addEventListener('abort', () => fail(self.signal.reason))),
  )
  const seen: ClusterEvent[] = []
  await using monitor = await app.monitor({ onEvent: (event) => seen.push(event) })
  const worker = await live.work({ hostname: 'w@h' })
  const { id } = await task.delay()
  await until(() => seen.some(({ type }) => type === 'task-started'))
  await worker.stop({ mode: 'cold' })
  const cancelled = await until(() => seen.find(({ type }) => type === 'task-cancelled'))
  expect(cancelled).toMatchObject({ uuid: id, hostname: 'w@h' })
  expect(monitor.state.task(id)).toMatchObject({ state: 'PENDING', times: { cancelled: cancelled.timestamp } })
})

test('a task with sendEvents: false is told of to nobody, and heartbeats come as often as they are to', async () => {
  await using live = new LiveApp({ workerSendTaskEvents: true, taskSendSentEvent: true, workerHeartbeatInterval: '50ms' })
  const { app } = live
  const loud = app.task('loud', () => 1)
  const quiet = app.task('quiet', { sendEvents: false }, () => 2)
  const seen: ClusterEvent[] = []
  await using _ = await app.monitor({ onEvent: (event) => seen.push(event) })
  await live.work()
  expect(await quiet.delay().get({ timeout: 20 })).toBe(2)
  expect(await loud.delay().get({ timeout: 20 })).toBe(1)
  await until(() => seen.some(({ type }) => type === 'task-succeeded'))
  await until(() => seen.filter(({ type }) => type === 'worker-heartbeat').length > 3)
  expect(new Set(seen.filter(({ type }) => type.startsWith('task-')).map(({ uuid }) => uuid)).size).toBe(1)
  expect(seen.find(({ type }) => type === 'worker-heartbeat')).toMatchObject({ freq: 0.05 })
})

test('events and commands go through the exchanges that are named: who names others hears and steers nobody', async () => {
  const broker = `memory://${randomUUID()}`
  const names = { eventExchange: 'mine.events', controlExchange: 'mine' }
  await using live = new LiveApp({ broker, workerSendTaskEvents: true, ...names })
  await using other = new LiveApp({ broker })
  const one = live.app.task('one', () => 1)
  const heard = { live: 0, other: 0 }
  await using _live = await live.app.monitor({ onEvent: () => void heard.live++ })
  await using _other = await other.app.monitor({ onEvent: () => void heard.other++ })
  await live.work({ hostname: 'w@h' })
  await one.delay().get({ timeout: 20 })
  await until(() => heard.live > 2)
  expect(heard.other).toBe(0)
  expect(Object.keys(await live.app.control.ping({ limit: 1, timeout: 20 }))).toEqual(['w@h'])
  expect(await other.app.control.ping({ timeout: 0.2 })).toEqual({})
})

test('the queue of a monitor that is gone goes after eventQueueExpires, where its connection does not take it along', async () => {
  await using live = new LiveApp({ eventQueueExpires: '300ms' })
  const { core } = Celeriac.internals(live.app)
  const connection = await core.connections.connect()
  const { exchangeType, queueLimits } = eventRoad(core, connection)
  const queue = eventQueue('celeryev.gone', 'celeryev', '#', queueLimits)
  await connection.declare({ exchanges: [eventExchange('celeryev', exchangeType)], queues: [queue] })
  const to = { exchange: '', routingKey: queue.name }
  const isGone = () =>
    connection
      .publish({ body: '', contentType: 'application/json', contentEncoding: 'utf-8', headers: {}, properties: {} }, to, {
        deadlineMs: 5_000,
      })
      .then(
        () => false,
        (error: { code?: string }) => error.code === 'ERR_NOT_PUBLISHED',
      )
  expect(await isGone()).toBe(false)
  await until(isGone)
  await connection.close()
})
