/** Every calling option, from the call to what the worker does with it. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { type ApplyOptions, type AppOptions, Celeriac, EncodeError, TaskFailure, TaskRevokedError } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

/** The message of a call, as it would go to the broker. */
async function messageOf(app: Celeriac, task: string, options: ApplyOptions = {}, args: unknown[] = []) {
  const { core, sender } = Celeriac.internals(app)
  return sender.writer.write({ task, definition: core.registry.get(task), args, kwargs: {}, options }, options.taskId ?? 'id')
}

test.each([
  ['countdown', { countdown: '40ms' }],
  ['eta', { eta: new Date(Date.now() + 60) }],
] as const)('%s: the task does not start before', async (_, options) => {
  await using live = new LiveApp()
  const now = live.app.task('now', () => Date.now())
  await live.work()
  const sentAt = Date.now()
  const due = 'eta' in options ? options.eta.getTime() : sentAt + 40
  expect(await now.applyAsync([], options).get({ timeout: 30 })).toBeGreaterThanOrEqual(due)
})

test.each([
  ['an eta that is past', { eta: new Date(0) }],
  ['a countdown of 0', { countdown: 0 }],
  ['a countdown below 0', { countdown: -5 }],
])('a task with %s runs at once', async (_, options) => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await live.work()
  expect(await one.applyAsync([], options).get({ timeout: 30 })).toBe(1)
})

test.each([
  ['a number of seconds', { expires: 0.001 }],
  ['a date', { expires: new Date(Date.now() - 1) }],
  ['a duration that ends before the eta', { expires: '10ms', countdown: '40ms' }],
] as const)('a task that has expired (%s) is revoked and does not run', async (_, options) => {
  await using live = new LiveApp()
  let ran = false
  const late = live.app.task('late', () => {
    ran = true
  })
  const sent = await late.applyAsync([], options)
  // Past the shortest of them.
  const pastMs = Date.now() + 2
  await until(() => Date.now() > pastMs)
  await live.work()
  await expect(sent.get({ timeout: 30 })).rejects.toMatchObject({ constructor: TaskRevokedError, reason: 'expired' })
  expect([ran, await sent.state()]).toEqual([false, 'REVOKED'])
  expect(live.said('Discarding expired task')).toHaveLength(1)
})

test('a task that expires while it waits for a place in the pool does not start', async () => {
  await using live = new LiveApp()
  let open: (() => void) | undefined
  const hold = live.app.task(
    'hold',
    () =>
      new Promise<void>((resolve) => {
        open = resolve
      }),
  )
  const late = live.app.task('late', () => 1)
  await live.work({ concurrency: 1 })
  await hold.delay()
  const go = await until(() => open)
  const sent = await late.applyAsync([], { expires: '20ms' })
  const pastMs = Date.now() + 20
  await until(() => Date.now() > pastMs)
  go()
  await expect(sent.get({ timeout: 30 })).rejects.toMatchObject({ reason: 'expired' })
})

test('queue: the task waits in it, and only a worker of that queue runs it', async () => {
  await using live = new LiveApp()
  const where = live.app.task('where', { bind: true }, (self) => self.request.queue)
  const sent = await where.applyAsync([], { queue: 'hi' })
  await live.work({ queues: ['lo'] })
  expect(await sent.state()).toBe('PENDING')
  await live.work({ queues: ['hi'] })
  expect(await sent.get({ timeout: 30 })).toBe('hi')
})

test('exchange and routing key: a topic exchange brings the task to the queues that are bound to it', async () => {
  await using live = new LiveApp({
    taskQueues: [
      { name: 'all', exchange: 'news', exchangeType: 'topic', routingKey: '#' },
      { name: 'sport', exchange: 'news', exchangeType: 'topic', routingKey: 'sport.*' },
    ],
  })
  const read: string[] = []
  const report = live.app.task('report', { bind: true }, (self, what: string) => void read.push(`${self.request.queue}:${what}`))
  await report.applyAsync(['goal'], { exchange: 'news', routingKey: 'sport.football' })
  await report.applyAsync(['rain'], { exchange: 'news', routingKey: 'weather' })
  await live.work()
  await until(() => read.length === 3)
  expect(read.sort()).toEqual(['all:goal', 'all:rain', 'sport:goal'])
})

test('a message for an exchange that does not exist is refused', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await expect(one.applyAsync([], { exchange: 'nowhere', routingKey: 'x', retry: false })).rejects.toMatchObject({
    code: 'ERR_NOT_PUBLISHED',
  })
})

test('priority: the higher one runs first, and equal ones in the order they were sent', async () => {
  await using live = new LiveApp()
  const order: string[] = []
  const note = live.app.task('note', (what: string) => void order.push(what))
  for (const [what, priority] of [
    ['a', 1],
    ['b', 9],
    ['c', 5],
    ['d', 9],
    ['e', undefined],
  ] as const)
    await note.applyAsync([what], priority === undefined ? {} : { priority })
  await live.work({ concurrency: 1 })
  await until(() => order.length === 5)
  expect(order).toEqual(['b', 'd', 'c', 'a', 'e'])
})

test.each(['json', 'msgpack', 'yaml'])('serializer %s: arguments come as they went', async (serializer) => {
  await using live = new LiveApp({ acceptContent: ['json', 'msgpack', 'yaml'] })
  const echo = live.app.task('echo', (...args: unknown[]) => args)
  await live.work()
  const given = [1, 'é', null, true, [1.5], { a: { b: [] } }]
  expect(await echo.applyAsync(given, { serializer }).get({ timeout: 30 })).toEqual(given)
  const { message } = await messageOf(live.app, 'echo', { serializer })
  expect(message.contentType).toContain(serializer)
})

test('a serializer that the worker does not accept makes a dead letter, unread', async () => {
  await using live = new LiveApp()
  const echo = live.app.task('echo', (x: unknown) => x)
  await live.work()
  const sent = await echo.applyAsync([1], { serializer: 'msgpack' })
  await expect(sent.get({ timeout: 30 })).rejects.toThrow(/refusing to decode content of type/)
  expect(await live.app.deadLetters.list()).toMatchObject([{ reason: expect.stringContaining('application/x-msgpack') }])
})

test.each([['pickle'], ['xml']])('serializer %s is refused at the call', async (serializer) => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await expect(one.applyAsync([], { serializer })).rejects.toThrow(/serializer/)
})

test.each(['gzip', 'zlib', 'brotli'])('compression %s: the message is smaller, the arguments are the same', async (compression) => {
  await using live = new LiveApp()
  const length = live.app.task('length', (text: string) => text.length)
  await live.work()
  expect(await length.applyAsync(['x'.repeat(50_000)], { compression }).get({ timeout: 30 })).toBe(50_000)
  const { message } = await messageOf(live.app, 'length', { compression }, ['x'.repeat(50_000)])
  expect(message.body.length).toBeLessThan(2_000)
})

test('an unknown compression is refused at the call', async () => {
  await using live = new LiveApp()
  await expect(live.app.sendTask('one', {}, { compression: 'rar' })).rejects.toThrow(/compression/)
})

test('a soft time limit aborts the signal of the task, with its reason', async () => {
  await using live = new LiveApp()
  const slow = live.app.task('slow', { bind: true }, async (self) => {
    await new Promise((_, reject) => self.signal.addEventListener('abort', () => reject(self.signal.reason), { once: true }))
  })
  await live.work()
  await expect(slow.applyAsync([], { softTimeLimit: '20ms' }).get({ timeout: 30 })).rejects.toMatchObject({
    excType: 'SoftTimeLimitExceeded',
    excModule: 'billiard.exceptions',
  })
})

test('a soft limit over the hard one is refused', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await expect(one.applyAsync([], { timeLimit: '1s', softTimeLimit: '2s' })).rejects.toThrow(
    /expected softTimeLimit to be at most timeLimit \(1 s\)/,
  )
})

test('limits: the call wins over the task, the task over the config', async () => {
  await using live = new LiveApp({ taskSoftTimeLimit: 100 })
  const left = (self: { request: { deadline: Date | null } }): number => ((self.request.deadline?.getTime() ?? 0) - Date.now()) / 1000
  const own = live.app.task('own', { bind: true, softTimeLimit: 50 }, left)
  const none = live.app.task('none', { bind: true }, left)
  await live.work()
  expect(await own.applyAsync([], { softTimeLimit: 10 }).get({ timeout: 30 })).toBeCloseTo(10, 0)
  expect(await own.delay().get({ timeout: 30 })).toBeCloseTo(50, 0)
  expect(await none.delay().get({ timeout: 30 })).toBeCloseTo(100, 0)
})

test.each<[string, AppOptions, boolean | undefined, boolean | undefined, boolean]>([
  ['the call says so', {}, undefined, true, false],
  ['the call wins over the task', {}, true, false, true],
  ['the task says so', {}, true, undefined, false],
  ['the task wins over the config', { taskIgnoreResult: true }, false, undefined, true],
  ['the config says so', { taskIgnoreResult: true }, undefined, undefined, false],
])('ignoreResult: %s', async (_, config, ofTask, ofCall, stored) => {
  await using live = new LiveApp(config)
  const one = live.app.task('one', ofTask === undefined ? {} : { ignoreResult: ofTask }, () => 1)
  await live.work()
  const sent = await one.applyAsync([], ofCall === undefined ? {} : { ignoreResult: ofCall })
  await until(() => live.said('succeeded').length > 0)
  expect(await sent.state()).toBe(stored ? 'SUCCESS' : 'PENDING')
})

test('an ignored failure is stored only where that is asked for', async () => {
  await using live = new LiveApp({ taskIgnoreResult: true })
  const fail = (): never => {
    throw new Error('no')
  }
  const quiet = live.app.task('quiet', fail)
  const told = live.app.task('told', { storeErrorsEvenIfIgnored: true }, fail)
  await live.work()
  const [first, second] = [await quiet.delay(), await told.delay()]
  await until(() => live.said('raised unexpected').length === 2)
  await until(async () => (await second.state()) === 'FAILURE')
  expect(await first.state()).toBe('PENDING')
})

test('headers reach the task, and stay with it when it is retried', async () => {
  await using live = new LiveApp()
  const see = live.app.task('see', { bind: true }, (self) => {
    if (self.request.retries === 0) self.retry({ countdown: 0 })
    if (self.request.retries === 1) self.retry({ countdown: 0, headers: { added: 2 } })
    return self.request.headers
  })
  await live.work()
  expect(await see.applyAsync([], { headers: { tenant: 't', n: 1 } }).get({ timeout: 30 })).toEqual({ tenant: 't', n: 1, added: 2 })
})

test.each([
  [{ id: 'other' }, /headers\.id/],
  [{ retries: 0 }, /headers\.retries/],
  [{ fn: () => 1 }, /headers\.fn/],
])('headers %j are refused', async (headers, message) => {
  await using live = new LiveApp()
  await expect(live.app.sendTask('one', {}, { headers })).rejects.toThrow(message)
})

test('shadow is the name in logs', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await live.work()
  await one.applyAsync([], { shadow: 'nightly report', taskId: 'x' }).get({ timeout: 30 })
  await until(() => live.said('Task nightly report[x] succeeded').length === 1)
})

test.each(['', 'a'.repeat(256), 'a\nb', 5])('taskId %j is refused', async (taskId) => {
  await using live = new LiveApp()
  await expect(live.app.sendTask('one', {}, { taskId: taskId as string })).rejects.toThrow(/task id/)
})

test('stamps go into the headers', async () => {
  await using live = new LiveApp()
  live.app.task('one', () => 1)
  const { message } = await messageOf(live.app, 'one', { stamps: { release: 'r1', team: ['a', 'b'] } })
  expect(message.headers).toMatchObject({ stamped_headers: ['release', 'team'], stamps: { release: 'r1', team: ['a', 'b'] } })
})

test.each<[ApplyOptions, RegExp]>([
  [{ tx: { query: async () => undefined } }, /the option tx is not supported/],
  [{ unique: '' }, /expected unique to be a key/],
  [{ fairnessKey: 'k' }, /the option fairnessKey is not supported/],
  [{ countdown: 'soon' as never }, /expected countdown/],
  [{ eta: new Date('never') }, /expected eta to be a valid Date/],
  [{ eta: '2026-01-01' as never }, /expected eta to be a valid Date/],
  [{ expires: new Date(Number.NaN) }, /expected expires to be a valid Date/],
  [{ priority: 500 }, /priority/],
  [{ priority: 1.5 }, /priority/],
  [{ queue: 'a\n' }, /queue/],
  [{ queue: null as never }, /queue/],
  [{ exchange: null as never }, /exchange/],
  [{ routingKey: null as never }, /routingKey/],
  [{ priority: null as never }, /priority/],
  [{ ignoreResult: 'yes' as never }, /expected ignoreResult to be true or false/],
  [{ serializer: 5 as never }, /serializer/],
  [{ compression: 5 as never }, /compression/],
  [{ stamps: ['a'] as never }, /expected stamps to be an object/],
  [{ countDown: 5 } as never, /unknown option "countDown"\. Did you mean "countdown"\?/],
])('options that cannot be kept are refused: %o', async (options, message) => {
  await using live = new LiveApp()
  live.app.task('one', () => 1)
  await expect(live.app.sendTask('one', {}, options)).rejects.toThrow(message)
  expect(await live.app.control.purge()).toBe(0)
})

test('a signal that has aborted stops the call before it is sent', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await expect(one.applyAsync([], { signal: AbortSignal.abort(new Error('too late')) })).rejects.toThrow('too late')
  expect(await live.app.control.purge()).toBe(0)
})

// ── what cannot be written ───────────────────────────────────────────────────

const cyclic: Record<string, unknown> = {}
cyclic.self = cyclic
test.each<[string, unknown, string]>([
  ['a function', { a: [1, () => 1] }, 'args[0].a[1]'],
  ['a symbol', { a: Symbol('x') }, 'args[0].a'],
  ['a cycle', cyclic, 'args[0].self'],
  ['a Map', { m: new Map() }, 'args[0].m'],
  ['an instance of a class', { deep: { at: new (class Money {})() } }, 'args[0].deep.at'],
  ['not a number', { n: Number.NaN }, 'args[0].n'],
  ['a promise', [Promise.resolve(1)], 'args[0][0]'],
])('an argument that is %s is refused at the call with its path, and nothing is sent', async (_, value, path) => {
  await using live = new LiveApp()
  const one = live.app.task('one', (_value: unknown) => 1)
  const refused = one.delay(value)
  await expect(refused).rejects.toBeInstanceOf(EncodeError)
  await expect(refused).rejects.toMatchObject({ path })
  expect(await live.app.control.purge()).toBe(0)
})

test('a keyword that cannot be written is named as one', async () => {
  await using live = new LiveApp()
  const mail = live.app.task('mail', { kwargs: z.object({ to: z.any() }) }, () => 1)
  await expect(mail.delay({ to: { cb: () => 1 } })).rejects.toMatchObject({ path: 'kwargs.to.cb' })
})

test('a message over the size limit is refused', async () => {
  await using live = new LiveApp({ messageMaxBytes: 1000 })
  const one = live.app.task('one', (_text: string) => 1)
  await expect(one.delay('x'.repeat(2000))).rejects.toMatchObject({ code: 'ERR_TOO_LARGE', limit: 1000 })
  await one.delay('x'.repeat(100))
})

// ── precedence and routes ────────────────────────────────────────────────────

test('the call wins over the task, the task over its route, the route over the config', async () => {
  const app = new Celeriac('p', {
    taskDefaultQueue: 'config',
    taskRoutes: { routed: { queue: 'route', priority: 3 }, both: { queue: 'route', priority: 3 } },
    taskDefaultPriority: 1,
  })
  app.task('plain', () => 1)
  app.task('routed', () => 1)
  app.task('both', { queue: 'task', priority: 5 }, () => 1)
  const place = async (task: string, options: ApplyOptions = {}) => {
    const { routed, message } = await messageOf(app, task, options)
    return [routed.queue, message.properties.priority]
  }
  expect(await place('plain')).toEqual(['config', 1])
  expect(await place('routed')).toEqual(['route', 3])
  expect(await place('both')).toEqual(['task', 5])
  expect(await place('both', { queue: 'call', priority: 0 })).toEqual(['call', 0])
  expect(await place('both', { queue: undefined, priority: undefined } as ApplyOptions)).toEqual(['task', 5])
})

test('with() stands between the task and the call', async () => {
  await using live = new LiveApp()
  const where = live.app.task('where', { bind: true, queue: 'task' }, (self) => self.request.queue)
  await live.work({ queues: ['task', 'with', 'call'] })
  const other = where.with({ queue: 'with' })
  expect(await other.delay().get({ timeout: 30 })).toBe('with')
  expect(await other.applyAsync([], { queue: 'call' }).get({ timeout: 30 })).toBe('call')
  expect(await other.applyAsync([], { queue: undefined } as ApplyOptions).get({ timeout: 30 })).toBe('with')
  expect(await other.with({ priority: 1 }).delay().get({ timeout: 30 })).toBe('with')
})

test('a call that names its queue goes there, whatever exchange its route has', async () => {
  const app = new Celeriac('p', { taskRoutes: { one: { exchange: 'x', routingKey: 'y', priority: 4 } } })
  app.task('one', () => 1)
  expect((await messageOf(app, 'one')).routed.to).toEqual({ exchange: 'x', routingKey: 'y' })
  expect((await messageOf(app, 'one', { queue: 'q' })).routed).toMatchObject({
    to: { exchange: '', routingKey: 'q' },
    queue: 'q',
    priority: 4,
  })
  expect((await messageOf(app, 'one', { exchange: 'z', routingKey: 'k' })).routed.to).toEqual({ exchange: 'z', routingKey: 'k' })
})

test.each<[string, NonNullable<AppOptions['taskRoutes']>]>([
  ['names', { 'mail.send': 'mail', other: 'no' }],
  ['globs', { 'img.*': 'no', 'mail.*': { queue: 'mail' } }],
  ['a regular expression', [[/^mail\./, { queue: 'mail' }]]],
  ['a function', (name) => (name.startsWith('mail') ? { queue: 'mail' } : undefined)],
  ['a function that gives a name', (name) => (name === 'mail.send' ? 'mail' : null)],
  ['a list', [{ other: 'no' }, (name) => (name === 'x' ? 'no' : undefined), [/send$/, 'mail']]],
])('taskRoutes as %s', async (_, taskRoutes) => {
  const app = new Celeriac('r', { taskRoutes })
  app.task('mail.send', () => 1)
  app.task('else', () => 1)
  expect((await messageOf(app, 'mail.send')).routed.queue).toBe('mail')
  expect((await messageOf(app, 'else')).routed.queue).toBe('celery')
})

test.each<[string, unknown, RegExp]>([
  ['an option that routes do not have', { qeue: 'mail' }, /unknown option "taskRoutes\(one\)\.qeue"\. Did you mean/],
  ['a queue of a wrong kind', { queue: 5 }, /taskRoutes\(one\)\.queue/],
  ['a promise', Promise.resolve('mail'), /expected taskRoutes\(one\) to be a queue name or an object/],
])('a router function that gives %s is told so at the call', async (_, given, message) => {
  const app = new Celeriac('r', { taskRoutes: () => given as never })
  app.task('one', () => 1)
  await expect((async () => messageOf(app, 'one'))()).rejects.toThrow(message)
})

test('a router function is told the arguments and the options', async () => {
  const app = new Celeriac('r', { taskRoutes: (_, args, kwargs, options) => `q${args[0]}${JSON.stringify(kwargs)}${options.priority}` })
  app.task('one', (_n: number) => 1)
  expect((await messageOf(app, 'one', { priority: 2 }, [7])).routed.queue).toBe('q7{}2')
})

test('queues that are not in taskQueues can be forbidden', async () => {
  await using live = new LiveApp({ taskCreateMissingQueues: false, taskQueues: ['mail'] })
  const one = live.app.task('one', () => 1)
  await one.applyAsync([], { queue: 'mail' })
  await expect(one.applyAsync([], { queue: 'typo' })).rejects.toMatchObject({ code: 'ERR_QUEUE_NOT_FOUND', queue: 'typo' })
  await expect(live.work({ queues: ['typo'] })).rejects.toMatchObject({ code: 'ERR_QUEUE_NOT_FOUND' })
})

// ── links ────────────────────────────────────────────────────────────────────

test('link: callbacks get the result, immutable ones do not, and all are children', async () => {
  await using live = new LiveApp()
  const got: unknown[] = []
  const note = live.app.task('note', { bind: true }, (self, ...args: unknown[]) => {
    got.push([...args, self.request.parentId, self.request.rootId])
  })
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  const sent = await add.applyAsync([1, 2], { taskId: 'p', link: [note.s('m'), note.si('i'), note.s('c').set({ taskId: 'cb' })] })
  await until(() => got.length === 3)
  expect(got.sort()).toEqual([
    [3, 'c', 'p', 'p'],
    [3, 'm', 'p', 'p'],
    ['i', 'p', 'p'],
  ])
  // As Celery: several callbacks are sent as a group.
  const backend = await Celeriac.internals(live.app).core.connections.backend()
  const meta = await backend.get(sent.id)
  const members = meta?.children?.flatMap(([, those]) => those ?? [])
  expect(members).toHaveLength(3)
  expect(members?.[2]).toEqual([['cb', null], null])
})

test('link: one alone, and links of links', async () => {
  await using live = new LiveApp()
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  const last = add.s(100).set({ taskId: 'last' })
  await add.applyAsync([1, 2], { link: add.s(10).link(last) })
  expect(await live.app.result('last').get({ timeout: 30 })).toBe(113)
})

test('linkError: errbacks get the id of the failed task, links of success are not sent', async () => {
  await using live = new LiveApp()
  const got: string[] = []
  const note = live.app.task('note', (what: string) => void got.push(what))
  const fail = live.app.task('fail', (): string => {
    throw new TypeError('no')
  })
  await live.work()
  const sent = await fail.applyAsync([], { taskId: 'f', link: note.s(), linkError: [note.s(), note.si('immutable')] })
  await expect(sent.get({ timeout: 30 })).rejects.toBeInstanceOf(TaskFailure)
  await until(() => got.length === 2)
  expect(got.sort()).toEqual(['f', 'immutable'])
})

test('a retry sends no link; the run that ends does', async () => {
  await using live = new LiveApp()
  const got: unknown[] = []
  const note = live.app.task('note', (x: number) => void got.push(x))
  const twice = live.app.task('twice', { bind: true }, (self) => (self.request.retries < 2 ? self.retry({ countdown: 0 }) : 7))
  await live.work()
  await twice.applyAsync([], { link: note.s() }).get({ timeout: 30 })
  await until(() => got.length > 0)
  expect(got).toEqual([7])
})

test('options of a linked signature are kept: queue, countdown, headers, ignoreResult', async () => {
  await using live = new LiveApp()
  const see = live.app.task('see', { bind: true }, (self, x: number) => [x, self.request.queue, self.request.headers])
  const one = live.app.task('one', () => 1)
  await live.work({ queues: ['celery', 'other'] })
  const link = see.s().set({ taskId: 'see', queue: 'other', countdown: '5ms', headers: { h: 1 } })
  await one.applyAsync([], { link })
  expect(await live.app.result('see').get({ timeout: 30 })).toEqual([1, 'other', { h: 1 }])
})

test('a link whose arguments do not fit fails the task, as in Celery, and it runs only once', async () => {
  await using live = new LiveApp()
  let runs = 0
  const strict = live.app.task('strict', { args: z.tuple([z.string()]) }, () => 1)
  const one = live.app.task('one', () => ++runs)
  await live.work()
  const sent = await one.applyAsync([], { link: strict.s() as never })
  await expect(sent.get({ timeout: 30 })).rejects.toThrow(/invalid arguments for strict: args\[0\]/)
  expect([runs, await live.app.control.purge(), await live.app.deadLetters.count()]).toEqual([1, 0, 0])
})

test('an errback that cannot be sent does not keep the others back', async () => {
  await using live = new LiveApp()
  const got: string[] = []
  const strict = live.app.task('strict', { args: z.tuple([z.number()]) }, () => 1)
  const note = live.app.task('note', (id: string) => void got.push(id))
  const fail = live.app.task('fail', () => {
    throw new Error('no')
  })
  await live.work()
  await fail.applyAsync([], { taskId: 'f', linkError: [strict.s() as never, note.s()] })
  await until(() => got.length === 1)
  expect(live.said('strict, an errback of task f, cannot be sent')).toHaveLength(1)
})

test('a signature sends itself, with its own options and those of the call', async () => {
  await using live = new LiveApp()
  const add = live.app.task('add', { bind: true }, (self, x: number, y: number) => [x + y, self.request.queue])
  await live.work({ queues: ['celery', 'a', 'b'] })
  expect(await add.s(1, 2).delay().get({ timeout: 30 })).toEqual([3, 'celery'])
  expect(await add.s(1, 2).set({ queue: 'a' }).delay().get({ timeout: 30 })).toEqual([3, 'a'])
  expect(await add.s(1, 2).set({ queue: 'a' }).applyAsync({ queue: 'b' }).get({ timeout: 30 })).toEqual([3, 'b'])
})
