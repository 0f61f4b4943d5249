/** However a task ends: the chain and the chord that it is in end, too, with its reason. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type ApplyOptions, Celeriac, chain, chord, group, type TaskContext } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

let live: LiveApp
let tasks: ReturnType<typeof tasksOf>

function tasksOf({ app }: LiveApp) {
  return {
    add: app.task('add', (x: number, y: number) => x + y),
    count: app.task('count', (list: unknown[]) => list.length),
    quiet: app.task('quiet', { ignoreResult: true }, (x: number) => x),
    fail: app.task('fail', { maxRetries: 0 }, (): number => {
      throw new TypeError('failed')
    }),
    ignore: app.task('ignore', { bind: true }, (self: TaskContext): number => self.ignore()),
    reject: app.task('reject', { bind: true }, (self: TaskContext): number => self.reject()),
    big: app.task('big', () => 'x'.repeat(3_000) as unknown as number),
    strict: app.task('strict', { args: z.tuple([z.string()]) }, (): number => 1),
    tired: app.task('tired', { bind: true, maxRetries: 1 }, (self: TaskContext): number => self.retry({ countdown: 0 })),
    hold: app.task(
      'hold',
      { bind: true },
      (self: TaskContext) => new Promise<number>((_, no) => self.signal.addEventListener('abort', () => no(self.signal.reason))),
    ),
    unknown: app.remote<(x: number) => number>('nobody.knows'),
    hear: app.task('hear', (x: unknown) => void heard.push(x)),
  }
}
const heard: unknown[] = []

beforeAll(async () => {
  live = new LiveApp({ resultMaxBytes: 2_000, taskDeliveryLimit: 2 })
  tasks = tasksOf(live)
  await live.work({ concurrency: 10 })
})
afterAll(() => live[Symbol.asyncDispose]())

const ways: readonly [string, () => ReturnType<typeof tasks.fail.si>, ApplyOptions, string, RegExp][] = [
  ['fails', () => tasks.fail.si(), {}, 'TypeError', /failed/],
  ['has expired', () => tasks.fail.si(), { expires: new Date(0) }, 'TaskRevokedError', /expired/],
  ['is known to nobody', () => tasks.unknown.si(1), {}, 'NotRegistered', /nobody\.knows/],
  ['ignores itself', () => tasks.ignore.si(), {}, 'Ignore', /ignored/],
  ['rejects itself', () => tasks.reject.si(), {}, 'Reject', /rejected/],
  ['has a result that cannot be kept', () => tasks.big.si(), {}, 'TooLargeError', /limit/],
  ['has no retries left', () => tasks.tired.si(), {}, 'MaxRetriesExceededError', /retry/],
  ['runs into its time limit', () => tasks.hold.si(), { timeLimit: 0.05 }, 'SoftTimeLimitExceeded', /./],
]

test.each(ways)('a header that %s fails its chord', async (_, sig, options, type) => {
  const header = group(tasks.add.s(1, 1), sig().set(options), tasks.add.s(2, 2))
  const body = chord(header, tasks.count.s()).delay()
  await expect(body.get({ timeout: 20 })).rejects.toMatchObject({ excType: 'ChordError', message: expect.stringContaining(type) })
})

test.each(ways)('a step that %s ends its chain', async (_, sig, options, type, message) => {
  const last = chain(tasks.add.s(1, 1), sig().set(options), tasks.add.s(1), tasks.add.s(2)).delay()
  const error = (await last.get({ timeout: 20 }).catch((reason: unknown) => reason)) as { excType?: string; name: string; message: string }
  expect(error.excType ?? error.name).toBe(type)
  expect(error.message).toMatch(message)
})

test.each(ways)('a step that %s ends the chain that is the header of a chord', async (_, sig, options, type) => {
  const step = chain(tasks.add.s(1, 1), sig().set(options), tasks.add.s(1))
  const body = chord(group(step, tasks.add.s(2, 2)), tasks.count.s()).delay()
  await expect(body.get({ timeout: 20 })).rejects.toMatchObject({ excType: 'ChordError', message: expect.stringContaining(type) })
})

test('a header whose message cannot be read fails its chord, also as the last one that ends, and as the only one', async () => {
  // The worker takes JSON alone.
  const unread = () => tasks.add.s(1, 1).set({ serializer: 'yaml' })
  const fails = { excType: 'ChordError', message: expect.stringContaining('yaml') }
  for (const header of [[unread()], [unread(), tasks.add.s(2, 2)], [tasks.add.s(2, 2), unread()], [unread(), unread()]]) {
    const body = await chord(group(header), tasks.count.s().onError(tasks.hear.s())).delay()
    await expect(body.get({ timeout: 20 })).rejects.toMatchObject(fails)
    await until(() => heard.includes(body.id))
  }
  const inner = chord(group([tasks.add.s(2, 2), unread()]), tasks.count.s())
  await expect(
    chord(group([inner, tasks.add.s(3, 3)]), tasks.count.s())
      .delay()
      .get({ timeout: 20 }),
  ).rejects.toMatchObject(fails)
})

test('C8 a revoked header fails its chord, whether it runs or waits', async () => {
  const runs = randomUUID()
  const body = chord(group(tasks.add.s(1, 1), tasks.hold.s().set({ taskId: runs })), tasks.count.s()).delay()
  await until(() => live.said(`hold[${runs}] received`).length > 0)
  await live.app.control.revoke(runs, { terminate: true })
  await expect(body.get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'ChordError',
    message: expect.stringContaining('TaskRevokedError'),
  })

  await using idle = new LiveApp()
  const other = tasksOf(idle)
  const waits = randomUUID()
  const late = chord(group(other.add.s(1, 1), other.add.s(2, 2).set({ taskId: waits })), other.count.s()).delay()
  await late
  await idle.app.control.revoke(waits)
  await idle.work()
  await expect(late.get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'ChordError',
    message: expect.stringContaining('TaskRevokedError'),
  })
})

test('ignored results are no reason to wait: the body gets them', async () => {
  const body = chord(group(tasks.quiet.s(5), tasks.add.s(1, 1)), live.app.task('give', (list: unknown[]) => list).s() as never).delay()
  expect(await body.get({ timeout: 20 })).toEqual([5, 2])
})

test('a body that cannot be sent fails its chord', async () => {
  const body = chord(group(tasks.add.s(1, 1), tasks.add.s(2, 2)), tasks.strict.s() as never).delay()
  await expect(body.get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'ChordError',
    message: expect.stringContaining('Callback error'),
  })
})

test('errbacks of a group that is the body of a chord are told of each of its tasks', async () => {
  const ids = [randomUUID(), randomUUID()]
  const members = ids.map((taskId) => tasks.count.s().set({ taskId }))
  const body = chord(group(tasks.fail.s(), tasks.add.s(1, 1)), group(members) as never)
    .linkError(tasks.hear.s())
    .delay()
  await body
  await until(() => ids.every((id) => heard.includes(id)))
  for (const id of ids) await expect(live.app.result(id).get({ timeout: 20 })).rejects.toMatchObject({ excType: 'TypeError' })
})

test('errbacks may be workflows themselves', async () => {
  const id = randomUUID()
  const errback = chain(tasks.hear.s(), tasks.hear.si('after it'))
  await tasks.fail.applyAsync([], { taskId: id, linkError: errback })
  await until(() => heard.includes(id) && heard.includes('after it'))
})

test('links may be workflows themselves', async () => {
  await tasks.add.applyAsync([20, 1], { link: [chain(tasks.add.s(1), tasks.hear.s()), tasks.hear.s()] })
  await until(() => heard.includes(22) && heard.includes(21))
  await tasks.add.applyAsync([30, 1], { link: group(tasks.add.s(1), tasks.add.s(2)).pipe(tasks.hear.s() as never) as never })
  await until(() => heard.some((one) => Array.isArray(one) && one.includes(32) && one.includes(33)))
})

test('with taskInheritParentPriority, what follows a task has its priority; without it, its own', async () => {
  for (const [taskInheritParentPriority, expected] of [
    [true, [7, 7]],
    [false, [0, 0]],
  ] as const) {
    await using other = new LiveApp({ taskInheritParentPriority, taskQueues: [{ name: 'celery' }, { name: 'later' }] })
    const { add } = tasksOf(other)
    await other.work({ queues: ['celery'] })
    const later = { queue: 'later' }
    await chain(add.s(1, 1).set({ priority: 7, link: add.s(2).set(later) }), add.s(3).set(later)).delay()
    const { core } = Celeriac.internals(other.app)
    const connection = await core.connections.connect()
    await connection.declare(core.routes.topology('later'))
    const priorities: unknown[] = []
    await connection.consume({
      queues: ['later'],
      prefetch: 10,
      onDeliveries: (deliveries) => void priorities.push(...deliveries.map(({ message }) => message.properties.priority)),
    })
    await until(() => priorities.length === 2)
    expect(priorities).toEqual(expected)
    await connection.close()
  }
})

test('stamps stay with a task that is retried', async () => {
  const again = live.app.task('again', { bind: true }, (self: TaskContext): unknown =>
    self.request.retries === 0 ? self.retry({ countdown: 0 }) : self.request.stamps,
  )
  expect(await again.applyAsync([], { stamps: { tenant: 'a' } }).get({ timeout: 20 })).toEqual({ tenant: 'a' })
})
