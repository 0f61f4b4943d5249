/** Remote control of workers of this process, over the memory broker: what each command changes. */

import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { commandTable } from '../../dist/control/command-table.js'
import { handlerOf } from '../../dist/worker/command-handlers.js'
import { LiveApp, until } from '../live-app.js'

/** Asked for by name, no answer is waited for longer than it takes. */
const one = { destination: ['w@h'], timeout: 10 }

/** A task that runs until it is let go, or told to stop. */
function gated(live: LiveApp) {
  const gates: (() => void)[] = []
  const task = live.app.task('gated', { bind: true }, async (self, what: string) => {
    await new Promise<void>((resolve, reject) => {
      gates.push(resolve)
      self.signal.addEventListener('abort', () => reject(self.signal.reason), { once: true })
    })
    return what
  })
  return { task, gates }
}

test('every command of the table has a handler, under each of its names', () => {
  for (const { name, aliases = [] } of commandTable)
    for (const spelling of [name, ...aliases]) expect(handlerOf(spelling), spelling).toBeTypeOf('function')
  expect(handlerOf('toString')).toBeUndefined()
})

test('destination and pattern choose the workers; without them all answer', async () => {
  await using live = new LiveApp()
  for (const name of ['mail-1@h', 'mail-2@h', 'web@h']) await live.work({ hostname: name })
  const { control } = live.app
  const who = async (options: Parameters<typeof control.ping>[0]): Promise<string[]> => Object.keys(await control.ping(options)).sort()
  expect(await who({ limit: 3, timeout: 10 })).toEqual(['mail-1@h', 'mail-2@h', 'web@h'])
  expect(await who({ destination: ['web@h', 'nobody@h'], timeout: 0.3 })).toEqual(['web@h'])
  expect(await who({ pattern: 'mail-*', timeout: 0.3 })).toEqual(['mail-1@h', 'mail-2@h'])
  expect(await who({ limit: 1, timeout: 10 })).toHaveLength(1)
  const heard: string[] = []
  await control.ping({ limit: 3, timeout: 10, onReply: ({ hostname }) => heard.push(hostname) })
  expect(heard.sort()).toEqual(['mail-1@h', 'mail-2@h', 'web@h'])
  await expect(control.ping({ limit: 0 })).rejects.toMatchObject({ code: 'ERR_OPTION_INVALID' })
  await expect(control.ping({ pattern: 'x', matcher: 'pcre' as 'glob' })).rejects.toMatchObject({ code: 'ERR_OPTION_INVALID' })
})

test('questions of one moment are told apart', async () => {
  await using live = new LiveApp()
  await live.work({ hostname: 'w@h' })
  const inspect = live.app.control.inspect(one)
  const [ping, clock, active] = await Promise.all([inspect.ping(), inspect.clock(), inspect.active()])
  expect([ping, clock, active]).toEqual([{ 'w@h': { ok: 'pong' } }, { 'w@h': { clock: expect.any(Number) } }, { 'w@h': [] }])
})

test('a command of the app is run by its workers, and what it throws is an answer', async () => {
  await using live = new LiveApp()
  const { app } = live
  app.controlCommand('greet', ({ who }, { hostname }) => ({ ok: `${hostname} greets ${who}` }))
  app.controlCommand('late', async () => [1, 2])
  app.controlCommand('broken', () => {
    throw new TypeError('no way')
  })
  await live.work({ hostname: 'w@h' })
  expect(await app.control.broadcast('greet', { who: 'you' }, one)).toEqual({ 'w@h': { ok: 'w@h greets you' } })
  expect(await app.control.broadcast('late', {}, one)).toEqual({ 'w@h': [1, 2] })
  expect(await app.control.broadcast('broken', {}, one)).toEqual({ 'w@h': { error: "TypeError('no way')" } })
  expect(await app.control.broadcast('nobody_knows', {}, one)).toEqual({ 'w@h': { error: "KeyError('nobody_knows')" } })
  expect(() => app.controlCommand('ping', () => 1)).toThrow(/ping/)
  expect(() => app.controlCommand('greet', () => 1)).toThrow(/greet/)
})

test('integers of any size are shown; a command that gives no data has an error for an answer', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  const { app } = live
  app.controlCommand('large', () => ({ n: 2n ** 70n }))
  app.controlCommand('map', () => new Map())
  app.controlCommand('round', () => {
    const round: Record<string, unknown> = {}
    round.round = round
    return round
  })
  await live.work({ hostname: 'w@h' })
  const running = await app.sendTask('gated', { args: ['a', 2n ** 70n] })
  await until(() => gates.length === 1)
  expect(await app.control.inspect(one).active()).toMatchObject({ 'w@h': [{ id: running.id, args: ['a', 2n ** 70n] }] })
  expect(await app.control.inspect(one).queryTask(running.id)).toMatchObject({ 'w@h': { [running.id]: ['active', { id: running.id }] } })
  expect(await app.control.broadcast('large', {}, one)).toEqual({ 'w@h': { n: 2n ** 70n } })
  expect(await app.control.broadcast('map', {}, one)).toEqual({ 'w@h': { error: expect.stringContaining('is a Map') } })
  expect(await app.control.broadcast('round', {}, one)).toEqual({ 'w@h': { error: expect.stringContaining('refers back') } })
  gates[0]?.()
  expect(await running.get({ timeout: 30 })).toBe('a')
  expect(task.name).toBeDefined()
})

test('what is wrong with the arguments of a command is answered', async () => {
  await using live = new LiveApp()
  await live.work({ hostname: 'w@h' })
  for (const [method, args] of [
    ['add_consumer', {}],
    ['pool_grow', { n: -1 }],
    ['query_task', { ids: [1] }],
    ['revoke', { task_id: 7 }],
    ['time_limit', { task_name: 'x'.repeat(300) }],
    ['hello', {}],
  ] as const)
    expect(await live.app.control.broadcast(method, args, one), method).toEqual({ 'w@h': { error: expect.stringContaining('expected') } })
})

test('objgraph is of Python, and says what there is instead', async () => {
  await using live = new LiveApp()
  await live.work({ hostname: 'w@h' })
  const { control } = live.app
  expect(await control.broadcast('objgraph', { num: 10 }, one)).toEqual({ 'w@h': { error: expect.stringContaining('Use memsample') } })
  expect(await control.broadcast('memsample', {}, one)).toEqual({ 'w@h': expect.stringMatching(/^\d+\.\d\dMB$/) })
  expect(await control.broadcast('memdump', { samples: 5 }, one)).toEqual({
    'w@h': expect.stringContaining('= change: 0.00MB over 1 samples'),
  })
})

test('a worker that takes no remote control answers nothing', async () => {
  await using live = new LiveApp({ workerEnableRemoteControl: false })
  await live.work({ hostname: 'w@h' })
  expect(await live.app.control.ping({ timeout: 0.2 })).toEqual({})
})

test('stats count what was started, and say how large the pool is', async () => {
  await using live = new LiveApp({ workerPrefetchMultiplier: 2 })
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work({ hostname: 'w@h', concurrency: 3 })
  for (let i = 0; i < 3; i++) await add.delay(i, 1).get({ timeout: 30 })
  const { 'w@h': stats } = await live.app.control.inspect(one).stats()
  expect(stats).toMatchObject({
    total: { add: 3 },
    pid: process.pid,
    prefetch_count: 6,
    pool: { 'max-concurrency': 3, implementation: 'celeriac:async' },
  })
})

test('conf shows what is set, in Celery’s names, and no secrets'.replace('’', "'"), async () => {
  await using live = new LiveApp({ taskAcksLate: false })
  await live.work({ hostname: 'w@h' })
  const inspect = live.app.control.inspect(one)
  const { 'w@h': set = {} } = await inspect.conf()
  expect(set).toMatchObject({ task_acks_late: false })
  expect(set).not.toHaveProperty('task_track_started')
  const { 'w@h': all = {} } = await inspect.conf({ withDefaults: true })
  expect(all).toMatchObject({ task_track_started: false, task_default_routing_key: null, worker_heartbeat_interval: 2 })
})

test('the password of no URL is shown by conf, report or stats', async () => {
  const url = 'redis://shop:hush-hush@127.0.0.1:1/0'
  await using live = new LiveApp({ limitStore: url, beatStore: url })
  await live.work({ hostname: 'w@h' })
  const inspect = live.app.control.inspect(one)
  const said = [await inspect.conf(), await inspect.conf({ withDefaults: true }), await inspect.report(), await inspect.stats()]
  expect(JSON.stringify(said[0])).toContain('redis://shop:**@127.0.0.1:1/0')
  for (const one of said) expect(JSON.stringify(one)).not.toContain('hush')
})

test('pool_grow and pool_shrink change how much runs at the same time', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work({ hostname: 'w@h', concurrency: 1 })
  const results = await Promise.all(['a', 'b', 'c'].map((what) => task.delay(what)))
  await until(() => gates.length === 1)
  expect(await live.app.control.poolGrow(2, one)).toEqual({ 'w@h': { ok: 'pool will grow' } })
  await until(() => gates.length === 3)
  expect(await live.app.control.poolShrink(9, one)).toEqual({ 'w@h': { ok: 'pool will shrink' } })
  const { 'w@h': stats } = await live.app.control.inspect(one).stats()
  expect(stats).toMatchObject({ pool: { 'max-concurrency': 1 } })
  for (const open of gates) open()
  expect(await Promise.all(results.map((result) => result.get({ timeout: 30 })))).toEqual(['a', 'b', 'c'])
  expect(await live.app.control.poolRestart(one)).toEqual({ 'w@h': { error: expect.stringContaining('nothing to restart') } })
})

test('a pool is not made larger than any machine can run', async () => {
  await using live = new LiveApp()
  await live.work({ hostname: 'w@h', concurrency: 1 })
  expect(await live.app.control.poolGrow(1e9, one)).toEqual({ 'w@h': { error: expect.stringContaining('100000 at most') } })
  expect((await live.app.control.inspect(one).stats())['w@h']).toMatchObject({ pool: { 'max-concurrency': 1 } })
})

test('a pool that runs one task at a time says that its size cannot be changed', async () => {
  await using live = new LiveApp()
  await live.work({ hostname: 'w@h', pool: 'solo' })
  const refused = { 'w@h': { error: expect.stringContaining('one task at a time') } }
  expect(await live.app.control.poolGrow(1, one)).toEqual(refused)
  expect(await live.app.control.poolShrink(1, one)).toEqual(refused)
})

test('with autoscale the pool follows what the worker holds, within its bounds', async () => {
  await using live = new LiveApp({ workerAutoscale: '3,1' })
  const { task, gates } = gated(live)
  await live.work({ hostname: 'w@h' })
  const { control } = live.app
  expect(await control.poolGrow(1, one)).toEqual({ 'w@h': { error: expect.stringContaining('autoscale') } })
  const results = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((what) => task.delay(what)))
  await until(() => gates.length === 3)
  expect((await control.inspect(one).stats())['w@h']).toMatchObject({ autoscaler: { min: 1, max: 3, current: 3 } })
  expect(await control.autoscale(4, 2, one)).toEqual({ 'w@h': { ok: 'autoscale now max=4 min=2' } })
  await until(() => gates.length === 4)
  gates[0]?.()
  await until(() => gates.length === 5)
  for (const open of gates) open()
  await Promise.all(results.map((result) => result.get({ timeout: 30 })))
})

test('autoscale of a worker without is answered as Python does', async () => {
  await using live = new LiveApp()
  await live.work({ hostname: 'w@h' })
  expect(await live.app.control.autoscale(4, 2, one)).toEqual({ 'w@h': { error: "ValueError('Autoscale not enabled')" } })
})

test('a queue can be added and left while the worker runs', async () => {
  await using live = new LiveApp()
  const where = live.app.task('where', { bind: true }, (self) => self.request.queue)
  await live.work({ hostname: 'w@h', queues: ['first'] })
  const { control } = live.app
  const early = await where.applyAsync([], { queue: 'second' })
  expect(await control.addConsumer('second', one)).toEqual({ 'w@h': { ok: 'add consumer second' } })
  expect(await early.get({ timeout: 30 })).toBe('second')
  expect((await control.inspect(one).activeQueues())['w@h']?.map(({ name }) => name)).toEqual(['first', 'second'])
  expect(await control.cancelConsumer('first', one)).toEqual({ 'w@h': { ok: 'no longer consuming from first' } })
  expect(await control.cancelConsumer('nothing', one)).toEqual({ 'w@h': { ok: 'no longer consuming from nothing' } })
  const left = await where.applyAsync([], { queue: 'first' })
  expect(await where.applyAsync([], { queue: 'second' }).get({ timeout: 30 })).toBe('second')
  expect(await left.state()).toBe('PENDING')
  await control.addConsumer('topics', { ...one, exchange: 'all', exchangeType: 'topic', routingKey: 'a.#' })
  expect(await live.app.sendTask('where', {}, { exchange: 'all', routingKey: 'a.b' }).get({ timeout: 30 })).toBe('topics')
  expect(await control.broadcast('add_consumer', { queue: 'x', exchange_type: 'funny' }, one)).toEqual({
    'w@h': { error: expect.stringContaining('funny') },
  })
})

test('time limits are changed for tasks that start afterwards', async () => {
  await using live = new LiveApp()
  const { task } = gated(live)
  await live.work({ hostname: 'w@h' })
  const { control } = live.app
  expect(await control.timeLimit('gated', { soft: '50ms', hard: 9 }, one)).toEqual({ 'w@h': { ok: 'time limits set successfully' } })
  await expect(task.delay('a').get({ timeout: 30 })).rejects.toMatchObject({ excType: 'SoftTimeLimitExceeded' })
  expect(await control.timeLimit('nope', {}, one)).toEqual({ 'w@h': { error: 'unknown task' } })
})

test('shutdown stops the worker after what it runs', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  const worker = await live.work({ hostname: 'w@h' })
  const result = await task.delay('a')
  await until(() => gates.length === 1)
  await live.app.control.shutdown({ destination: ['w@h'] })
  await until(() => worker.state === 'draining')
  expect(Object.keys(await live.app.control.ping(one))).toEqual(['w@h'])
  gates[0]?.()
  expect(await result.get({ timeout: 30 })).toBe('a')
  await until(() => worker.state === 'stopped')
})

test('terminate ends a task that runs, and says which', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work({ hostname: 'w@h' })
  const result = await task.delay('a')
  await until(() => gates.length === 1)
  const { control } = live.app
  expect(await control.broadcast('terminate', { task_id: 'other', signal: 'TERM' }, one)).toEqual({
    'w@h': { ok: 'terminate: tasks unknown' },
  })
  expect(await control.broadcast('revoke', { task_id: [result.id], terminate: true, signal: 15 }, one)).toEqual({
    'w@h': { ok: `terminate: ${result.id}` },
  })
  await expect(result.get({ timeout: 30 })).rejects.toMatchObject({ code: 'ERR_TASK_REVOKED', reason: 'terminated' })
})

test('tasks are revoked by their stamps: those that wait, those that come, and with terminate those that run', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work({ hostname: 'w@h', concurrency: 1 })
  const { control } = live.app
  const running = await task.applyAsync(['a'], { stamps: { customer: 'c1' } })
  const waiting = await task.applyAsync(['b'], { stamps: { customer: ['c2', 'c3'] } })
  await until(() => gates.length === 1)
  await until(async () => (await control.inspect(one).reserved())['w@h']?.length === 1)
  expect(await control.revokeByStampedHeaders({ customer: ['c3', 'c4'] }, one)).toEqual({
    'w@h': { ok: "headers {'customer': ['c3', 'c4']} flagged as revoked, but not terminated" },
  })
  await expect(waiting.get({ timeout: 30 })).rejects.toMatchObject({ code: 'ERR_TASK_REVOKED' })
  expect(await running.state()).toBe('PENDING')
  await control.broadcast('revoke_by_stamped_headers', { headers: ['customer=c1'], terminate: true }, one)
  await expect(running.get({ timeout: 30 })).rejects.toMatchObject({ code: 'ERR_TASK_REVOKED', reason: 'terminated' })
  await expect(task.applyAsync(['c'], { stamps: { customer: 'c4' } }).get({ timeout: 30 })).rejects.toMatchObject({
    code: 'ERR_TASK_REVOKED',
  })
  const other = task.applyAsync(['d'], { stamps: { customer: 'c5' } })
  await until(() => gates.length === 2)
  gates[1]?.()
  expect(await other.get({ timeout: 30 })).toBe('d')
})

test('what is revoked is kept over a restart in the state file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-state-'))
  const path = join(folder, 'of/w.state')
  try {
    const broker = `memory://${randomUUID()}`
    {
      await using live = new LiveApp({ broker, workerStateDb: join(folder, 'of/%n.state') })
      const worker = await live.work({ hostname: 'w@h' })
      await live.app.control.broadcast('revoke', { task_id: ['a', 'b'] }, one)
      await worker.stop()
    }
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ revoked: ['a', 'b'], clock: expect.any(Number) })
    await using live = new LiveApp({ workerStateDb: path })
    live.app.task('add', (x: number, y: number) => x + y)
    await live.work({ hostname: 'w@h' })
    expect(await live.app.control.inspect(one).revoked()).toEqual({ 'w@h': ['a', 'b'] })
    await expect(live.app.sendTask('add', { args: [1, 2] }, { taskId: 'b' }).get({ timeout: 30 })).rejects.toMatchObject({
      code: 'ERR_TASK_REVOKED',
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a worker whose state cannot be written any more says so, and stops in order', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-state-'))
  try {
    await using live = new LiveApp({ workerStateDb: join(folder, 'of/w.state') })
    const { task, gates } = gated(live)
    const worker = await live.work({ hostname: 'w@h' })
    rmSync(join(folder, 'of'), { recursive: true })
    const result = await task.delay('a')
    await until(() => gates.length === 1)
    await live.app.control.revoke('other')
    await live.app.control.shutdown({ destination: ['w@h'] })
    gates[0]?.()
    expect(await result.get({ timeout: 30 })).toBe('a')
    await until(() => worker.state === 'stopped')
    await worker.stop()
    expect(live.said('--statedb').length).toBeGreaterThan(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a state file that is none stops the start, with a sentence', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-state-'))
  try {
    writeFileSync(join(folder, 'broken'), 'no json')
    for (const path of ['broken', 'broken/no-folder']) {
      await using live = new LiveApp({ workerStateDb: join(folder, path) })
      await expect(live.work()).rejects.toMatchObject({ code: 'ERR_DATABASE_UNUSABLE', message: expect.stringContaining('--statedb') })
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a second worker of the same name is told, and hears requests, too', async () => {
  await using live = new LiveApp()
  await live.work({ hostname: 'w@h' })
  await live.work({ hostname: 'w@h' })
  expect(live.said('another worker is called w@h')).toHaveLength(1)
  const heard: string[] = []
  await live.app.control.ping({ limit: 2, timeout: 10, onReply: ({ hostname }) => heard.push(hostname) })
  expect(heard).toEqual(['w@h', 'w@h'])
})
