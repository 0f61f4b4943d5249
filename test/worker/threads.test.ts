/** A worker whose tasks run in threads, and one whose tasks name their pools, on the embedded broker. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Celeriac, type ConfigInput, NotSupportedError, TaskRevokedError, type Worker, type WorkerOptions } from '../../dist/index.js'
import { Programs } from '../harness/programs.js'
import { until } from '../live-app.js'

const folder = mkdtempSync(join(tmpdir(), 'celeriac-threads-'))
const file = join(folder, 'app.mjs')
const mixedFile = join(folder, 'mixed.mjs')
let app: Celeriac
/** Its tasks name their pools. */
let mixed: Celeriac
let worker: Worker | undefined

beforeAll(async () => {
  const dist = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)
  const where = "import { isMainThread } from 'node:worker_threads'\nconst where = () => ({ pid: process.pid, isMainThread })"
  const logger = '{ debug() {}, info() {}, warn() {}, error() {} }'
  writeFileSync(
    file,
    `import { appendFileSync } from 'node:fs'
${where}
import { Celeriac } from ${dist}
export const app = new Celeriac('threads', { broker: ${JSON.stringify(`sqlite://${folder}/queue.db`)}, logger: ${logger}, taskDeliveryLimit: 2, workerMaxHeapPerChild: 65_536, acceptContent: ['json', 'msgpack'] })
const ran = (what) => appendFileSync(${JSON.stringify(folder)} + '/' + what, 'x')
const forever = (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
app.task('where', where)
app.task('report', { bind: true }, async (self) => { await self.progress(1, 2, { big: 2n ** 70n }); return 'done' })
app.task('parent', async () => (await app.sendTask('where', {}, { taskId: 'child-of-parent' })).id)
app.task('bytes', { serializer: 'msgpack' }, (bytes) => Buffer.from(bytes).toString('hex'))
app.task('hold', { bind: true, trackStarted: true }, (self) => forever(self.signal))
app.task('block', { trackStarted: true }, () => { for (;;); })
app.task('die', () => { ran('die'); process.exit(3) })
app.task('hoard', () => { const kept = []; for (;;) kept.push(new Array(1_000).fill(Math.random())) })
`,
  )
  writeFileSync(
    mixedFile,
    `${where}
import { Celeriac } from ${dist}
export const app = new Celeriac('mixed', { broker: ${JSON.stringify(`sqlite://${folder}/mixed.db`)}, logger: ${logger} })
app.task('where', where)
app.task('here', { pool: 'async' }, where)
app.task('aside', { pool: 'threads' }, where)
app.task('apart', { pool: 'prefork' }, where)
app.task('holdAside', { pool: 'threads' }, () => { for (;;); })
`,
  )
  app = (await import(file)).app
  mixed = (await import(mixedFile)).app
})

afterEach(async () => {
  await worker?.stop({ mode: 'cold' })
  worker = undefined
})

afterAll(async () => {
  await app.close()
  await mixed.close()
  rmSync(folder, { recursive: true, force: true })
})

async function work(options: WorkerOptions = {}): Promise<Worker> {
  worker = app.worker({ pool: 'threads', app: file, concurrency: 1, hostname: 'w@h', ...options })
  return worker.start()
}

interface Place {
  readonly pid: number
  readonly isMainThread: boolean
}

const call = (task: string, ...args: unknown[]) => app.sendTask(task, { args })
const placeOf = (by: Celeriac, task: string) => by.sendTask<Place>(task).get({ timeout: 20 })

test('threads: tasks run beside the worker in its process; what they report, send and get crosses', async () => {
  await work()
  expect(await placeOf(app, 'where')).toMatchObject({ pid: process.pid, isMainThread: false })
  const states: unknown[] = []
  const report = await call('report')
  for await (const { state, meta } of report.events()) states.push([state, meta])
  expect(states.at(-1)).toEqual(['SUCCESS', 'done'])
  expect(await call('parent').get({ timeout: 20 })).toBe('child-of-parent')
  expect(await app.result('child-of-parent').get({ timeout: 20 })).toMatchObject({ pid: process.pid })
  expect(await app.sendTask('bytes', { args: [Buffer.from('ü')] }, { serializer: 'msgpack' }).get({ timeout: 20 })).toBe('c3bc')
  const { 'w@h': stats } = await app.control.inspect().stats()
  expect(stats).toMatchObject({ pid: process.pid, pool: { implementation: 'celeriac:threads', processes: [process.pid], threads: 1 } })
})

test('threads: a hard limit, terminate, process.exit() and memory that ran out end the thread of the task, and no other', async () => {
  await work()
  const limited = await app.sendTask('block', {}, { timeLimit: '300ms' })
  await expect(limited.get({ timeout: 20 })).rejects.toMatchObject({ excType: 'TimeLimitExceeded', args: [0.3] })
  const block = await call('block')
  await until(async () => (await block.state()) === 'STARTED')
  await block.revoke({ terminate: true })
  await expect(block.get({ timeout: 20 })).rejects.toMatchObject({ constructor: TaskRevokedError, reason: 'terminated' })
  await expect(call('die').get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'WorkerLostError',
    message: expect.stringMatching(/thread \d+ exited with code 3/),
  })
  await expect(call('hoard').get({ timeout: 20 })).rejects.toThrow(/thread \d+ ran out of memory/)
  expect(readFileSync(join(folder, 'die'), 'utf8')).toBe('xx')
  expect(await placeOf(app, 'where')).toMatchObject({ pid: process.pid })
})

test('a task runs in the pool that it names, one that names none in that of the worker; a full pool holds up no other', async () => {
  worker = await mixed.worker({ pool: 'async', app: mixedFile, concurrency: 2 }).start()
  const here = { pid: process.pid, isMainThread: true }
  expect(await placeOf(mixed, 'where')).toMatchObject(here)
  expect(await placeOf(mixed, 'here')).toMatchObject(here)
  expect(await placeOf(mixed, 'aside')).toMatchObject({ pid: process.pid, isMainThread: false })
  expect((await placeOf(mixed, 'apart')).pid).not.toBe(process.pid)
  const full = await Promise.all(Array.from({ length: 8 }, () => mixed.sendTask('holdAside')))
  expect(await placeOf(mixed, 'apart')).toMatchObject({ isMainThread: true })
  const [stats] = Object.values(await mixed.control.inspect().stats())
  expect(stats).toMatchObject({ pool: { implementation: 'celeriac:async+prefork+threads', 'max-concurrency': 6, threads: 2 } })
  await Promise.all(full.map((held) => held.revoke({ terminate: true })))
  for (const held of full) await expect(held.get({ timeout: 20 })).rejects.toBeInstanceOf(TaskRevokedError)
})

test('what no pool of a worker can do is refused at its start, in words; what it does in another way is told', async () => {
  const told: string[] = []
  const logger = { debug() {}, info() {}, error() {}, warn: (_fields: unknown, message: string) => void told.push(message) }
  const start = async (config: ConfigInput, options: WorkerOptions): Promise<unknown> => {
    const other = new Celeriac('other', { broker: 'memory://refused', logger, ...config })
    other.task('slow', { timeLimit: 60 }, () => {})
    const refused = other.worker(options)
    try {
      return await refused.start().then(
        () => 'started',
        (error: unknown) => error,
      )
    } finally {
      await refused.stop()
      await other.close()
    }
  }
  const refusal = async (config: ConfigInput, options: WorkerOptions): Promise<string> => {
    const error = await start(config, options)
    expect(error).toBeInstanceOf(NotSupportedError)
    return String(error)
  }
  expect(await refusal({}, { pool: 'async', maxTasksPerChild: 5 })).toContain('maxTasksPerChild with the async pool')
  expect(await refusal({}, { maxMemoryPerChild: 5 })).toContain('maxMemoryPerChild with the async pool')
  expect(await refusal({ workerMaxTasksPerChild: 5 }, { pool: 'solo' })).toContain('workerMaxTasksPerChild with the solo pool')
  expect(await refusal({ workerMaxHeapPerChild: 5 }, { pool: 'async' })).toContain('workerMaxHeapPerChild')
  expect(await refusal({ workerChildConcurrency: 2, workerPool: 'async' }, {})).toContain('workerChildConcurrency')
  expect(await refusal({ workerAutoscale: '3,1' }, { pool: 'solo' })).toContain('workerAutoscale with the solo pool')
  expect(await refusal({}, { pool: 'solo', concurrency: 2 })).toContain('one task at a time')
  expect(told).toEqual([])
  expect(await refusal({}, { pool: 'threads' })).toContain('import.meta.url')
  expect(told.splice(0).join()).toContain('memory:// is a broker of this process and thread alone')
  // Nobody chose the pool: there is no file to load the app from.
  expect(await start({ workerMaxTasksPerChild: 5 }, {})).toBe('started')
  expect(told.join()).toMatch(/workerMaxTasksPerChild is without effect.*time limit of slow only aborts/s)
})

test.each(['prefork', 'threads'] as const)(
  '%s: a file that starts a worker whose children load that very file is refused, and starts no others without end',
  async (pool) => {
    const main = join(folder, `main-${pool}.mjs`)
    writeFileSync(
      main,
      `import { appendFileSync } from 'node:fs'
import { Celeriac } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
appendFileSync(${JSON.stringify(folder)} + '/loaded-${pool}', 'x')
export const app = new Celeriac('main', { broker: ${JSON.stringify(`sqlite://${folder}/main.db`)} })
await app.worker({ app: import.meta.url, pool: '${pool}', concurrency: 1 }).run()
`,
    )
    const programs = new Programs(folder)
    const { code, stderr } = await programs.start([main], { timeoutMs: 60_000 }).ended
    expect([code, stderr]).toEqual([1, expect.stringMatching(/ERR_CHILD_BOOT|ChildBootError/)])
    expect(stderr).toContain('starting a worker in a child of another one is not supported')
    expect(stderr).toContain('Keep app and tasks in a file of their own')
    // The program, and the children that it tried, none of which had any.
    expect(readFileSync(join(folder, `loaded-${pool}`), 'utf8').length).toBeLessThanOrEqual(6)
  },
)
