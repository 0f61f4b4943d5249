import { describe, expect, test } from 'vitest'
import { Celeriac, chain, testApp } from '../../dist/index.js'
import { placeNames, usePlaces } from '../limit-places.js'
import { LiveApp, until } from '../live-app.js'

const places = usePlaces()

/** A task that ends when it is told to. */
function held() {
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  return { end, ended }
}

describe.each(placeNames)('unique tasks on %s', (place) => {
  test('of 50 calls at once one is sent, and all have its handle; the next one runs when it has ended', { timeout: 30_000 }, async () => {
    const broker = await places.url(place)
    await using live = new LiveApp({ broker })
    await using second = new LiveApp({ broker })
    const ran: number[] = []
    const report = live.app.task('report', (user: number, n: number) => void ran.push(n + 1000 * user))
    const calls = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        n % 2 === 0
          ? report.applyAsync([7, n], { unique: 'report-{0}' })
          : second.app.sendTask('report', { args: [7, n] }, { unique: { key: 'report-{0}' } }),
      ),
    )
    const ids = new Set(calls.map((call) => call.id))
    expect(ids.size).toBe(1)
    const other = await report.applyAsync([8, 0], { unique: 'report-{0}' })
    expect(ids.has(other.id)).toBe(false)
    await live.work({ hostname: 'w@h' })
    await Promise.all([...calls.slice(0, 5), other].map((call) => live.app.result(call.id).get({ timeout: 20 })))
    expect(ran).toHaveLength(2)
    const next = await report.applyAsync([7, 99], { unique: 'report-{0}' })
    expect(ids.has(next.id)).toBe(false)
    await next.get({ timeout: 20 })
    expect(ran).toContain(7099)
  })

  test('of 50 calls that replace each other the last one runs, and the others are revoked', { timeout: 60_000 }, async () => {
    const broker = await places.url(place)
    await using live = new LiveApp({ broker })
    await using second = new LiveApp({ broker })
    const ran: number[] = []
    live.app.task('report', (n: number) => void ran.push(n))
    const calls = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        (n % 2 === 0 ? live : second).app.sendTask('report', { args: [n] }, { unique: { key: 'k', onConflict: 'replace' } }),
      ),
    )
    expect(new Set(calls.map(({ id }) => id)).size).toBe(50)
    await live.work({ hostname: 'w@h' })
    const ends = await Promise.all(calls.map(({ id }) => live.app.result(id).get({ timeout: 30, propagate: false })))
    expect(ran).toHaveLength(1)
    const states = await Promise.all(calls.map(({ id }) => live.app.result(id).state()))
    expect(states.filter((state) => state === 'SUCCESS')).toHaveLength(1)
    expect(states.indexOf('SUCCESS')).toBe(ran[0])
    expect(ends).toHaveLength(50)
    // Nothing is left of it.
    const next = await live.app.sendTask('report', { args: [100] }, { unique: 'k' })
    await next.get({ timeout: 20 })
    expect(ran).toContain(100)
  })

  test('of 50 calls in a time that is to be quiet one runs after it; of 50 in a time that has one, one runs', {
    timeout: 60_000,
  }, async () => {
    await using live = await places.live(place)
    const ran: string[] = []
    const task = live.app.task('report', (what: string) => void ran.push(what))
    const debounce = { key: 'd', ttl: '1s', onConflict: 'debounce' } as const
    const throttle = { key: 't', ttl: '1h', onConflict: 'throttle' } as const
    const throttled = await Promise.all(Array.from({ length: 50 }, () => task.applyAsync(['t'], { unique: throttle })))
    expect(new Set(throttled.map(({ id }) => id)).size).toBe(1)
    for (let n = 0; n < 3; n++) await task.applyAsync([`d${n}`], { unique: debounce })
    await Promise.all(Array.from({ length: 46 }, () => task.applyAsync(['d'], { unique: debounce })))
    const last = await task.applyAsync(['last'], { unique: debounce })
    // Only now, so that a slow machine makes no quiet time between them.
    await live.work({ hostname: 'w@h' })
    await throttled[0]?.get({ timeout: 20 })
    expect((await task.applyAsync(['t'], { unique: throttle })).id).toBe(throttled[0]?.id)
    await last.get({ timeout: 20 })
    expect(ran).toEqual(['t', 'last'])
  })
})

test('a lock ends with its task, however that ends: failed, revoked, expired, rejected; a retry keeps it', {
  timeout: 60_000,
}, async () => {
  await using live = await places.live('memory')
  const { end, ended } = held()
  const run = live.app.task('run', { bind: true }, async (self, how: string) => {
    if (how === 'fail') throw new Error('no')
    if (how === 'ignore') self.ignore()
    if (how === 'reject') self.reject({ requeue: false })
    if (how === 'retry' && self.request.retries === 0) self.retry({ countdown: '100ms' })
    if (how === 'retry') await ended
    return how
  })
  const of = (how: string, more: object = {}) => run.applyAsync([how], { unique: '{0}', ...more })
  const isFree = (how: string, id: string) => until(async () => (await of(how)).id !== id, 20_000)
  const worker = await live.work({ hostname: 'w@h' })
  for (const how of ['ok', 'fail', 'ignore', 'reject']) await isFree(how, (await of(how)).id)
  await isFree('expired', (await of('expired', { expires: '-1s' as never }).catch(() => of('expired', { expires: 0 }))).id)
  const late = await of('revoked', { countdown: '1h' })
  expect((await of('revoked')).id).toBe(late.id)
  await late.revoke()
  await isFree('revoked', late.id)
  const retried = await of('retry')
  await until(async () => (await retried.state()) === 'RETRY', 25_000)
  expect((await of('retry')).id).toBe(retried.id)
  end()
  await isFree('retry', retried.id)
  await worker.stop()
})

test('a call that could not be sent holds nothing', async () => {
  await using live = await places.live('memory')
  const task = live.app.task('task', { params: ['a'] }, (a: unknown) => a)
  await expect(task.applyAsync([() => 1], { unique: 'k' })).rejects.toThrow()
  await expect(task.applyAsync([1], { unique: 'k', signal: AbortSignal.abort() })).rejects.toThrow()
  const sent = await task.applyAsync([1], { unique: 'k' })
  expect((await task.applyAsync([2], { unique: 'k' })).id).toBe(sent.id)
})

test('the lock of a task that a worker ran who knows of no locks is taken when its end is seen', async () => {
  await using live = await places.live('memory')
  const task = live.app.task('task', () => 1)
  const first = await task.applyAsync([], { unique: 'k' })
  const { core } = Celeriac.internals(live.app)
  const backend = await core.connections.backend()
  await backend.store(
    { taskId: first.id, status: 'SUCCESS', result: 1, traceback: null, children: null, dateDone: null },
    { expiresSeconds: 60 },
  )
  expect((await task.applyAsync([], { unique: 'k' })).id).not.toBe(first.id)
})

test('what is wrong with the option is told, and a step of a workflow cannot have it', async () => {
  await using live = await places.live('memory')
  const task = live.app.task('task', (n: number) => n)
  const call = (unique: unknown, more: object = {}) => task.applyAsync([1], { unique: unique as string, ...more })
  await expect(call('')).rejects.toThrow('expected unique to be a key')
  await expect(call({ ttl: 1 })).rejects.toThrow('unique.key')
  await expect(call({ key: 'k', onConflict: 'often' })).rejects.toThrow('"throttle"')
  await expect(call({ key: 'k', onConflict: 'debounce' })).rejects.toThrow(/unique.ttl to be given/)
  await expect(call({ key: 'k', ttl: 1, onConflict: 'debounce' }, { countdown: 1 })).rejects.toThrow(/countdown to be left out/)
  await expect(call('{1}')).rejects.toThrow('it has no {1}')
  // One task by itself is no workflow.
  const sent = await task.s(1).set({ unique: 'k' }).delay()
  expect((await call('k')).id).toBe(sent.id)
  await expect(chain(task.s(1).set({ unique: 'k' }), task.s()).delay()).rejects.toThrow('unique of a step of a workflow')
  await using rabbit = new LiveApp({ broker: 'amqp://localhost:1' })
  await expect(rabbit.app.sendTask('task', {}, { unique: 'k' })).rejects.toThrow('Set limitStore to')
})

test('eager calls keep to it, too: one that runs is not run again, and locks end with the run', async () => {
  await using live = new LiveApp({ taskAlwaysEager: true })
  let runs = 0
  const task = live.app.task('task', async () => {
    await new Promise((resolve) => setImmediate(resolve))
    return ++runs
  })
  const both = await Promise.all([task.applyAsync([], { unique: 'k' }), task.applyAsync([], { unique: 'k' })])
  expect(both[0]?.id).toBe(both[1]?.id)
  expect(await both[1]?.get()).toBe(1)
  expect(await task.applyAsync([], { unique: 'k' }).get()).toBe(2)
  const throttle = { key: 't', ttl: '1h', onConflict: 'throttle' } as const
  expect(await task.applyAsync([], { unique: throttle }).get()).toBe(3)
  expect(await task.applyAsync([], { unique: throttle }).get()).toBe(3)
})

test('testApp has locks and limits of its own', async () => {
  const app = new Celeriac('test', { broker: 'memory://' })
  const ran: string[] = []
  const task = app.task('task', { concurrency: 1, rateLimit: { limit: '1/m', scope: 'cluster' } }, (what: string) => void ran.push(what))
  const debounce = { key: 'd', ttl: '1m', onConflict: 'debounce' } as const
  {
    await using t = await testApp(app)
    await task.applyAsync(['a'], { unique: 'k' })
    await task.applyAsync(['b'], { unique: 'k' })
    expect(t.enqueued(task).map(({ args }) => args)).toEqual([['a']])
    expect(await t.drain()).toMatchObject({ succeeded: 1 })
    await task.applyAsync(['c'], { unique: 'k' })
    await task.applyAsync(['d1'], { unique: debounce })
    await t.advance('30s')
    await task.applyAsync(['d2'], { unique: debounce })
    await t.drain()
    await t.advance('45s')
    await t.drain()
    expect(ran).toEqual(['a', 'c'])
    await t.advance('30s')
    await t.drain()
    expect(ran).toEqual(['a', 'c', 'd2'])
  }
  await app.close()
})
