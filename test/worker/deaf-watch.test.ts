/** The watch over a worker that is connected and hears nothing, over the memory broker: a connection that nobody consumes on is as deaf as one can be. */
import { expect, test } from 'vitest'
import { executeWith } from '../../dist/app/execute.js'
import { Celeriac } from '../../dist/index.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { TaskConsumer } from '../../dist/worker/consumer.js'
import { DeafWatch, type Hearing } from '../../dist/worker/deaf-watch.js'
import { makePool } from '../../dist/worker/make-pool.js'
import { Presence } from '../../dist/worker/presence.js'
import { RateLimits } from '../../dist/worker/rate-limits.js'
import { RefusalLog } from '../../dist/worker/refusal-log.js'
import { RevokedTasks } from '../../dist/worker/revoked.js'
import { Settler } from '../../dist/worker/settler.js'
import { WorkerQueues } from '../../dist/worker/worker-queues.js'
import { LiveApp, until } from '../live-app.js'

async function deaf(live: LiveApp) {
  const connection = await Celeriac.internals(live.app).core.connections.publisher()
  const clock = new VirtualClock()
  const hearing = { connection, queues: ['celery'], hasPlace: true, received: 0 }
  let current: Hearing | undefined = hearing
  const lines: string[] = []
  const say = (_: unknown, text = ''): void => void lines.push(text)
  const watch = new DeafWatch({
    clock,
    log: { debug: say, info: say, warn: say, error: say },
    deafMs: 2_000,
    hearing: () => current,
    repair: async () => {},
  })
  watch.start()
  // The memory broker answers within the turn, so the next look is set when the clock moves again.
  const look = (): Promise<void> => clock.moveTo(clock.now() + 1_000)
  return { hearing, watch, look, lines, hear: (next: Hearing | undefined) => (current = next) }
}

test('messages that wait for two looks, with free places and nothing received, are a deaf worker', async () => {
  await using live = new LiveApp()
  const { watch, look, lines } = await deaf(live)
  await look()
  await look()
  expect(watch.suspicion).toBeUndefined()
  await live.app.sendTask('any')
  await look()
  expect(watch.suspicion).toMatch(/1 messages in queue celery/)
  expect(watch.repairs).toBe(0)
  await look()
  expect(watch).toMatchObject({ repairs: 1, suspicion: undefined })
  expect(lines).toHaveLength(1)
  watch.stop()
})

test('a worker that received something, has no place, takes nothing, or whose messages are not due is not deaf', async () => {
  await using live = new LiveApp()
  await live.app.sendTask('any', {}, { countdown: 600 })
  const { watch, look, hear, hearing } = await deaf(live)
  for (let n = 0; n < 4; n++) await look()
  expect(watch.suspicion).toBeUndefined()
  await live.app.sendTask('any')
  for (const other of [{ ...hearing, hasPlace: false }, undefined]) {
    hear(other)
    for (let n = 0; n < 4; n++) await look()
  }
  for (let received = 1; received < 5; received++) {
    hear({ ...hearing, received })
    await look()
  }
  expect(watch).toMatchObject({ repairs: 0, suspicion: undefined })
  watch.stop()
})

test('a repair that does not help is repeated more and more seldom', async () => {
  await using live = new LiveApp()
  await live.app.sendTask('any')
  const { watch, look } = await deaf(live)
  for (let n = 0; n < 40; n++) await look()
  expect(watch.repairs).toBeGreaterThan(2)
  expect(watch.repairs).toBeLessThan(7)
  watch.stop()
})

test('all who wait until nothing is held any more learn it: the end of a connection that was left, and that of the worker', async () => {
  await using live = new LiveApp()
  let open = (): void => {}
  live.app.task('gated', () => new Promise<void>((resolve) => (open = resolve)))
  const { core, sender } = Celeriac.internals(live.app)
  const hostname = 'w@h'
  const [connection, backend] = await Promise.all([core.connections.connect(), core.connections.backend()])
  const { events, counts } = new Presence(core, hostname, { heartbeat: false }, () => 0)
  const pool = await makePool(
    core,
    { pool: 'async' },
    { execute: executeWith(core, sender), storeState: async () => {}, onFatal: () => {} },
  )
  await pool.start()
  const shared = { core, backend, refusals: new RefusalLog(core), events, hostname }
  const settler = new Settler({ ...shared, sender, connection, isHeld: () => false })
  const queues = new WorkerQueues(core.routes, ['celery'])
  const tasks = new TaskConsumer({
    ...shared,
    pool,
    settler,
    counts,
    queues,
    revoked: new RevokedTasks(() => core.clock.monotonic()),
    limits: new RateLimits(core),
  })
  for (const topology of queues.topologies) await connection.declare(topology)
  await connection.consume({ queues: queues.sources, prefetch: 1, onDeliveries: tasks.take })
  const sent = await live.app.sendTask('gated')
  await until(() => tasks.activeCount === 1)
  const waits = [tasks.idle(), tasks.idle()]
  open()
  await Promise.all(waits)
  await sent.get({ timeout: 30 })
  await pool.stop({ signal: AbortSignal.abort() })
  await connection.close()
})
