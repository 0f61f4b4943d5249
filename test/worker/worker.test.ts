import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Connections } from '../../dist/app/connections.js'
import { openBackend } from '../../dist/backends/index.js'
import { type AppOptions, Celeriac, celeryDefaults, createClient } from '../../dist/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { nodeName } from '../../dist/internal/node-name.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import type { Delivery } from '../../dist/transport.js'
import { openTransport } from '../../dist/transports/index.js'
import { Programs } from '../harness/programs.js'
import { LiveApp, until } from '../live-app.js'

/** A task that runs until it is let go, or told to stop. */
function gated(live: LiveApp, options: { acksLate?: boolean } = {}) {
  const gates: (() => void)[] = []
  const task = live.app.task('gated', { bind: true, ...options }, async (self, what: string) => {
    await new Promise<void>((resolve, reject) => {
      gates.push(resolve)
      self.signal.addEventListener('abort', () => reject(self.signal.reason), { once: true })
    })
    return what
  })
  return { task, gates }
}

/** Takes every waiting message as another worker would, and gives it back. */
async function takeAndGiveBack(app: Celeriac, times: number, giveBack: (delivery: Delivery) => void): Promise<void> {
  const connection = await Celeriac.internals(app).core.connections.connect()
  for (let i = 0; i < times; i++) {
    const deliveries: Delivery[] = []
    const consumer = await connection.consume({ queues: ['celery'], prefetch: 1, onDeliveries: (batch) => void deliveries.push(...batch) })
    const delivery = await until(() => deliveries[0])
    await consumer.cancel()
    giveBack(delivery)
  }
  await connection.close()
}

// ── start and stop ───────────────────────────────────────────────────────────

test('a warm stop waits for what runs and gives back what waits', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  const results = await Promise.all(['a', 'b', 'c'].map((what) => task.delay(what)))
  const worker = await live.work({ concurrency: 1 })
  await until(() => gates.length === 1)
  let stopped = false
  const stopping = worker.stop().then(() => {
    stopped = true
  })
  await until(() => live.said('shutting down').length === 1)
  expect(stopped).toBe(false)
  gates[0]?.()
  await stopping
  expect(await results[0]?.get({ timeout: 30 })).toBe('a')
  expect([gates.length, await live.app.control.purge()]).toEqual([1, 2])
})

test('a cold stop aborts what runs and gives it back, uncounted', async () => {
  await using live = new LiveApp({ taskDeliveryLimit: 1 })
  const { task, gates } = gated(live)
  const sent = await task.delay('a')
  const worker = await live.work()
  await until(() => gates.length === 1)
  await worker.stop({ mode: 'cold' })
  expect(await sent.state()).toBe('PENDING')
  await live.work()
  await until(() => gates.length === 2)
  gates[1]?.()
  expect(await sent.get({ timeout: 30 })).toBe('a')
})

test('a cold stop after a warm one cuts it short', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await task.delay('a')
  const worker = await live.work()
  await until(() => gates.length === 1)
  const warm = worker.stop()
  await worker.stop({ mode: 'cold' })
  await warm
  expect(await live.app.control.purge()).toBe(1)
})

test('a warm stop with a timeout becomes cold', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await task.delay('a')
  const worker = await live.work()
  await until(() => gates.length === 1)
  await worker.stop({ timeout: '20ms' })
  expect(await live.app.control.purge()).toBe(1)
})

test('a warm stop gives up a result store that answers nothing: what ran goes back to its queue', async () => {
  await using live = new LiveApp()
  const { core } = Celeriac.internals(live.app)
  const clock = new VirtualClock()
  core.clock = clock
  core.connections = new Connections({
    brokers: core.config.brokerUrl,
    backend: core.config.resultBackend,
    connectTimeoutMs: 4_000,
    clock: systemClock,
    drivers: {
      openTransport: (address) => openTransport(address, { clock: systemClock }),
      openBackend: async (address) => {
        const backend = await openBackend(address, { clock: systemClock })
        return new Proxy(backend, {
          get: (target, name) => {
            if (name === 'store') return () => new Promise(() => {})
            const value: unknown = Reflect.get(target, name, target)
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    },
  })
  const { task, gates } = gated(live)
  await task.delay('a')
  const worker = await live.work({ concurrency: 1 })
  await until(() => gates.length === 1)
  const stopping = worker.stop().then(() => true)
  gates[0]?.()
  const moving = setInterval(() => void clock.moveTo(clock.now() + 1_000), 5)
  expect(await stopping).toBe(true)
  clearInterval(moving)
  expect(await live.app.control.purge()).toBe(1)
})

test('a task with early acks that a cold stop cuts off has failed: nobody else has it', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live, { acksLate: false })
  const sent = await task.delay('a')
  const worker = await live.work()
  await until(() => gates.length === 1)
  await worker.stop({ mode: 'cold' })
  await expect(sent.get({ timeout: 30 })).rejects.toMatchObject({ excType: 'WorkerLostError' })
  expect(await live.app.control.purge()).toBe(0)
})

test('stop() is safe twice, before start() and during it', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  const never = live.app.worker({ pool: 'async' })
  await never.stop()
  const worker = live.app.worker({ pool: 'async' })
  const starting = worker.start()
  await Promise.all([worker.stop(), worker.stop()])
  await starting
  await worker.stop()
  await one.delay()
  expect(await live.app.control.purge()).toBe(1)
})

test('a soft stop takes all of its time, even when nothing runs, where it is told to; a cold one does not wait for that', async () => {
  await using live = new LiveApp({ workerSoftShutdownTimeout: 0.3, workerEnableSoftShutdownOnIdle: true })
  const worker = await live.work()
  const from = performance.now()
  await worker.stop({ mode: 'soft' })
  expect(performance.now() - from).toBeGreaterThan(290)
  await using patient = new LiveApp({ workerSoftShutdownTimeout: 3_600, workerEnableSoftShutdownOnIdle: true })
  const other = await patient.work()
  const stopped = other.stop({ mode: 'soft' })
  await other.stop({ mode: 'cold' })
  await stopped
})

test('stop() does not wait for processes that never come to their first task', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-hangs-'))
  try {
    const file = join(folder, 'app.mjs')
    writeFileSync(
      file,
      "import { writeFileSync } from 'node:fs'\nwriteFileSync(new URL('./loaded', import.meta.url), '')\nawait new Promise(() => setInterval(() => {}, 1_000))\n",
    )
    await using live = new LiveApp()
    const worker = live.app.worker({ pool: 'prefork', app: file, concurrency: 1 })
    const starting = worker.start()
    await until(() => existsSync(join(folder, 'loaded')), 20_000)
    await worker.stop()
    await starting
    expect(worker.state).toBe('stopped')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('start() is safe twice', async () => {
  await using live = new LiveApp()
  let ready = 0
  live.app.on('workerReady', () => void ready++)
  const worker = await live.work()
  await Promise.all([worker.start(), worker.start()])
  expect(ready).toBe(1)
})

test('starts and stops in any order end, and leave nothing running', async () => {
  for (let round = 0; round < 20; round++) {
    await using live = new LiveApp()
    live.app.task('one', () => 1)
    const worker = live.app.worker({ pool: 'async' })
    const doings = Array.from({ length: 6 }, (_, i) =>
      (round >> (i % 3)) % 2 === 0 ? worker.start() : worker.stop({ mode: i % 2 ? 'cold' : 'warm' }),
    )
    await Promise.all(doings)
    await worker.stop()
  }
})

test('a signal stops the worker, also one that has aborted before', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  const controller = new AbortController()
  let stopped = 0
  live.app.on('workerShutdown', () => void stopped++)
  await live.work({ signal: controller.signal })
  controller.abort()
  await until(() => stopped === 1)
  await live.app.worker({ pool: 'async', signal: controller.signal }).run()
  await one.delay()
  expect(await live.app.control.purge()).toBe(1)
})

test('a worker that cannot start says why, and leaves nothing open', async () => {
  await using live = new LiveApp({
    taskQueues: [
      { name: 'q', exchange: 'x', exchangeType: 'topic' },
      { name: 'r', exchange: 'x', exchangeType: 'direct' },
    ],
  })
  const worker = live.app.worker({ pool: 'async' })
  await expect(worker.start()).rejects.toMatchObject({ code: 'ERR_DECLARATION_MISMATCH' })
  await expect(worker.run()).rejects.toMatchObject({ code: 'ERR_DECLARATION_MISMATCH' })
  await worker.stop()
})

test.each([
  [{ pool: 'threads' as const }, /the threads pool/],
  [{ pool: 'prefork' as const }, /Pass that file: \{ app: new URL\("\.\/tasks\.ts", import\.meta\.url\) \}/],
  [{ queues: ['a\n'] }, /queue/],
])('a worker with %j is refused', async (options, message) => {
  await using live = new LiveApp()
  await expect(live.work(options)).rejects.toThrow(message)
})

test('a stopped worker takes nothing more; what comes then waits for the next', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  const worker = await live.work()
  await worker.stop()
  const sent = await one.delay()
  expect(await sent.state()).toBe('PENDING')
  await live.work()
  expect(await sent.get({ timeout: 30 })).toBe(1)
})

test('node names are expanded as Celery does', () => {
  const [short = '', ...domain] = nodeName('%h@x').replace('@x', '').split('.')
  expect(nodeName('w1@%n')).toBe(`w1@${short}`)
  expect(nodeName('w1@%d')).toBe(`w1@${domain.join('.')}`)
  expect(nodeName('w%%h@x')).toBe('w%h@x')
  expect(nodeName('w1')).toBe(`w1@${nodeName('%h@x').replace('@x', '')}`)
})

test('the worker holds no more messages than concurrency times the prefetch multiplier', async () => {
  await using live = new LiveApp({ workerPrefetchMultiplier: 2 })
  const { task, gates } = gated(live)
  await Promise.all(Array.from({ length: 10 }, (_, i) => task.delay(String(i))))
  await live.work({ concurrency: 2 })
  await until(() => gates.length === 2)
  await until(() => live.said('received').length === 4)
  const connection = await Celeriac.internals(live.app).core.connections.publisher()
  expect(await connection.size('celery')).toBe(6)
})

// ── redelivery ───────────────────────────────────────────────────────────────

test('a redelivered task that has succeeded is not run again, but its links are sent', async () => {
  await using live = new LiveApp()
  let runs = 0
  const got: unknown[] = []
  const note = live.app.task('note', (x: number) => void got.push(x))
  const one = live.app.task('one', () => ++runs)
  const sent = await one.applyAsync([], { link: note.s() })
  const { core } = Celeriac.internals(live.app)
  const backend = await core.connections.backend()
  await backend.store(
    { taskId: sent.id, status: 'SUCCESS', result: 42, traceback: null, children: [], dateDone: core.isoNow() },
    { expiresSeconds: null },
  )
  await takeAndGiveBack(live.app, 1, (delivery) => delivery.release())
  await live.work()
  await until(() => got.length === 1)
  expect([got, runs, await live.app.control.purge()]).toEqual([[42], 0, 0])
})

test('a redelivered task that has failed sends its errbacks; one that was revoked sends nothing', async () => {
  await using live = new LiveApp()
  const got: unknown[] = []
  const note = live.app.task('note', (x: string) => void got.push(x))
  const one = live.app.task('one', () => 1)
  const { core } = Celeriac.internals(live.app)
  const backend = await core.connections.backend()
  for (const [taskId, status] of [
    ['failed', 'FAILURE'],
    ['revoked', 'REVOKED'],
  ] as const) {
    await one.applyAsync([], { taskId, linkError: note.s(), link: note.s() as never })
    const result = { exc_type: 'X', exc_message: [], exc_module: null }
    await backend.store({ taskId, status, result, traceback: null, children: [], dateDone: core.isoNow() }, { expiresSeconds: null })
    await takeAndGiveBack(live.app, 1, (delivery) => delivery.release())
  }
  await live.work()
  await until(() => got.length === 1)
  await until(async () =>
    (await Promise.all(['failed', 'revoked'].map((id) => core.connections.publisher().then((c) => c.locate(id))))).every(
      (place) => place === 'absent',
    ),
  )
  expect(got).toEqual(['failed'])
})

test('a link that was sent before the crash is not sent again', async () => {
  await using live = new LiveApp()
  const got: unknown[] = []
  const note = live.app.task('note', (x: number) => void got.push(x))
  const one = live.app.task('one', () => 1)
  await live.app.sendTask('note', { args: [42] }, { taskId: 'linked', queue: 'elsewhere' })
  const sent = await one.applyAsync([], { link: note.s().set({ taskId: 'linked' }) })
  const { core } = Celeriac.internals(live.app)
  await (await core.connections.backend()).store(
    { taskId: sent.id, status: 'SUCCESS', result: 42, traceback: null, children: [], dateDone: core.isoNow() },
    { expiresSeconds: null },
  )
  await takeAndGiveBack(live.app, 1, (delivery) => delivery.release())
  await live.work({ queues: ['celery', 'elsewhere'] })
  await until(() => got.length === 1)
  await until(async () => (await (await core.connections.publisher()).locate(sent.id)) === 'absent')
  expect(got).toEqual([42])
})

test('a redelivered task that has not ended runs', async () => {
  await using live = new LiveApp()
  const see = live.app.task('see', { bind: true }, (self) => self.request.redelivered)
  const sent = await see.delay()
  await takeAndGiveBack(live.app, 2, (delivery) => delivery.release())
  await live.work()
  expect(await sent.get({ timeout: 30 })).toBe(true)
})

test('a message whose worker was lost too often is a dead letter, and its task has failed', async () => {
  await using live = new LiveApp({ taskDeliveryLimit: 2 })
  let runs = 0
  const one = live.app.task('one', () => ++runs)
  const sent = await one.delay()
  await takeAndGiveBack(live.app, 2, (delivery) => delivery.release({ counted: true }))
  await live.work()
  await expect(sent.get({ timeout: 30 })).rejects.toMatchObject({
    excType: 'WorkerLostError',
    message: expect.stringContaining('delivered 2 times'),
  })
  expect([runs, await live.app.deadLetters.count()]).toEqual([0, 1])
})

// ── acks ─────────────────────────────────────────────────────────────────────

async function leftBehind(live: LiveApp, id: string): Promise<string> {
  return (await Celeriac.internals(live.app).core.connections.publisher()).locate(id)
}

test('with celeryDefaults a message is acked before its task runs', async () => {
  await using live = new LiveApp({ ...celeryDefaults })
  const { task, gates } = gated(live)
  await live.work()
  const sent = await task.delay('a')
  await until(() => gates.length === 1)
  expect(await leftBehind(live, sent.id)).toBe('absent')
  gates[0]?.()
  expect(await sent.get({ timeout: 30 })).toBe('a')
})

test('with late acks the message is held until the result is stored', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work()
  const sent = await task.delay('a')
  await until(() => gates.length === 1)
  expect(await leftBehind(live, sent.id)).toBe('leased')
  gates[0]?.()
  await sent.get({ timeout: 30 })
  await until(async () => (await leftBehind(live, sent.id)) === 'absent')
})

test.each<[string, AppOptions]>([
  ['late', {}],
  ['early', { taskAcksLate: false }],
])('%s acks: every way to end leaves no message behind', async (_, options) => {
  await using live = new LiveApp(options)
  live.app.task('ok', () => 1)
  live.app.task('fail', () => {
    throw new Error('no')
  })
  live.app.task('ignore', { bind: true }, (self) => self.ignore())
  live.app.task('reject', { bind: true }, (self) => self.reject())
  live.app.task('retry', { bind: true }, (self) => (self.request.retries === 0 ? self.retry({ countdown: 0 }) : 1))
  await live.app.sendTask('ok', {}, { taskId: 'revoked' })
  await live.app.control.revoke('revoked')
  await live.app.sendTask('ok', {}, { taskId: 'expired', expires: new Date(0) })
  await live.app.sendTask('unknown', {}, { taskId: 'unknown' })
  for (const task of ['ok', 'fail', 'ignore', 'reject', 'retry']) await live.app.sendTask(task, {}, { taskId: task })
  await live.work()
  const ids = ['revoked', 'expired', 'unknown', 'ok', 'fail', 'ignore', 'reject', 'retry']
  await until(async () => {
    const places = await Promise.all(ids.map((id) => leftBehind(live, id)))
    return places.every((place) => place === 'absent')
  })
})

test('a failed task is a dead letter where acksOnFailureOrTimeout is false', async () => {
  await using live = new LiveApp({ taskAcksOnFailureOrTimeout: false })
  const fail = live.app.task('fail', () => {
    throw new Error('no')
  })
  await live.work()
  await fail.delay().get({ timeout: 5, propagate: false })
  await until(async () => (await live.app.deadLetters.count()) === 1)
})

test('trackStarted: STARTED is seen while the task runs', async () => {
  await using live = new LiveApp({ taskTrackStarted: true })
  const { task, gates } = gated(live)
  await live.work({ hostname: 'w@h' })
  const sent = await task.delay('a')
  await until(async () => (await sent.state()) === 'STARTED')
  expect(await sent.info()).toEqual({ pid: process.pid, hostname: 'w@h' })
  gates[0]?.()
  expect(await sent.get({ timeout: 30 })).toBe('a')
})

test('a worker says what it is at, and that it is ready only while it takes tasks', async () => {
  await using live = new LiveApp()
  const seen: [string, boolean][] = []
  const worker = live.app.worker({ pool: 'async' })
  const look = (): void => void seen.push([worker.state, worker.isReady])
  look()
  const starting = worker.start()
  look()
  await starting
  look()
  const ends: (() => void)[] = []
  const slow = live.app.task('slow', () => new Promise<void>((resolve) => void ends.push(resolve)))
  await slow.delay()
  await until(() => ends.length === 1)
  const stopping = worker.stop()
  await until(() => worker.state === 'draining')
  look()
  ends[0]?.()
  await stopping
  look()
  expect(seen).toEqual([
    ['new', false],
    ['starting', false],
    ['consuming', true],
    ['draining', false],
    ['stopped', false],
  ])
})

test('a worker that could not start has stopped', async () => {
  await using live = new LiveApp({ broker: 'nosuch://a', backend: 'disabled' })
  const worker = live.app.worker({ pool: 'async' })
  await expect(worker.start()).rejects.toThrow(/nosuch/)
  expect([worker.state, worker.isReady]).toEqual(['stopped', false])
})

// ── remotes and clients ──────────────────────────────────────────────────────

test('remote tasks are sent by name: positions, one object, or keywords', async () => {
  await using live = new LiveApp()
  live.app.task('add', { params: ['x', 'y'] }, (x: number, y: number) => x + y)
  await live.work()
  const [broker = ''] = Celeriac.internals(live.app).core.config.brokerUrl
  await using other = new Celeriac('other', { broker })
  const add = other.remote<(x: number, y: number) => number>('add')
  const named = other.remotes<{ add: (input: { x: number; y: number }) => number }>()
  expect(await add.delay(1, 2).get({ timeout: 30 })).toBe(3)
  expect(await named.add.delay({ x: 1, y: 3 }).get({ timeout: 30 })).toBe(4)
  expect(named.add).toBe(named.add)
  expect(await other.sendTask('add', { args: [1], kwargs: { y: 4 } }).get({ timeout: 30 })).toBe(5)
  await expect(add(1, 2)).rejects.toThrow(/only its type is known/)
  expect('then' in (await Promise.resolve(named))).toBe(false)
})

test('createClient() sends and waits, and loads no worker', async () => {
  await using live = new LiveApp()
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  const [broker = ''] = Celeriac.internals(live.app).core.config.brokerUrl
  await using client = createClient<{ add: typeof add }>({ broker })
  expect(await client.tasks.add.delay(1, 2).get({ timeout: 30 })).toBe(3)
  expect(() => createClient({ gateway: 'https://x', token: 't' })).toThrow(/not supported/)
})

test('an app that was closed opens again with the next call', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await one.delay()
  await live.app.close()
  await live.app.close()
  await one.delay()
  expect(await live.app.control.purge()).toBe(2)
})

test('a started worker keeps its process until it is stopped, also on a broker of that process', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-stays-'))
  try {
    writeFileSync(
      join(folder, 'main.mjs'),
      `import { Celeriac } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
const app = new Celeriac('stays', { broker: 'memory://' })
const later = app.task('later', () => { console.log('ran'); void worker.stop() })
const worker = await app.worker().start()
await later.applyAsync([], { countdown: '50ms' })
`,
    )
    const ended = await new Programs(folder).start(['main.mjs'], { timeoutMs: 30_000 }).ended
    expect(ended).toEqual({ code: 0, stdout: 'ran\n', stderr: '' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
