/** The worker as it is by default: child processes and the embedded broker, in a folder of its own. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Celeriac, TaskFailure, TaskRevokedError, type Worker, type WorkerOptions } from '../../dist/index.js'
import { until } from '../live-app.js'

const folder = mkdtempSync(join(tmpdir(), 'celeriac-prefork-'))
const file = join(folder, 'app.mjs')
let app: Celeriac
let worker: Worker | undefined

beforeAll(async () => {
  const logger = '{ debug() {}, info() {}, warn() {}, error() {} }'
  writeFileSync(
    file,
    `import { appendFileSync, existsSync } from 'node:fs'
import { Celeriac, currentTask, TaskFailure } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
export const app = new Celeriac('prefork', { broker: ${JSON.stringify(`sqlite://${folder}/queue.db`)}, logger: ${logger}, taskDeliveryLimit: 2, resultMaxBytes: 100_000 })
class Busy extends Error {}
const ran = (what) => appendFileSync(${JSON.stringify(folder)} + '/' + what, 'x')
const forever = (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
app.task('add', { params: ['x', 'y'] }, (x, y) => x + y)
app.task('where', { bind: true }, (self) => ({ pid: process.pid, ...self.request, deadline: null, current: currentTask() === self }))
app.task('report', { bind: true }, async (self) => { await self.progress(1, 2, { at: 'half', big: 2n ** 70n }); return 'done' })
app.task('badReport', { bind: true }, async (self) => self.progress(1, 2, { fn: () => 1 }))
app.task('flaky', { bind: true, autoretryFor: [Busy], defaultRetryDelay: 0 }, (self) => { if (self.request.retries < 2) throw new Busy('busy'); return self.request.retries })
app.task('again', { bind: true }, (self, n) => (n < 3 ? self.retry({ countdown: 0, args: [n + 1], headers: { tried: n } }) : [n, self.request.headers]))
app.task('fail', () => { throw new TypeError('no', { cause: new Error('deeper') }) })
app.task('give', (kind) => ({ cycle: () => { const a = {}; a.a = a; return { a } }, fn: () => ({ a: { b: () => 1 } }), big: () => 'x'.repeat(200_000), none: () => undefined, int: () => 2n ** 70n, proxy: () => { throw new Proxy({}, { getPrototypeOf() { throw new Error('hostile') }, get() { throw new Error('hostile') } }) } })[kind]())
app.task('hold', { bind: true, trackStarted: true }, (self) => { ran('hold'); return forever(self.signal) })
app.task('block', () => { ran('block'); for (;;); })
app.task('die', () => { ran('die'); process.exit(3) })
app.task('parent', async () => (await app.sendTask('add', { args: [1, 1] }, { taskId: 'child-of-parent' })).id)
app.task('note', (x) => ran('note-' + x))
app.task('large', { bind: true }, (self) => (self.request.retries === 0 ? self.retry({ countdown: 0, headers: { again: 2n ** 61n } }) : self.request.headers))
app.task('rethrow', () => { ran('rethrow'); throw new TaskFailure({ taskId: 'x', excType: 'ValueError', excModule: 'builtins', args: [2n ** 60n], traceback: null }) })
`,
  )
  app = (await import(file)).app
})

afterEach(async () => {
  await worker?.stop({ mode: 'cold' })
  worker = undefined
})

afterAll(async () => {
  await app.close()
  rmSync(folder, { recursive: true, force: true })
})

async function work(options: WorkerOptions = {}): Promise<Worker> {
  worker = app.worker({ pool: 'prefork', app: file, concurrency: 1, hostname: 'w@h', ...options })
  return worker.start()
}

const call = (task: string, ...args: unknown[]) => app.sendTask(task, { args })

test('headers and arguments of errors may be integers of any size', async () => {
  await work()
  const headers = await app.sendTask('large', {}, { headers: { user: 2n ** 60n } }).get({ timeout: 30 })
  expect(headers).toEqual({ user: 2n ** 60n, again: 2n ** 61n })
  await expect(call('rethrow').get({ timeout: 30 })).rejects.toMatchObject({ excType: 'ValueError', args: [2n ** 60n] })
  expect(readFileSync(join(folder, 'rethrow'), 'utf8')).toBe('x')
})

test('tasks run in other processes, with the context that their messages give them', async () => {
  await work()
  expect(await call('add', 2, 3).get({ timeout: 20 })).toBe(5)
  expect(await app.sendTask('add', { args: [2], kwargs: { y: 5 } }).get({ timeout: 20 })).toBe(7)
  const seen = await app.sendTask<{ pid: number }>('where', {}, { taskId: 'w', headers: { h: 1 } }).get({ timeout: 20 })
  expect(seen.pid).not.toBe(process.pid)
  expect(seen).toMatchObject({ id: 'w', rootId: 'w', retries: 0, queue: 'celery', headers: { h: 1 }, worker: 'w@h', current: true })
})

test('progress, retries, links and children cross the processes', async () => {
  await work()
  const states: unknown[] = []
  const report = await call('report')
  for await (const { state, meta } of report.events()) states.push([state, meta])
  expect(states.at(-1)).toEqual(['SUCCESS', 'done'])
  await expect(call('badReport').get({ timeout: 20 })).rejects.toThrow(/meta\.fn/)
  expect(await call('flaky').get({ timeout: 20 })).toBe(2)
  expect(await call('again', 1).get({ timeout: 20 })).toEqual([3, { tried: 2 }])
  const parent = await call('parent')
  expect(await parent.get({ timeout: 20 })).toBe('child-of-parent')
  expect((await parent.children()).map(({ id }) => id)).toEqual(['child-of-parent'])
  expect(await app.result('child-of-parent').get({ timeout: 20 })).toBe(2)
})

test('failures and results that cannot be kept are told with their parts', async () => {
  await work()
  const failure = await call('fail')
    .get({ timeout: 20 })
    .catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(TaskFailure)
  expect(failure).toMatchObject({ excType: 'TypeError', message: 'no', traceback: expect.stringContaining('deeper') })
  await expect(call('give', 'cycle').get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'EncodeError',
    message: expect.stringMatching(/^result\.a/),
  })
  await expect(call('give', 'fn').get({ timeout: 20 })).rejects.toThrow(/^result\.a\.b/)
  await expect(call('give', 'big').get({ timeout: 20 })).rejects.toMatchObject({ excType: 'TooLargeError' })
  await expect(call('give', 'proxy').get({ timeout: 20 })).rejects.toBeInstanceOf(TaskFailure)
  expect(await call('give', 'none').get({ timeout: 20 })).toBeNull()
  expect(await call('give', 'int').get({ timeout: 20 })).toBe(2n ** 70n)
})

test('a running task is terminated, and the worker goes on', async () => {
  await work()
  const hold = await call('hold')
  await until(async () => (await hold.state()) === 'STARTED')
  await hold.revoke({ terminate: true })
  await expect(hold.get({ timeout: 20 })).rejects.toMatchObject({ constructor: TaskRevokedError, reason: 'terminated' })
  expect(await call('add', 1, 1).get({ timeout: 20 })).toBe(2)
})

test('a hard time limit ends a task that blocks its process, and errbacks are told', async () => {
  await work()
  const note = app.remote<(id: string) => void>('note')
  const block = await app.sendTask('block', {}, { timeLimit: '300ms', linkError: note.si('late').set({ taskId: 'noted' }) })
  await expect(block.get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'TimeLimitExceeded',
    excModule: 'billiard.exceptions',
    args: [0.3],
  })
  expect(await app.result('noted').get({ timeout: 20 })).toBeNull()
})

test('a soft time limit aborts the signal in the other process', async () => {
  await work()
  await expect(app.sendTask('hold', {}, { softTimeLimit: '100ms' }).get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'SoftTimeLimitExceeded',
  })
})

test('a task that kills every process it runs in is a dead letter after the limit, and has failed', async () => {
  await work()
  const die = await call('die')
  await expect(die.get({ timeout: 25 })).rejects.toMatchObject({ excType: 'WorkerLostError' })
  // The result is stored first, then the message is buried.
  const [letter] = await until(async () => {
    const letters = await app.deadLetters.list()
    return letters.length > 0 && letters
  })
  expect(letter?.message.headers.id).toBe(die.id)
  expect(await call('add', 1, 1).get({ timeout: 20 })).toBe(2)
})

test('a cold stop gives back what runs; the next worker runs it again', async () => {
  const first = await work()
  const hold = await call('hold')
  await until(async () => (await hold.state()) === 'STARTED')
  await first.stop({ mode: 'cold' })
  expect(await hold.ready()).toBe(false)
  expect(await hold.exists()).toBe(true)
  await work()
  await until(async () => (await app.result(hold.id).exists()) === true)
  await hold.revoke({ terminate: true })
  await expect(hold.get({ timeout: 20 })).rejects.toBeInstanceOf(TaskRevokedError)
})

test('with a prefetch multiplier of 1, nothing is ahead, however short the tasks are', async () => {
  const own = join(folder, 'ahead.mjs')
  writeFileSync(
    own,
    `import { Celeriac } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
export const app = new Celeriac('one', { broker: ${JSON.stringify(`sqlite://${folder}/ahead.db`)}, workerPrefetchMultiplier: 1, workerLogLevel: 'error' })
app.task('short', () => 1)
app.task('hold', { bind: true, trackStarted: true }, (self) => new Promise((_, reject) => self.signal.addEventListener('abort', () => reject(self.signal.reason), { once: true })))
`,
  )
  const one: Celeriac = (await import(own)).app
  try {
    worker = one.worker({ pool: 'prefork', app: own, concurrency: 1, hostname: 'w@h' })
    await worker.start()
    const sent = await Promise.all(Array.from({ length: 40 }, () => one.sendTask('short', { args: [] })))
    for (const result of sent) expect(await result.get({ timeout: 20 })).toBe(1)
    // Together, so that a worker that takes tasks ahead takes them with the first.
    const [hold] = await Promise.all(['hold', 'short', 'short', 'short'].map((task) => one.sendTask(task, { args: [] })))
    await until(async () => (await hold?.state()) === 'STARTED')
    const connection = await Celeriac.internals(one).core.connections.publisher()
    expect(await connection.size('celery')).toBe(3)
  } finally {
    await worker?.stop({ mode: 'cold' })
    await one.close()
  }
})
