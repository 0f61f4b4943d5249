import * as v from 'valibot'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { ArgumentsInvalidError, Celeriac, currentTask, type TaskContext } from '../../dist/index.js'
import { LiveApp } from '../live-app.js'

test('a task with positional arguments runs with them', async () => {
  await using live = new LiveApp()
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  expect(await add.delay(2, 3).get({ timeout: 30 })).toBe(5)
})

test('parameters that have names may be given by name, in any order and mixed with positions', async () => {
  await using live = new LiveApp()
  const minus = live.app.task('minus', { params: ['x', 'y', 'z'] }, (x: number, y: number, z?: number) => `${x}-${y}-${z}`)
  await live.work()
  expect(await minus.applyAsync({ y: 1, x: 5, z: 2 }).get({ timeout: 30 })).toBe('5-1-2')
  expect(await minus.applyAsync({ args: [5], kwargs: { z: 2, y: 1 } }).get({ timeout: 30 })).toBe('5-1-2')
  expect(await live.app.sendTask('minus', { args: [5], kwargs: { z: 2 } }).get({ timeout: 30 })).toBe('5-undefined-2')
})

test.each([
  ['an unknown name', { x: 1, q: 2 }, /q: unknown parameter; the task has: x, y/],
  ['a parameter given twice', { args: [1], kwargs: { x: 2 } }, /x: given twice/],
])('%s is refused at the call, and nothing is sent', async (_, call, message) => {
  await using live = new LiveApp()
  const add = live.app.task('add', { params: ['x', 'y'] }, (x: number, y: number) => x + y)
  await expect(add.applyAsync(call as never)).rejects.toThrow(message)
  expect(await live.app.control.purge()).toBe(0)
})

test('an argument at the end that is undefined is one that was not given: default values apply', async () => {
  await using live = new LiveApp()
  const pow = live.app.task('pow', (x: number, y: number = 2, z: number = 1) => x ** y + z)
  await live.work()
  expect(await pow.delay(3, undefined, undefined).get({ timeout: 30 })).toBe(10)
  expect(await pow.applyAsync([3, 3, undefined]).get({ timeout: 30 })).toBe(28)
  expect(await pow.s(3, undefined).delay().get({ timeout: 30 })).toBe(10)
})

test('keywords for a task without parameter names fail it on the worker, and say what to do', async () => {
  await using live = new LiveApp()
  live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  await expect(live.app.sendTask('add', { kwargs: { x: 1, y: 2 } }).get({ timeout: 30 })).rejects.toMatchObject({
    excType: 'TypeError',
    message: expect.stringContaining('give it params: [...]'),
  })
})

test('a bound task gets its context first', async () => {
  await using live = new LiveApp()
  const who = live.app.task('who', { bind: true }, (self, suffix: string) => self.request.id + suffix)
  await live.work({ hostname: 'w1@%n' })
  expect(await who.applyAsync(['!'], { taskId: 'me' }).get({ timeout: 30 })).toBe('me!')
})

test('the context tells of the message', async () => {
  await using live = new LiveApp()
  const look = live.app.task('look', { bind: true, timeLimit: 60, softTimeLimit: 30, maxRetries: null }, (self) => ({
    ...self.request,
    deadline: self.request.deadline !== null,
    running: currentTask() === self,
  }))
  const worker = await live.work({ hostname: 'w1@here' })
  expect(worker.hostname).toBe('w1@here')
  expect(await look.applyAsync([], { taskId: 'a', headers: { tenant: 't1' } }).get({ timeout: 30 })).toEqual({
    id: 'a',
    rootId: 'a',
    parentId: null,
    retries: 0,
    maxRetries: null,
    queue: 'celery',
    redelivered: false,
    headers: { tenant: 't1' },
    deadline: true,
    group: null,
    groupIndex: null,
    replacedTaskNesting: 0,
    stamps: {},
    worker: 'w1@here',
    running: true,
  })
})

test('currentTask() is known at any depth, and is refused outside', async () => {
  await using live = new LiveApp()
  const deep = async (): Promise<string> => {
    await new Promise((resolve) => setTimeout(resolve, 1))
    return currentTask().request.id
  }
  const both = live.app.task('both', async () => Promise.all([deep(), deep()]))
  await live.work()
  expect(currentTask({ optional: true })).toBeUndefined()
  expect(() => currentTask()).toThrow(/outside a running task/)
  const [one, two] = await Promise.all([both.applyAsync([], { taskId: 'one' }).get(), both.applyAsync([], { taskId: 'two' }).get()])
  expect([one, two]).toEqual([
    ['one', 'one'],
    ['two', 'two'],
  ])
})

test('what a task sends is its child, and knows its parent and root', async () => {
  await using live = new LiveApp()
  const leaf = live.app.task('leaf', { bind: true }, (self) => [self.request.parentId, self.request.rootId])
  const middle = live.app.task('middle', async () => (await leaf.applyAsync([], { taskId: 'leaf' })).id)
  const root = live.app.task('root', async () => (await middle.applyAsync([], { taskId: 'middle' })).id)
  await live.work()
  await root.applyAsync([], { taskId: 'root' }).get({ timeout: 30 })
  expect(await live.app.result('leaf').get({ timeout: 30 })).toEqual(['middle', 'root'])
  const [child] = await live.app.result('root').children()
  expect(child?.id).toBe('middle')
  expect(child?.parent?.id).toBe('root')
})

// ── schemas ──────────────────────────────────────────────────────────────────

const schemas = {
  zod: z.object({ to: z.string(), tags: z.array(z.object({ name: z.string() })).default([]), at: z.coerce.date().optional() }),
  valibot: v.object({
    to: v.string(),
    tags: v.optional(v.array(v.object({ name: v.string() })), []),
    at: v.optional(
      v.pipe(
        v.string(),
        v.transform((text) => new Date(text)),
      ),
    ),
  }),
}

test.each(['zod', 'valibot'] as const)(
  '%s: the worker runs with what the schema made, the caller sends what it was given',
  async (kind) => {
    await using live = new LiveApp()
    const mail = live.app.task('mail', { kwargs: schemas[kind] as typeof schemas.zod }, ({ to, tags, at }, self) => ({
      to,
      tags,
      at: at instanceof Date,
      id: self.request.id,
    }))
    await live.work()
    const given = { to: 'a', at: '2026-01-01T00:00:00Z' as never }
    expect(await mail.applyAsync(given, { taskId: 'm' }).get({ timeout: 30 })).toEqual({ to: 'a', tags: [], at: true, id: 'm' })
  },
)

test.each(['zod', 'valibot'] as const)('%s: a wrong value is refused at the call with its path, and nothing is sent', async (kind) => {
  await using live = new LiveApp()
  const mail = live.app.task('mail', { kwargs: schemas[kind] as typeof schemas.zod }, () => 1)
  const refused = mail.delay({ to: 'a', tags: [{ name: 'x' }, { name: 5 as never }] })
  await expect(refused).rejects.toBeInstanceOf(ArgumentsInvalidError)
  await expect(refused).rejects.toMatchObject({ task: 'mail', issues: [{ path: 'tags[1].name' }] })
  expect(await live.app.control.purge()).toBe(0)
})

test.each(['zod', 'valibot'] as const)('%s: a wrong value of another sender fails the task with its path', async (kind) => {
  await using live = new LiveApp()
  live.app.task('mail', { kwargs: schemas[kind] as typeof schemas.zod, autoretryFor: [Error] }, () => 1)
  await using other = new Celeriac('other', { broker: Celeriac.internals(live.app).core.config.brokerUrl as string[] })
  await live.work()
  await expect(other.sendTask('mail', { kwargs: { to: 7 } }).get({ timeout: 30 })).rejects.toMatchObject({
    excType: 'TypeError',
    message: expect.stringMatching(/^invalid arguments for mail: to: /),
  })
})

test('a schema may be asynchronous, on both sides', async () => {
  await using live = new LiveApp()
  const known = z.object({ id: z.number().refine(async (id) => id < 10, 'unknown id') })
  const load = live.app.task('load', { kwargs: known }, ({ id }) => id * 2)
  await live.work()
  expect(await load.delay({ id: 4 }).get({ timeout: 30 })).toBe(8)
  await expect(load.delay({ id: 40 })).rejects.toMatchObject({ issues: [{ path: 'id', message: 'unknown id' }] })
})

test('a schema for positional arguments is applied to them, by name too', async () => {
  await using live = new LiveApp()
  const mul = live.app.task('mul', { args: z.tuple([z.coerce.number(), z.number()]) }, (x, y) => x * y)
  await live.work()
  expect(await mul.delay('3' as never, 4).get({ timeout: 30 })).toBe(12)
  await expect(mul.delay(1, 'x' as never)).rejects.toMatchObject({ issues: [{ path: 'args[1]' }] })
})

test('a task of one object takes positional values in the order of its params, as a link or Python gives them', async () => {
  await using live = new LiveApp()
  const mail = live.app.task(
    'mail',
    { kwargs: z.object({ to: z.string(), subject: z.string() }), params: ['to', 'subject'] },
    ({ to, subject }) => to + subject,
  )
  await live.work()
  expect(await live.app.sendTask('mail', { args: ['a'], kwargs: { subject: 'b' } }).get({ timeout: 30 })).toBe('ab')
  await expect(live.app.sendTask('mail', { args: ['a', 'b', 'c'] })).rejects.toThrow(/3 positional arguments/)
  expect(await mail.s({ subject: '!' }).toJSON()).toMatchObject({ kwargs: { subject: '!' } })
})

test.each([['text'], [5], [new (class Mail {})()], [[1]]])(
  'a task of one object refuses %j instead of sending it without a word',
  async (input) => {
    await using live = new LiveApp()
    const mail = live.app.task('mail', { kwargs: z.object({ to: z.string().optional() }) }, () => 1)
    await expect(mail.delay(input as never)).rejects.toThrow(/expected one plain object/)
  },
)

// ── calls without a broker ───────────────────────────────────────────────────

test('a task is a function: schema and function, no message', async () => {
  const app = new Celeriac('local')
  const add = app.task('add', { params: ['x', 'y'] }, (x: number, y: number) => x + y)
  const mail = app.task('mail', { kwargs: schemas.zod }, ({ to, tags }) => [to, tags])
  const bound = app.task('bound', { bind: true }, (self: TaskContext, n: number) => (n > 0 ? n : self.retry()))
  expect(await add(2, 3)).toBe(5)
  expect(await mail({ to: 'a' })).toEqual(['a', []])
  await expect(mail({ to: 5 as never })).rejects.toBeInstanceOf(ArgumentsInvalidError)
  await expect(mail('a' as never)).rejects.toThrow(/expected one plain object/)
  expect(await bound(1)).toBe(1)
  await expect(bound(0)).rejects.toThrow(/self\.retry: there is no running task/)
  expect([add.name, mail.name]).toEqual(['add', 'mail'])
})

test('a task called inside another sees the context of the one that runs', async () => {
  await using live = new LiveApp()
  const inner = live.app.task('inner', { bind: true }, (self) => self.request.id)
  const outer = live.app.task('outer', () => inner())
  await live.work()
  expect(await outer.applyAsync([], { taskId: 'out' }).get({ timeout: 30 })).toBe('out')
})

test.each([
  [{ timeLimit: '5 minutes' }, /expected timeLimit of task t to be a duration above 0/],
  [{ softTimeLimit: 10, timeLimit: 5 }, /expected softTimeLimit of task t to be at most timeLimit \(5 s\), got: 10/],
  [{ maxRetries: -1 }, /maxRetries of task t/],
  [{ maxRetries: Number.POSITIVE_INFINITY }, /maxRetries of task t/],
  [{ priority: 300 }, /priority of task t/],
  [{ autoretryFor: Error }, /autoretryFor of task t to be a list of error classes/],
  [{ autoretryFor: TypeError }, /autoretryFor of task t to be a list of error classes/],
  [{ throws: ['Error'] }, /throws of task t to be a list of error classes/],
  [{ retryBackoff: 'soon' }, /retryBackoff/],
  [{ maxRetry: 3 }, /unknown option "maxRetry"\. Did you mean "maxRetries"\?/],
  [{ pool: 'solo' }, /pool of task t to be "async" or "threads" or "prefork"/],
  [{ concurrency: 0 }, /expected concurrency of task t to be a whole number above 0/],
  [{ rateLimit: { limit: '10/s', scope: 'world' } }, /"worker" or "cluster"/],
])('the task options %j are refused where the task is defined', (options, message) => {
  const app = new Celeriac('local')
  expect(() => app.task('t', options as never, () => 1)).toThrow(message)
  expect(app.taskNames).toEqual([])
})

test('a name is registered once, and is printable', () => {
  const app = new Celeriac('local')
  app.task('a', () => 1)
  expect(() => app.task('a', () => 2)).toThrow(/registered already/)
  expect(() => app.task('b\n', () => 2)).toThrow(/printable/)
  expect(() => app.task('c', undefined as never)).toThrow(/expected the function of task c/)
})
