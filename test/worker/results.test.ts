/** What tasks return and what is stored of it (reliability B.8), and messages that nobody can run (B.7). */
import { randomUUID } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { Celeriac, TaskFailure } from '../../dist/index.js'
import type { Message } from '../../dist/protocol/message.js'
import { encodeTask } from '../../dist/protocol/task-message.js'
import { json } from '../../dist/serializers/json.js'
import { LiveApp, until } from '../live-app.js'

const cyclic: { b?: unknown } = {}
cyclic.b = { back: cyclic }

test.each<[string, () => unknown, RegExp]>([
  ['a cycle', () => ({ a: cyclic }), /^result\.a\.b\.back/],
  ['a function', () => ({ a: { b: () => 1 } }), /^result\.a\.b is a function/],
  ['a Map', () => ({ a: { b: new Map() } }), /^result\.a\.b/],
  ['a Set', () => [new Set()], /^result\[0\]/],
  ['a symbol', () => Symbol('x'), /^result /],
  ['an error', () => ({ e: new Error('x') }), /^result\.e/],
  ['an instance of a class', () => new (class Money {})(), /^result /],
  ['not a number', () => ({ n: Number.NaN }), /^result\.n is NaN/],
  [
    'an object whose toJSON throws',
    () => ({
      a: {
        toJSON() {
          throw new Error('hostile')
        },
      },
    }),
    /^result\.a/,
  ],
  [
    'an object whose getter throws',
    () => ({
      a: {
        get b() {
          throw new Error('hostile')
        },
      },
    }),
    /^result\.a\.b/,
  ],
  [
    'a proxy that throws',
    () => ({
      a: new Proxy(
        {},
        {
          get() {
            throw new Error('hostile')
          },
          ownKeys() {
            throw new Error('hostile')
          },
        },
      ),
    }),
    /^result\.a/,
  ],
  [
    'too deep',
    () => {
      let deep: unknown = 1
      for (let i = 0; i < 5_000; i++) deep = [deep]
      return deep
    },
    /^result\[0\]/,
  ],
])('a result that is %s fails its task with the path, and nothing hangs', async (_, body, message) => {
  await using live = new LiveApp()
  const bad = live.app.task('bad', body as () => string)
  const good = live.app.task('good', () => 1)
  await live.work({ concurrency: 1 })
  const failure = await bad
    .delay()
    .get({ timeout: 30 })
    .catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(TaskFailure)
  expect(failure).toMatchObject({ excType: 'EncodeError', message: expect.stringMatching(message) })
  expect(await good.delay().get({ timeout: 30 })).toBe(1)
})

test.each<[string, unknown, unknown]>([
  ['undefined is null', undefined, null],
  ['undefined fields are left out', { a: undefined, b: 1 }, { b: 1 }],
  ['a BigInt stays exact', 2n ** 70n, 2n ** 70n],
  ['a date is a date', new Date(5), new Date(5)],
  ['bytes are bytes', new Uint8Array([1, 2]), new Uint8Array([1, 2])],
  [
    'names of prototypes are data',
    JSON.parse('{"__proto__":{"polluted":1},"constructor":2}'),
    JSON.parse('{"__proto__":{"polluted":1},"constructor":2}'),
  ],
])('a result: %s', async (_, value, expected) => {
  await using live = new LiveApp()
  const give = live.app.task('give', () => value)
  await live.work()
  expect(await give.delay().get({ timeout: 30 })).toEqual(expected)
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
})

test('a result over its size limit fails the task, which is not run again', async () => {
  await using live = new LiveApp({ resultMaxBytes: 1000 })
  let runs = 0
  const big = live.app.task('big', { autoretryFor: [Error], defaultRetryDelay: 0 }, () => {
    runs++
    return 'x'.repeat(5_000)
  })
  await live.work()
  await expect(big.delay().get({ timeout: 30 })).rejects.toMatchObject({
    excType: 'TooLargeError',
    message: expect.stringContaining('over the limit of 1000'),
  })
  expect([runs, await live.app.control.purge()]).toEqual([1, 0])
})

test('the size of a result is counted in bytes', async () => {
  await using live = new LiveApp({ resultMaxBytes: 1000 })
  const wide = live.app.task('wide', () => '€'.repeat(400))
  await live.work()
  await expect(wide.delay().get({ timeout: 30 })).rejects.toMatchObject({ excType: 'TooLargeError' })
})

test('a stored failure with the names of modules stays data', async () => {
  await using live = new LiveApp()
  const backend = await Celeriac.internals(live.app).core.connections.backend()
  const result = { exc_type: 'exec', exc_module: 'child_process', exc_message: ['touch /tmp/owned'] }
  await backend.store(
    { taskId: 'evil', status: 'FAILURE', result, traceback: null, children: null, dateDone: null },
    { expiresSeconds: null },
  )
  const failure = await live.app
    .result('evil')
    .get()
    .catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(TaskFailure)
  expect(failure).toMatchObject({ excType: 'exec', excModule: 'child_process', args: ['touch /tmp/owned'] })
})

test('resultExtended stores what the task was called with', async () => {
  await using live = new LiveApp({ resultExtended: true })
  const add = live.app.task('add', { params: ['x', 'y'] }, (x: number, y: number) => x + y)
  const sent = await add.applyAsync({ args: [1], kwargs: { y: 2 } }, { compression: 'gzip', stamps: { release: 'r1' } })
  expect(await sent.details()).toBe(null)
  await live.work({ hostname: 'w@h' })
  await sent.get({ timeout: 30 })
  expect(await sent.details()).toEqual({
    state: 'SUCCESS',
    doneAt: expect.any(Date),
    name: 'add',
    args: [1],
    kwargs: { y: 2 },
    worker: 'w@h',
    queue: 'celery',
    retries: 0,
    stamps: { release: 'r1' },
  })
  // What cannot be stored as it is, is stored as its sender wrote it for people.
  const odd = encodeTask({ id: 'odd', task: 'add', args: [], kwargs: {} }, json)
  await put(live.app, () => ({ ...odd, body: '[[NaN, 1], {}, null]', headers: { ...odd.headers, argsrepr: '(nan, 1)' } }))
  await live.app.result('odd').get({ timeout: 30, propagate: false })
  expect(await live.app.result('odd').details()).toMatchObject({ args: '(nan, 1)', kwargs: '{}' })
})

test('without resultExtended only the state and the end are told', async () => {
  await using live = new LiveApp()
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  const sent = await add.delay(1, 2)
  await sent.get({ timeout: 30 })
  expect(await sent.details()).toEqual({ state: 'SUCCESS', doneAt: expect.any(Date) })
})

// ── messages that nobody can run ─────────────────────────────────────────────

/** Puts a raw message into a queue. */
async function put(app: Celeriac, change: (message: Message) => Message, queue = 'celery'): Promise<void> {
  const { core } = Celeriac.internals(app)
  const connection = await core.connections.publisher()
  await connection.declare(core.routes.topology(queue))
  const message = change(encodeTask({ id: randomUUID(), task: 'good', args: [], kwargs: {} }, json))
  await connection.publish(message, { exchange: '', routingKey: queue }, { deadlineMs: 1000 })
}

const gzipBomb = gzipSync(Buffer.alloc(64 * 1024 ** 2))
const headers = (more: Record<string, unknown>) => (message: Message) => ({ ...message, headers: { ...message.headers, ...more } })
const body =
  (text: string | Uint8Array, more: Partial<Message> = {}) =>
  (message: Message) => ({ ...message, body: text, ...more })
const signature = (more: Record<string, unknown> = {}) => ({
  task: 'good',
  args: [],
  kwargs: {},
  options: {},
  subtask_type: null,
  immutable: true,
  ...more,
})
const embed = (more: Record<string, unknown>) =>
  body(JSON.stringify([[], {}, { callbacks: null, errbacks: null, chain: null, chord: null, ...more }]))

test.each<[string, (message: Message) => Message]>([
  ['M5 truncated JSON', body('[[], {}')],
  ['M7 a body of two', body('[[1],{}]')],
  ['M7 a body that is text', body('"x"')],
  ['M8 nesting of 100 000', body(`[[${'['.repeat(100_000)}${']'.repeat(100_000)}],{},{}]`)],
  ['M10 protocol 3', headers({ id: undefined, task: undefined })],
  ['M11 an unknown content type', body('x', { contentType: 'text/plain' })],
  ['M11 an unknown encoding', body('x', { contentEncoding: 'utf-7' })],
  [
    'M12 a pickle',
    body(Buffer.from('cos\nsystem\n(S"touch /tmp/owned"\ntR.'), {
      contentType: 'application/x-python-serialize',
      contentEncoding: 'binary',
    }),
  ],
  ['M13 YAML that is not accepted', body('[[], {}, {}]', { contentType: 'application/x-yaml' })],
  ['M14 a bad eta', headers({ eta: 'tomorrow' })],
  ['M14 a bad expires', headers({ expires: 12 })],
  ['M14 retries below 0', headers({ retries: -1 })],
  ['M14 a priority of 300', (message) => ({ ...message, properties: { ...message.properties, priority: 300 } })],
  ['M14 a bad timelimit', headers({ timelimit: ['x'] })],
  ['M15 an unknown task', headers({ task: 'nobody.knows' })],
  ['M15 a task named as a part of every object', headers({ task: 'constructor' })],
  [
    'M16 a decompression bomb',
    (message) => ({ ...message, body: gzipBomb, headers: { ...message.headers, compression: 'application/x-gzip' } }),
  ],
  ['M23 10 000 links', embed({ callbacks: Array.from({ length: 10_000 }, () => signature()) })],
  ['M25 a link to no task', embed({ callbacks: [{ ...signature(), task: 'a\nb' }] })],
  ['M25 a link with options that are none', embed({ callbacks: [signature({ options: { countdown: 'soon' } })] })],
  ['M25 a link with an eta that is none', embed({ errbacks: [signature({ options: { eta: 'soon' } })] })],
])('%s: a dead letter with its reason and bytes, no run, and the worker goes on', async (_, change) => {
  await using live = new LiveApp()
  let runs = 0
  const good = live.app.task('good', () => ++runs)
  await live.work()
  await put(live.app, change)
  const [letter] = await until(async () => {
    const letters = await live.app.deadLetters.list()
    return letters.length > 0 && letters
  })
  expect(letter?.reason).not.toBe('')
  expect(runs).toBe(0)
  expect(await good.delay().get({ timeout: 1 })).toBe(1)
  expect(await live.app.deadLetters.count()).toBe(1)
})

test('whoever waits for a message that nobody can run is told', async () => {
  await using live = new LiveApp()
  live.app.task('good', () => 1)
  await live.work()
  await put(live.app, (message) => headers({ id: 'waited' })(body('[[1]]')(message)))
  await expect(live.app.result('waited').get({ timeout: 30 })).rejects.toThrow(/array of 3 elements/)
  await expect(live.app.sendTask('nobody').get({ timeout: 30 })).rejects.toMatchObject({
    excType: 'NotRegistered',
    excModule: 'celery.exceptions',
  })
})

test('M22 a message over the limit is a dead letter, unread', async () => {
  await using live = new LiveApp({ messageMaxBytes: 10_000 })
  live.app.task('good', () => 1)
  await live.work()
  await put(live.app, body(`[["${'x'.repeat(20_000)}"],{},{}]`))
  await until(async () => (await live.app.deadLetters.count()) === 1)
})

test('M20 names of prototypes in arguments and headers are data', async () => {
  await using live = new LiveApp()
  const echo = live.app.task('good', { bind: true, params: ['__proto__', 'constructor'] }, (self, ...args: unknown[]) => [
    args,
    Object.keys(self.request.headers),
  ])
  await live.work()
  await put(live.app, (message) => ({
    ...message,
    body: '[[],{"__proto__":{"polluted":true},"constructor":1},null]',
    headers: { ...message.headers, ...JSON.parse('{"id":"p","__proto__":{"polluted":true},"constructor":5}') },
  }))
  expect(echo.name).toBe('good')
  expect(await live.app.result('p').get({ timeout: 30 })).toEqual([[{ polluted: true }, 1], expect.arrayContaining(['constructor'])])
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
})

test('M10 a message of protocol 1 runs', async () => {
  await using live = new LiveApp()
  live.app.task('add', { bind: true }, (self, x: number, y: number) => [x + y, self.request.id])
  await live.work()
  await put(live.app, (message) => ({
    ...message,
    headers: {},
    body: JSON.stringify({ task: 'add', id: 'one', args: [1, 2], kwargs: {}, retries: 0, eta: null, expires: null, utc: true }),
  }))
  expect(await live.app.result('one').get({ timeout: 30 })).toEqual([3, 'one'])
})

test('M24 one message delivered by a client five times runs, and its first result stays', async () => {
  await using live = new LiveApp()
  let runs = 0
  live.app.task('good', () => ++runs)
  await live.work({ concurrency: 1 })
  for (let i = 0; i < 5; i++) await put(live.app, headers({ id: 'same' }))
  await until(() => runs === 5)
  expect(await live.app.result('same').get()).toBe(1)
})

test('M26 1 000 malformed messages at once do not keep a good one back', async () => {
  await using live = new LiveApp()
  const good = live.app.task('good', () => 1)
  await Promise.all(Array.from({ length: 1000 }, () => put(live.app, body('nonsense'))))
  await live.work()
  expect(await good.delay().get({ timeout: 30 })).toBe(1)
  await until(async () => (await live.app.deadLetters.count()) === 1000)
})

test('a link that Python made without a task id is sent once, however often its task is delivered', async () => {
  await using live = new LiveApp()
  const got: unknown[] = []
  live.app.task('good', () => 5)
  live.app.task('note', { bind: true }, (self, x: unknown) => void got.push([x, self.request.id]))
  await live.work()
  const link = signature({ task: 'note', immutable: false })
  const message = (given: Message) => headers({ id: 'parent' })(embed({ callbacks: [link] })(given))
  await put(live.app, message)
  await until(() => got.length === 1)
  const [child] = await live.app.result('parent').children()
  expect(got).toEqual([[5, child?.id]])
  expect(child?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
})

// ── unknown tasks and dead letters ───────────────────────────────────────────

test('an unknown task can go back to its queue, for a worker that knows it', async () => {
  await using live = new LiveApp({ taskUnknown: 'requeue' })
  await live.work()
  const sent = await live.app.sendTask('later')
  await until(() => live.said('goes back to its queue for 10 s').length === 1)
  expect([await live.app.deadLetters.count(), await sent.exists(), await sent.state()]).toEqual([0, true, 'PENDING'])
})

test('a dead letter that is replayed runs again and stores its result', async () => {
  await using live = new LiveApp()
  let broken = true
  const task = live.app.task('t', { acksOnFailureOrTimeout: false }, (x: number) => {
    if (broken) throw new Error('broken')
    return x * 2
  })
  await live.work()
  const sent = await task.delay(4)
  await expect(sent.get({ timeout: 30 })).rejects.toThrow('broken')
  const [letter] = await until(async () => {
    const letters = await live.app.deadLetters.list({ queue: 'celery' })
    return letters.length > 0 && letters
  })
  expect(letter).toMatchObject({ queue: 'celery', reason: 'the task failed: failure' })
  broken = false
  expect(await live.app.deadLetters.replay(letter?.id ?? '')).toBe(true)
  expect(await sent.get({ timeout: 30 })).toBe(8)
  expect([await live.app.deadLetters.count(), await live.app.deadLetters.replay('none')]).toEqual([0, false])
})

test('dead letters are listed by queue and number, and dropped', async () => {
  await using live = new LiveApp()
  await live.work({ queues: ['a', 'b'] })
  for (const queue of ['a', 'a', 'b']) await live.app.sendTask('nobody', {}, { queue })
  await until(async () => (await live.app.deadLetters.count()) === 3)
  expect(await live.app.deadLetters.list({ queue: 'a' })).toHaveLength(2)
  const [first] = await live.app.deadLetters.list({ limit: 1 })
  expect(await live.app.deadLetters.drop(first?.id ?? '')).toBe(true)
  expect(await live.app.deadLetters.drop(first?.id ?? '')).toBe(false)
  expect(await live.app.deadLetters.count()).toBe(2)
})

test('many calls and waits may share one signal, without a warning', async () => {
  await using live = new LiveApp()
  const echo = live.app.task('echo', (x: number) => x)
  await live.work()
  const warnings: string[] = []
  const note = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', note)
  try {
    const { signal } = new AbortController()
    const sent = await Promise.all(Array.from({ length: 30 }, (_, n) => echo.applyAsync([n], { signal })))
    expect(await Promise.all(sent.map((result) => result.get({ signal, timeout: 30 })))).toHaveLength(30)
    // Warnings are told in a later turn.
    await new Promise((resolve) => setImmediate(resolve))
    expect(warnings).toEqual([])
  } finally {
    process.off('warning', note)
  }
})
