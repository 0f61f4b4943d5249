import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Celeriac, ConnectionError } from '../../dist/index.js'
import { isFullRun } from '../harness/depth.js'
import { Scene } from '../harness/scene.js'
import { SqliteBroker } from '../harness/sqlite-broker.js'
import { grantsOf, placeNames, usePlaces } from '../limit-places.js'
import { LiveApp, until } from '../live-app.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'

const places = usePlaces()
const one = { destination: ['w@h'], timeout: 10 }

/** How many run at the same time, and how many ran at most. */
function crowd() {
  let now = 0
  return {
    most: 0,
    async in(work: () => Promise<unknown>): Promise<void> {
      now++
      this.most = Math.max(this.most, now)
      try {
        await work()
      } finally {
        now--
      }
    },
  }
}
const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe.each(placeNames)('two workers on %s', (place) => {
  test('start no more tasks together than the limit of the cluster allows', { timeout: 30_000 }, async () => {
    await using live = await places.live(place)
    const grants = await grantsOf(live.app)
    const ran: number[] = []
    const limited = live.app.task('limited', { rateLimit: { limit: '20/s', scope: 'cluster' } }, (n: number) => void ran.push(n))
    await live.work({ hostname: 'a@h', concurrency: 4 })
    await live.work({ hostname: 'b@h', concurrency: 4 })
    const results = await Promise.all(Array.from({ length: 16 }, (_, n) => limited.delay(n)))
    await Promise.all(results.map((result) => result.get({ timeout: 25 })))
    expect(ran.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, n) => n))
    expect(grants).toHaveLength(16)
    // By the times at which the store was asked and answered: no window holds more than its share, however loaded the machine is.
    const inOrder = grants.toSorted((a, b) => a.toMs - b.toMs)
    const byStart = grants.toSorted((a, b) => a.fromMs - b.fromMs)
    for (let first = 0; first < grants.length; first++) {
      for (let last = first + 1; last < grants.length; last++) {
        const spanMs = (inOrder[last]?.toMs ?? 0) - (byStart[first]?.fromMs ?? 0)
        expect(spanMs).toBeGreaterThanOrEqual((last - first) * 50 - 1)
      }
    }
  })

  test('run no more tasks at the same time than the limit of the cluster allows, and all of them', { timeout: 30_000 }, async () => {
    await using live = await places.live(place)
    const running = crowd()
    const limited = live.app.task('limited', { concurrency: 3 }, () => running.in(() => rest(15)))
    const free = live.app.task('free', () => 'free')
    await live.work({ hostname: 'a@h', concurrency: 4 })
    await live.work({ hostname: 'b@h', concurrency: 4 })
    const results = await Promise.all(Array.from({ length: 24 }, () => limited.delay()))
    expect(await free.delay().get({ timeout: 25 })).toBe('free')
    await Promise.all(results.map((result) => result.get({ timeout: 25 })))
    expect(running.most).toBe(3)
  })
})

// What is asked for where is the same in each pool; a child that is killed with its task gives nothing back itself.
describe.each(isFullRun ? (['prefork', 'threads'] as const) : (['prefork'] as const))('two workers with %s', (pool) => {
  test('keep to the limit of the cluster, and have the places again of tasks that were killed', { timeout: 90_000 }, async () => {
    await using scene = await Scene.open((folder) => new SqliteBroker(folder))
    const options = { taskQueues: [{ name: 'celery', concurrency: 2 }] }
    await Promise.all(['a@h', 'b@h'].map((name) => scene.worker({ pool, concurrency: 2, args: ['-n', name], options })))
    const killed = await scene.sendMany(2, 'spin', [], { timeLimit: 0.5 })
    const ids = await scene.sendMany(12, 'work', [20])
    for (const id of ids) expect(await scene.result(id)).toBe(20)
    for (const id of killed) expect(await scene.result(id)).toMatchObject({ excType: 'TimeLimitExceeded' })
    const running = new Set<string>()
    for (const { what, id } of scene.recorder.lines()) {
      // Those that are killed say no end.
      if (killed.includes(id)) continue
      if (what === 'start') running.add(id)
      else running.delete(id)
      expect(running.size).toBeLessThanOrEqual(2)
    }
    expect(scene.recorder.starts()).toHaveLength(14)
    await scene.stopWorkers()
  })
})

test('however a task ends, its place is free again', { timeout: 30_000 }, async () => {
  await using live = await places.live('sqlite')
  const running = crowd()
  let tries = 0
  const limited = live.app.task('limited', { bind: true, concurrency: 1 }, (self, how: string) =>
    running.in(async () => {
      if (how === 'fail') throw new Error('no')
      if (how === 'retry' && tries++ < 2) self.retry({ countdown: 0 })
    }),
  )
  await live.work({ hostname: 'w@h', concurrency: 3 })
  const results = await Promise.all(['fail', 'retry', 'ok', 'fail', 'ok'].map((how) => limited.delay(how)))
  const states = await Promise.all(results.map((result) => result.get({ timeout: 20, propagate: false }).then(() => result.state())))
  expect(states).toEqual(['FAILURE', 'SUCCESS', 'SUCCESS', 'FAILURE', 'SUCCESS'])
  expect(running.most).toBe(1)
})

test('a task that waits for a limit is seen, and can be revoked', { timeout: 30_000 }, async () => {
  await using live = await places.live('memory')
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const limited = live.app.task('limited', { concurrency: 1 }, () => gate)
  await live.work({ hostname: 'w@h', concurrency: 4 })
  const first = await limited.delay()
  await until(async () => (await live.app.control.inspect(one).active())['w@h']?.length === 1, 25_000)
  const second = await limited.delay()
  const third = await limited.delay()
  await until(async () => (await live.app.control.inspect(one).scheduled())['w@h']?.length === 2, 25_000)
  await second.revoke()
  await expect(second.get({ timeout: 30 })).rejects.toThrow('revoked')
  open()
  await Promise.all([first.get({ timeout: 30 }), third.get({ timeout: 30 })])
})

test('each value of a key has the limit to itself, whoever sent the task', { timeout: 30_000 }, async () => {
  const broker = await places.url('memory')
  await using live = new LiveApp({ broker })
  const perUser = new Map<string, ReturnType<typeof crowd>>()
  const all = crowd()
  const options = { concurrency: { limit: 1, key: 'user-{user.id}' }, params: ['user'] as const }
  const limited = live.app.task('limited', options, (user: { id: string }) => {
    const own = perUser.get(user.id) ?? crowd()
    perUser.set(user.id, own)
    return all.in(() => own.in(() => rest(20)))
  })
  await live.work({ hostname: 'a@h', concurrency: 8 })
  // One that knows nothing of the limit, as a Python program does: the worker finds the key in the body.
  await using other = new Celeriac('other', { broker })
  const results = await Promise.all(
    ['x', 'y', 'x', 'y', 'x', 'y'].map((id, n) =>
      n % 2 < 1 || n === 5 ? limited.delay({ id }) : other.sendTask('limited', { kwargs: { user: { id } } }),
    ),
  )
  await Promise.all(results.map((result) => live.app.result(result.id).get({ timeout: 20 })))
  expect([...perUser.values()].map(({ most }) => most)).toEqual([1, 1])
  expect(all.most).toBe(2)
})

test('limits of a queue hold for all tasks that come from it, and for no others', { timeout: 30_000 }, async () => {
  const taskQueues = [{ name: 'celery' }, { name: 'slow', concurrency: 2 }]
  await using live = await places.live('memory', { taskQueues })
  const [slow, fast] = [crowd(), crowd()]
  const a = live.app.task('a', (inSlow: boolean) => (inSlow ? slow : fast).in(() => rest(15)))
  const b = live.app.task('b', (inSlow: boolean) => (inSlow ? slow : fast).in(() => rest(15)))
  await live.work({ hostname: 'a@h', concurrency: 4 })
  await live.work({ hostname: 'b@h', concurrency: 4 })
  const calls = Array.from({ length: 10 }, (_, n) => n).flatMap((n) => {
    const task = n % 2 === 0 ? a : b
    return [task.applyAsync([true], { queue: 'slow' }), task.delay(false)]
  })
  await Promise.all(calls.map((call) => call.get({ timeout: 20 })))
  expect(slow.most).toBe(2)
  expect(fast.most).toBeGreaterThan(2)
})

test('what waits for a limit holds no place of the prefetch, and a limit that remote control lifts is felt at once', {
  timeout: 30_000,
}, async () => {
  await using live = await places.live('memory', { workerPrefetchMultiplier: 1 })
  const ran: number[] = []
  const limited = live.app.task('limited', { rateLimit: { limit: '2/m', scope: 'cluster' } }, (n: number) => void ran.push(n))
  const free = live.app.task('free', () => 'free')
  await live.work({ hostname: 'w@h', concurrency: 1 })
  const results = await Promise.all(Array.from({ length: 20 }, (_, n) => limited.delay(n)))
  expect(await free.delay().get({ timeout: 20 })).toBe('free')
  const { control } = live.app
  await until(async () => (await control.inspect(one).scheduled())['w@h']?.length === 1, 25_000)
  expect(ran).toHaveLength(1)
  expect(await control.inspect(one).registered()).toEqual({ 'w@h': ['free', 'limited [rate_limit=2/m]'] })
  expect(await control.rateLimit('limited', 0, one)).toEqual({ 'w@h': { ok: 'rate limit disabled successfully' } })
  await until(() => ran.length === 2, 25_000)
  await results[0]?.get({ timeout: 30 })
})

test('a limit of each worker counts there: its places by number, its starts by key', { timeout: 30_000 }, async () => {
  await using live = await places.live('memory')
  const running = crowd()
  const placed = live.app.task('placed', { concurrency: { limit: 2, scope: 'worker' } }, () => running.in(() => rest(15)))
  const starts: string[] = []
  const keyed = live.app.task('keyed', { rateLimit: { limit: '1/h', key: '{0}' } }, (user: string) => void starts.push(user))
  await live.work({ hostname: 'a@h', concurrency: 8 })
  await Promise.all(Array.from({ length: 10 }, () => placed.delay()).map((call) => call.get({ timeout: 20 })))
  expect(running.most).toBe(2)
  const first = [keyed.delay('x'), keyed.delay('y'), keyed.delay('x'), keyed.delay('z')]
  await Promise.all([first[0], first[1], first[3]].map((call) => call?.get({ timeout: 20 })))
  expect(starts.toSorted()).toEqual(['x', 'y', 'z'])
})

test('a limit for the cluster with no place to keep it is refused when the worker starts, in words', async () => {
  await using live = new LiveApp({ broker: 'amqp://localhost:1' })
  live.app.task('limited', { concurrency: 3 }, () => 1)
  await expect(live.work()).rejects.toThrow(/Set limitStore to "redis:.*scope: "worker"/)
})

test('workerDisableRateLimits turns rates of the cluster off, too', async () => {
  await using live = await places.live('memory', { workerDisableRateLimits: true })
  const limited = live.app.task('limited', { rateLimit: { limit: '1/h', scope: 'cluster' } }, () => 1)
  await live.work()
  expect(await Promise.all([1, 2, 3].map(() => limited.delay().get({ timeout: 30 })))).toEqual([1, 1, 1])
})

test('the places of a worker that is killed are free after limitLease', { timeout: 60_000 }, async () => {
  const broker = await places.url('sqlite')
  await using live = new LiveApp({ broker, limitLease: 2 })
  const ran: string[] = []
  const limited = live.app.task('limited', { concurrency: 1 }, (who: string) => void ran.push(who))
  const child = spawn(process.execPath, [fileURLToPath(new URL('fixtures/holds-a-place.mjs', import.meta.url)), broker], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await live.app.sendTask('limited', { args: ['the holder'] }, { queue: 'child' })
    await once(child.stdout, 'data')
    await live.work({ hostname: 'w@h', concurrency: 1 })
    const next = await limited.delay('the next')
    await until(async () => (await live.app.control.inspect(one).scheduled())['w@h']?.length === 1, 25_000)
    expect(ran).toEqual([])
    child.kill('SIGKILL')
    await next.get({ timeout: 30 })
    expect(ran).toEqual(['the next'])
  } finally {
    child.kill('SIGKILL')
  }
})

test('while the store cannot be asked, tasks with limits wait and the others run', { timeout: 30_000 }, async () => {
  await using live = await places.live('memory')
  const { core } = Celeriac.internals(live.app)
  const store = await core.connections.limits()
  const start = store.start.bind(store)
  let isDown = true
  store.start = (asks) => (isDown ? Promise.reject(new ConnectionError('nobody answers')) : start(asks))
  const limited = live.app.task('limited', { concurrency: 1 }, () => 'limited')
  const free = live.app.task('free', () => 'free')
  await live.work({ concurrency: 1 })
  const waiting = [limited.delay(), limited.delay()]
  await until(() => live.said('the store of limits cannot be asked').length === 1, 25_000)
  expect(await free.delay().get({ timeout: 20 })).toBe('free')
  isDown = false
  expect(await Promise.all(waiting.map((call) => call.get({ timeout: 20 })))).toEqual(['limited', 'limited'])
})

describe.skipIf(withoutRabbit())('on RabbitMQ', () => {
  test('limits and locks are kept where limitStore says', { timeout: 90_000 }, async () => {
    const { url } = await virtualHost()
    await using live = new LiveApp({ broker: url, limitStore: await places.url('redis'), backend: 'rpc://' })
    const running = crowd()
    const limited = live.app.task('limited', { concurrency: { limit: 1, key: '{0}' } }, (_: string) => running.in(() => rest(10)))
    const unique = { unique: 'k' }
    const [first, second] = [await limited.applyAsync(['x'], unique), await limited.applyAsync(['x'], unique)]
    expect(second.id).toBe(first.id)
    await live.work({ hostname: 'w@h', concurrency: 4 })
    await Promise.all(Array.from({ length: 6 }, () => limited.delay('x')).map((call) => call.get({ timeout: 30 })))
    await first.get({ timeout: 30 })
    expect(running.most).toBe(1)
    await until(async () => (await limited.applyAsync(['x'], unique)).id !== first.id, 25_000)
  })
})
