import { expect, test } from 'vitest'
import { z } from 'zod'
import { Celeriac, chain, chord, group, type TaskContext, TaskFailure } from '../../dist/index.js'
import { LiveApp } from '../live-app.js'

const eager = (more: object = {}) => new Celeriac('eager', { broker: 'memory://eager', taskAlwaysEager: true, ...more })

test('a call runs where it is made, and its handle has the result', async () => {
  const app = eager()
  const order: string[] = []
  const add = app.task('add', { bind: true }, (self, x: number, y: number) => {
    order.push('ran')
    return [x + y, self.request.id]
  })
  const sent = await add.applyAsync([1, 2], { taskId: 'e' })
  order.push('sent')
  expect([await sent.get(), await sent.state(), await sent.ready(), await sent.info(), await sent.exists()]).toEqual([
    [3, 'e'],
    'SUCCESS',
    true,
    [3, 'e'],
    true,
  ])
  expect(order).toEqual(['ran', 'sent'])
})

test('arguments and results are written and read as for a worker', async () => {
  const app = eager()
  const echo = app.task('echo', (x: unknown) => x)
  const given = { a: [1] }
  const got = await echo.delay(given).get()
  expect(got).toEqual(given)
  expect(got).not.toBe(given)
  await expect(echo.delay({ fn: () => 1 })).rejects.toThrow(/args\[0\]\.fn/)
  const bad = app.task('bad', () => ({ fn: () => 1 }))
  await expect(bad.delay().get()).rejects.toThrow(/^result\.fn/)
})

test('schemas are applied', async () => {
  const app = eager()
  const mail = app.task('mail', { kwargs: z.object({ to: z.string().default('x') }) }, ({ to }) => to)
  expect(await mail.delay({}).get()).toBe('x')
  await expect(mail.delay({ to: 5 as never })).rejects.toThrow(/to:/)
})

test('a failure is in the handle; with taskEagerPropagates the call throws it', async () => {
  const fail = (): never => {
    throw new TypeError('no')
  }
  const kept = await eager().task('fail', fail).delay()
  expect([await kept.state(), await kept.failed()]).toEqual(['FAILURE', true])
  await expect(kept.get()).rejects.toMatchObject({ constructor: TaskFailure, excType: 'TypeError', message: 'no' })
  await expect(eager({ taskEagerPropagates: true }).task('fail', fail).delay()).rejects.toMatchObject({ excType: 'TypeError' })
})

test('retries follow at once, whatever their countdown', async () => {
  const app = eager()
  let runs = 0
  const flaky = app.task('flaky', { autoretryFor: [Error], maxRetries: 5 }, () => {
    if (++runs < 4) throw new Error('again')
    return runs
  })
  expect(await flaky.delay().get()).toBe(4)
  const never = app.task('never', { bind: true, maxRetries: 2 }, (self) => self.retry({ cause: new Error(`try ${self.request.retries}`) }))
  await expect(never.delay().get()).rejects.toThrow('try 2')
})

test('a call whose signal has aborted does not run', async () => {
  const app = eager()
  let ran = 0
  const one = app.task('one', () => ++ran)
  const signal = AbortSignal.abort(new Error('too late'))
  await expect(one.applyAsync([], { signal })).rejects.toThrow('too late')
  await expect(group(one.s(), one.s()).applyAsync({ signal })).rejects.toThrow('too late')
  expect(ran).toBe(0)
})

test('links run too, and errbacks of a failure', async () => {
  const app = eager()
  const got: unknown[] = []
  const note = app.task('note', (...args: unknown[]) => void got.push(args))
  const add = app.task('add', (x: number, y: number) => x + y)
  const fail = app.task('fail', (): number => {
    throw new Error('no')
  })
  await add.applyAsync([1, 2], { link: [note.s('a'), add.s(10).link(note.s('b'))] })
  await fail.applyAsync([], { taskId: 'f', link: note.s(), linkError: note.s() })
  expect(got).toEqual([[3, 'a'], [13, 'b'], ['f']])
})

test('publish middleware is asked as for a worker', async () => {
  const app = eager()
  app.use({
    publish(message, next) {
      message.headers.tenant = 't'
      return next()
    },
  })
  const see = app.task('see', { bind: true }, (self) => self.request.headers)
  expect(await see.delay().get()).toEqual({ tenant: 't' })
})

test('a task that ignores or rejects has no result; one that has expired is revoked', async () => {
  const app = eager()
  const ignore = app.task('ignore', { bind: true }, (self) => self.ignore())
  const reject = app.task('reject', { bind: true }, (self) => self.reject({ requeue: true }))
  expect([await (await ignore.delay()).state(), await (await reject.delay()).state()]).toEqual(['PENDING', 'PENDING'])
  const late = await ignore.applyAsync([], { expires: new Date(0) })
  await expect(late.get()).rejects.toMatchObject({ reason: 'expired' })
})

test('a task may call another and take its result', async () => {
  const app = eager()
  const inner = app.task('inner', { bind: true }, (self) => self.request.parentId)
  const outer = app.task('outer', async () => (await inner.delay()).get())
  expect(await outer.applyAsync([], { taskId: 'o' }).get()).toBe('o')
})

test('results are stored in the backend only with taskStoreEagerResult, and not when they are ignored', async () => {
  await using live = new LiveApp({ taskAlwaysEager: true, taskStoreEagerResult: true })
  const one = live.app.task('one', () => 1)
  await one.applyAsync([], { taskId: 'kept' })
  await one.applyAsync([], { taskId: 'dropped', ignoreResult: true })
  expect(await live.app.result('kept').get({ timeout: 1 })).toBe(1)
  expect(await live.app.result('dropped').state()).toBe('PENDING')
  await using quiet = new LiveApp({ taskAlwaysEager: true })
  await quiet.app.task('one', () => 1).applyAsync([], { taskId: 'kept' })
  expect(await quiet.app.result('kept').state()).toBe('PENDING')
})

test('resultExtended: an eager handle tells what the task was called with', async () => {
  const app = eager({ resultExtended: true })
  const one = app.task('one', (x: number) => x)
  expect(await (await one.delay(5)).details()).toMatchObject({
    state: 'SUCCESS',
    name: 'one',
    args: [5],
    kwargs: {},
    worker: 'eager',
    retries: 0,
  })
})

test('progress of an eager task is accepted', async () => {
  const app = eager()
  const work = app.task('work', { bind: true }, async (self) => {
    await self.progress(1, 2)
    return 'done'
  })
  expect(await work.delay().get()).toBe('done')
})

test('a task replaces itself, adds headers to its chord, and starts workflows, all here', async () => {
  const app = eager()
  const add = app.task('add', (x: number, y: number) => x + y)
  const sum = app.task('sum', (list: number[]) => list.reduce((a, b) => a + b, 0))
  const hand = app.task('hand', { bind: true }, (self: TaskContext, x: number): number => self.replace(chain(add.s(x, 1), add.s(10))))
  const grow = app.task('grow', { bind: true }, async (self: TaskContext, x: number) => {
    await self.addToChord(add.s(x, 1000))
    return x
  })
  expect(await chain(hand.s(1), add.s(100)).delay().get()).toBe(112)
  expect(
    await chord(group(grow.s(1), add.s(1, 1)), sum.s())
      .delay()
      .get(),
  ).toBe(1 + 1001 + 2)
  expect(await app.sendTask('celery.starmap', { kwargs: { task: { task: 'add' }, it: [[1, 2]] } }).get()).toEqual([3])
})
