import { expect, test, vi } from 'vitest'
import { z } from 'zod'
import { Celeriac, chain, currentTask, group, Retry, testApp } from '../../dist/index.js'

class Busy extends Error {}

/** A shop, as a user's tests have it: no broker is there to be reached. */
function shop(options: object = {}) {
  const app = new Celeriac('shop', { broker: 'sqlite:///nowhere/at/all.db', ...options })
  const sent: unknown[] = []
  const note = app.task('note', (what: string) => void sent.push(what))
  const mail = app.task(
    'mail',
    { kwargs: z.object({ to: z.string(), subject: z.string().default('hi') }), queue: 'mail' },
    ({ to, subject }) => {
      sent.push(`${to}:${subject}`)
      return to
    },
  )
  const flaky = app.task('flaky', { bind: true, autoretryFor: [Busy], retryBackoff: 10, retryJitter: false }, (self, fails: number) => {
    if (self.request.retries < fails) throw new Busy('busy')
    return self.request.retries
  })
  const order = app.task('order', async (to: string) => {
    await mail.delay({ to })
    await note.applyAsync(['later'], { countdown: '1h' })
  })
  return { app, sent, note, mail, flaky, order }
}

test('enqueued() has the calls of a task, in order, with their options', async () => {
  const { app, note, mail, sent } = shop()
  await using t = await testApp(app)
  await note.delay('a')
  await note.applyAsync(['b'], {
    taskId: 'b',
    queue: 'q',
    priority: 3,
    countdown: 60,
    expires: 120,
    headers: { h: 1 },
    shadow: 's',
    timeLimit: 9,
    ignoreResult: true,
  })
  await mail.delay({ to: 'x@y.z' })
  const [first, second] = t.enqueued(note)
  expect([first?.args, first?.options.queue]).toEqual([['a'], 'celery'])
  expect(second?.args).toEqual(['b'])
  expect(second?.options).toMatchObject({
    taskId: 'b',
    queue: 'q',
    priority: 3,
    countdown: 60,
    headers: { h: 1 },
    shadow: 's',
    timeLimit: 9,
    ignoreResult: true,
  })
  expect(Number(second?.options.expires) - Number(second?.options.eta)).toBe(60_000)
  expect(t.enqueued(mail)).toMatchObject([{ kwargs: { to: 'x@y.z' }, options: { queue: 'mail' } }])
  expect(sent).toEqual([])
})

test('a refused call is refused under test too', async () => {
  const { app, mail } = shop()
  await using t = await testApp(app)
  await expect(mail.delay({ to: 5 as never })).rejects.toThrow(/to:/)
  expect(t.enqueued(mail)).toEqual([])
})

test('drain() runs what is due, with all that it sends, and nothing that is scheduled', async () => {
  const { app, order, note, mail, sent } = shop()
  await using t = await testApp(app)
  const result = await order.delay('a')
  expect(await t.drain()).toEqual({ succeeded: 2, failed: 0, retried: 0 })
  expect(sent).toEqual(['a:hi'])
  expect([t.enqueued(order), t.enqueued(mail), t.enqueued(note).map(({ args }) => args)]).toEqual([[], [], [['later']]])
  expect(await result.state()).toBe('SUCCESS')
  expect(await t.drain()).toEqual({ succeeded: 0, failed: 0, retried: 0 })
})

test('drain({ withScheduled }) moves the clock to what waits', async () => {
  const { app, order, sent } = shop()
  await using t = await testApp(app)
  await order.delay('a')
  expect(await t.drain({ withScheduled: true })).toEqual({ succeeded: 3, failed: 0, retried: 0 })
  expect(sent).toEqual(['a:hi', 'later'])
})

test('advance() makes scheduled tasks due, which the next drain() runs', async () => {
  const { app, note, sent } = shop()
  await using t = await testApp(app)
  await note.applyAsync(['x'], { countdown: '1h' })
  await t.advance('59m')
  expect(await t.drain()).toMatchObject({ succeeded: 0 })
  await t.advance('1m')
  expect(await t.drain()).toMatchObject({ succeeded: 1 })
  expect(sent).toEqual(['x'])
})

test('retries wait for their time; drain({ withRetries }) goes through them', async () => {
  const { app, flaky } = shop()
  await using t = await testApp(app)
  const result = await flaky.delay(2)
  expect(await t.drain()).toEqual({ succeeded: 0, failed: 0, retried: 1 })
  expect(await result.state()).toBe('RETRY')
  expect(t.enqueued(flaky)).toMatchObject([{ options: { countdown: 10 } }])
  await t.advance('10s')
  expect(await t.drain()).toEqual({ succeeded: 0, failed: 0, retried: 1 })
  expect(await t.drain({ withRetries: true })).toEqual({ succeeded: 1, failed: 0, retried: 0 })
  expect(await result.get()).toBe(2)
})

test('drain({ withRetries }) counts each run; too many retries are a failure', async () => {
  const { app, flaky } = shop()
  await using t = await testApp(app)
  const result = await flaky.delay(99)
  expect(await t.drain({ withRetries: true })).toEqual({ succeeded: 0, failed: 1, retried: 3 })
  await expect(result.get()).rejects.toThrow('busy')
})

test('drain({ queues }) leaves the others', async () => {
  const { app, mail, note, sent } = shop()
  await using t = await testApp(app)
  await mail.delay({ to: 'a' })
  await note.delay('b')
  expect(await t.drain({ queues: ['mail'] })).toMatchObject({ succeeded: 1 })
  expect([sent, t.enqueued(note).length]).toEqual([['a:hi'], 1])
})

test('drain() runs what an exchange brings to its queues', async () => {
  const { app, note, sent } = shop({
    taskQueues: [
      { name: 'all', exchange: 'news', exchangeType: 'topic', routingKey: '#' },
      { name: 'sport', exchange: 'news', exchangeType: 'topic', routingKey: 'sport.*' },
    ],
  })
  await using t = await testApp(app)
  await note.applyAsync(['goal'], { exchange: 'news', routingKey: 'sport.football' })
  expect(t.enqueued(note).map(({ options }) => options.queue)).toEqual(['all', 'sport'])
  expect(await t.drain()).toMatchObject({ succeeded: 2 })
  expect(sent).toEqual(['goal', 'goal'])
})

test('who waits for a task that nothing runs is told what would run it', async () => {
  const app = new Celeriac('test', { broker: 'memory://' })
  const one = app.task('one', async () => {
    await new Promise((resolve) => setImmediate(resolve))
    return 1
  })
  await using t = await testApp(app)
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const sent = await one.delay()
    const got = sent.get()
    await new Promise((resolve) => setImmediate(resolve))
    vi.advanceTimersByTime(10_000)
    expect(said.mock.calls.join()).toContain(`somebody waits for task ${sent.id}, and under test nothing runs before drain() is called`)
    await t.drain()
    expect(await got).toBe(1)
    expect(said).toHaveBeenCalledTimes(1)
  } finally {
    vi.useRealTimers()
    said.mockRestore()
  }
})

test('fake timers of the test runner hold nothing up', async () => {
  const { app, flaky, order, sent } = shop()
  const add = app.task('add', (x: number, y: number) => x + y)
  vi.useFakeTimers()
  try {
    await using t = await testApp(app)
    await order.delay('a@b.c')
    await flaky.delay(2)
    const sum = await chain(group([1, 2, 3].map((x) => add.s(x, 1))), app.task('sum', (list: number[]) => list.length).s()).delay()
    expect(await t.drain({ withRetries: true })).toEqual({ succeeded: 7, failed: 0, retried: 2 })
    expect(await sum.get()).toBe(3)
    await t.advance('1h')
    await t.drain()
    expect(sent).toEqual(['a@b.c:hi', 'later'])
  } finally {
    vi.useRealTimers()
  }
})

test('drain() runs all tasks of a limit, as it has places', async () => {
  const app = new Celeriac('test', { broker: 'memory://' })
  let [running, most] = [0, 0]
  const one = app.task('one', { concurrency: 2 }, async () => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running--
  })
  await using t = await testApp(app)
  await Promise.all(Array.from({ length: 250 }, () => one.delay()))
  expect([await t.drain(), most]).toEqual([{ succeeded: 250, failed: 0, retried: 0 }, 2])
})

test('drain() runs what a running task waits for, in whichever queue it is', async () => {
  const app = new Celeriac('test', { broker: 'memory://' })
  const inner = app.task('inner', { queue: 'other' }, () => 41)
  const outer = app.task('outer', async () => (await inner.delay().get({ allowInsideTask: true })) + 1)
  await using t = await testApp(app)
  const sent = await outer.delay()
  expect(await t.drain()).toEqual({ succeeded: 2, failed: 0, retried: 0 })
  expect(await sent.get()).toBe(42)
})

test('links run in the same drain, errbacks too', async () => {
  const { app, note, flaky, sent } = shop()
  await using t = await testApp(app)
  const fails = app.task('fails', (): string => {
    throw new Error('no')
  })
  await flaky.applyAsync([0], { link: note.si('linked') })
  await fails.applyAsync([], { taskId: 'f', linkError: note.s() })
  expect(await t.drain()).toEqual({ succeeded: 3, failed: 1, retried: 0 })
  expect(sent.sort()).toEqual(['f', 'linked'])
})

test('expired tasks are revoked when their time has come', async () => {
  const { app, note, sent } = shop()
  await using t = await testApp(app)
  const late = await note.applyAsync(['late'], { expires: 10 })
  await t.advance(11)
  await t.drain()
  await expect(late.get()).rejects.toMatchObject({ reason: 'expired' })
  expect(sent).toEqual([])
})

test('a task that gives its message back runs again', async () => {
  const { app } = shop()
  await using t = await testApp(app)
  const task = app.task('t', { bind: true }, (self) => (self.request.redelivered ? 'second' : self.reject({ requeue: true })))
  const result = await task.delay()
  await t.drain()
  expect(await result.get()).toBe('second')
})

test('dead letters can be looked at and replayed', async () => {
  const { app } = shop()
  await using t = await testApp(app)
  let ready = false
  const task = app.task('t', { bind: true }, (self) => (ready ? 'ran' : self.reject()))
  const result = await task.delay()
  await t.drain()
  const [letter] = await app.deadLetters.list()
  expect(letter?.reason).toBe('rejected by the task')
  ready = true
  await app.deadLetters.replay(letter?.id ?? '')
  expect(await t.drain()).toMatchObject({ succeeded: 1 })
  expect(await result.get()).toBe('ran')
})

test('revoked tasks do not run', async () => {
  const { app, note, sent } = shop()
  await using t = await testApp(app)
  const result = await note.delay('x')
  await result.revoke()
  await t.drain()
  expect([sent, await result.state()]).toEqual([[], 'REVOKED'])
})

test('run() gives the value or throws what the task threw, with the request that it is given', async () => {
  const { app, note, sent } = shop()
  await using t = await testApp(app)
  const see = app.task('see', { bind: true }, (self, x: number) => [
    x,
    self.request.retries,
    self.request.headers,
    currentTask() === self,
    self.request.deadline,
  ])
  const deadline = new Date(Date.now() + 60_000)
  expect(await t.run(see, [5], { retries: 2, headers: { h: 1 }, deadline })).toEqual([5, 2, { h: 1 }, true, expect.any(Date)])
  const thrown = new RangeError('mine')
  const fail = app.task('fail', () => {
    throw thrown
  })
  await expect(t.run(fail, [])).rejects.toBe(thrown)
  const again = app.task('again', { bind: true }, (self) => self.retry({ cause: thrown }))
  await expect(t.run(again, [])).rejects.toBeInstanceOf(Retry)
  await expect(t.run(again, [], { retries: 3 })).rejects.toBe(thrown)
  const ignored = app.task('ignored', { bind: true }, (self) => self.ignore())
  await expect(t.run(ignored, [])).rejects.toThrow(/ended as ignored/)
  await t.run(note, ['direct'])
  expect(sent).toEqual(['direct'])
})

test('eager mode runs each call at once', async () => {
  const { app, order, sent } = shop()
  await using t = await testApp(app, { mode: 'eager' })
  await order.delay('a')
  expect(sent).toEqual(['a:hi', 'later'])
  expect(await t.drain()).toMatchObject({ succeeded: 0 })
})

test('close() does what `await using` does, once', async () => {
  const { app, note } = shop()
  const first = await testApp(app)
  await first.close()
  await using second = await testApp(app)
  await note.delay('x')
  // That one is over: it changes nothing for those that came after it.
  await first.close()
  await first[Symbol.asyncDispose]()
  expect(second.enqueued(note)).toHaveLength(1)
  expect(await second.drain()).toMatchObject({ succeeded: 1 })
})

test('the app is its own again afterwards; two tests of one app share nothing', async () => {
  const { app, note } = shop({ broker: 'memory://restored' })
  const { core } = Celeriac.internals(app)
  const before = { clock: core.clock, connections: core.connections, config: core.config }
  {
    await using t = await testApp(app)
    await note.delay('one')
    expect(core.clock).not.toBe(before.clock)
    expect(t.enqueued(note)).toHaveLength(1)
  }
  expect({ clock: core.clock, connections: core.connections, config: core.config }).toEqual(before)
  {
    await using t = await testApp(app, { mode: 'eager' })
    expect(t.enqueued(note)).toEqual([])
  }
  expect(core.config.taskAlwaysEager).toBe(false)
  expect(await app.control.purge()).toBe(0)
  await app.close()
})

test('two apps under test at the same time do not meet', async () => {
  const [a, b] = [shop(), shop()]
  await using ta = await testApp(a.app)
  await using tb = await testApp(b.app)
  await a.note.delay('a')
  await b.note.delay('b')
  expect(await ta.drain()).toMatchObject({ succeeded: 1 })
  expect([a.sent, b.sent]).toEqual([['a'], []])
  await tb.drain()
  expect(b.sent).toEqual(['b'])
})
