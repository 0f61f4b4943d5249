import { expect, test } from 'vitest'
import { Celeriac, chain, type Signals } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

const all: (keyof Signals)[] = [
  'celerydInit',
  'celerydAfterSetup',
  'workerInit',
  'workerProcessInit',
  'beforeTaskPublish',
  'afterTaskPublish',
  'taskReceived',
  'taskPrerun',
  'taskSuccess',
  'taskFailure',
  'taskRetry',
  'taskPostrun',
  'taskRevoked',
  'workerReady',
  'workerShuttingDown',
  'workerProcessShutdown',
  'workerShutdown',
]

function recorded(live: LiveApp, only: readonly (keyof Signals)[] = all): [string, Record<string, unknown>][] {
  const seen: [string, Record<string, unknown>][] = []
  for (const signal of only) live.app.on(signal, (event) => void seen.push([signal, { ...event }]))
  return seen
}

test('signals of a task that succeeds, in order', async () => {
  await using live = new LiveApp()
  const seen = recorded(live)
  const add = live.app.task('add', (x: number, y: number) => x + y)
  const worker = await live.work({ hostname: 'w@h' })
  await add.applyAsync([1, 2], { taskId: 'a', headers: { h: 1 } }).get({ timeout: 30 })
  await worker.stop()
  expect(seen.map(([name]) => name)).toEqual([
    'celerydInit',
    'celerydAfterSetup',
    'workerInit',
    'workerProcessInit',
    'workerReady',
    'beforeTaskPublish',
    'afterTaskPublish',
    'taskReceived',
    'taskPrerun',
    'taskSuccess',
    'taskPostrun',
    'workerShuttingDown',
    'workerProcessShutdown',
    'workerShutdown',
  ])
  const event = Object.fromEntries(seen)
  expect(event.workerReady).toEqual({ hostname: 'w@h' })
  const published = {
    task: 'add',
    id: 'a',
    headers: { h: 1, task: 'add' },
    exchange: '',
    routingKey: 'celery',
    properties: { correlationId: 'a' },
  }
  expect(event.beforeTaskPublish).toMatchObject(published)
  expect(JSON.parse(String(event.beforeTaskPublish?.body))[0]).toEqual([1, 2])
  expect(event.afterTaskPublish).toMatchObject(published)
  expect(event.taskReceived).toMatchObject({
    task: 'add',
    id: 'a',
    request: { id: 'a', queue: 'celery', retries: 0, argsrepr: '(1, 2)', eta: null },
  })
  expect(event.taskPrerun).toEqual({ task: 'add', id: 'a', args: [1, 2], kwargs: {} })
  expect(event.taskSuccess).toEqual({ task: 'add', id: 'a', result: 3, runtime: expect.any(Number) })
  expect(event.taskPostrun).toEqual({ task: 'add', id: 'a', args: [1, 2], kwargs: {}, state: 'SUCCESS', retval: 3 })
  expect(event.celerydInit).toMatchObject({ hostname: 'w@h', conf: { taskDefaultQueue: 'celery' }, options: { hostname: 'w@h' } })
  expect(event.workerShuttingDown).toEqual({ hostname: 'w@h', how: 'warm' })
  expect(event.workerProcessShutdown).toEqual({ pid: process.pid, exitcode: 0 })
})

test('signals of a task that is retried, fails, is ignored or revoked', async () => {
  await using live = new LiveApp()
  const seen = recorded(live, ['taskRetry', 'taskFailure', 'taskPostrun', 'taskRevoked'])
  const flaky = live.app.task('flaky', { bind: true, maxRetries: 1 }, (self) => self.retry({ countdown: 0, cause: new Error('why') }))
  const ignored = live.app.task('ignored', { bind: true }, (self) => self.ignore())
  await live.work()
  await flaky.delay().get({ timeout: 5, propagate: false })
  await ignored.delay()
  await until(() => seen.length === 5)
  await live.app.sendTask('ignored', {}, { expires: new Date(0), taskId: 'late' })
  await until(() => seen.length === 6)
  expect(seen.map(([name, { state, error, reason }]) => [name, state ?? reason ?? (error as Error)?.message])).toEqual([
    ['taskRetry', 'why'],
    ['taskPostrun', 'RETRY'],
    ['taskFailure', 'why'],
    ['taskPostrun', 'FAILURE'],
    ['taskPostrun', 'IGNORED'],
    ['taskRevoked', 'expired'],
  ])
  const [retry, , failure, , , revoked] = seen.map(([, event]) => event)
  expect(retry).toMatchObject({ request: { retries: 0, maxRetries: 1, queue: 'celery' }, eta: null })
  expect(failure).toMatchObject({ args: [], kwargs: {} })
  expect(revoked).toMatchObject({ expired: true, terminated: false, signal: null, request: { id: 'late', expires: new Date(0) } })
})

test('signals of messages that no task can be run for', async () => {
  await using live = new LiveApp()
  const seen = recorded(live, ['taskUnknown', 'taskRejected', 'taskFailure'])
  await live.work()
  await live.app.sendTask('nobody', {}, { taskId: 'u' })
  await until(() => seen.length === 2)
  const { core } = Celeriac.internals(live.app)
  const connection = await core.connections.publisher()
  const message = { body: '{}', contentType: 'application/json', contentEncoding: 'utf-8', headers: { task: 'x' }, properties: {} }
  await connection.publish(message, { exchange: '', routingKey: 'celery' }, { deadlineMs: 5_000 })
  await until(() => seen.length === 3)
  expect(seen.map(([signal]) => signal)).toEqual(['taskUnknown', 'taskFailure', 'taskRejected'])
  const [unknown, failure, rejected] = seen.map(([, event]) => event)
  expect(unknown).toMatchObject({ task: 'nobody', id: 'u', request: { queue: 'celery' } })
  expect(failure).toMatchObject({ id: 'u', error: { excType: 'NotRegistered' } })
  expect(rejected).toMatchObject({ queue: 'celery', error: { code: 'ERR_INVALID_MESSAGE' } })
})

test('what workers send themselves is told, too: retries, links and steps of chains', async () => {
  await using live = new LiveApp()
  const seen = recorded(live, ['beforeTaskPublish', 'afterTaskPublish'])
  const first = live.app.task('first', { bind: true }, (self): number => (self.request.retries === 0 ? self.retry({ countdown: 0 }) : 1))
  const second = live.app.task('second', (n: number) => n)
  await live.work()
  expect(await chain(first.s(), second.s()).delay().get({ timeout: 20 })).toBe(1)
  await until(() => seen.length === 6)
  expect(seen.map(([signal, { task, headers }]) => [signal, task, (headers as { retries: number }).retries])).toEqual([
    ['beforeTaskPublish', 'first', 0],
    ['afterTaskPublish', 'first', 0],
    ['beforeTaskPublish', 'first', 1],
    ['afterTaskPublish', 'first', 1],
    ['beforeTaskPublish', 'second', 0],
    ['afterTaskPublish', 'second', 0],
  ])
})

test('a worker that is told to be faster says so once', async () => {
  await using live = new LiveApp({ workerSoftShutdownTimeout: 20 })
  const seen = recorded(live, ['workerShuttingDown'])
  const begun = new Promise<void>((resolve) => live.app.on('taskPrerun', () => resolve()))
  const stuck = live.app.task(
    'stuck',
    { bind: true },
    (self) => new Promise<void>((resolve) => self.signal.addEventListener('abort', () => resolve())),
  )
  const worker = await live.work()
  await stuck.delay()
  await begun
  const stops = (['warm', 'warm', 'soft', 'warm', 'cold', 'cold'] as const).map((mode) => worker.stop({ mode }))
  await Promise.all(stops)
  expect(seen.map(([, { how }]) => how)).toEqual(['warm', 'soft', 'cold'])
})

test('a listener that never settles, throws, or changes what it is given breaks no task; one that is taken away hears no more', async () => {
  await using live = new LiveApp()
  const heard: string[] = []
  const listener = ({ id }: { id: string }): void => void heard.push(id)
  live.app.on('taskPrerun', listener)
  live.app.on('taskPrerun', () => new Promise<void>(() => {}))
  live.app.on('taskPrerun', ({ args }) => void (args as unknown[]).splice(0))
  // A listener in JavaScript may give anything.
  live.app.on('taskPrerun', (() => ({
    // biome-ignore lint/suspicious/noThenProperty: that it is no promise is what is tried
    then: () => {
      throw new Error('not even a promise')
    },
  })) as never)
  live.app.on('taskPrerun', () => {
    throw new Error('at once')
  })
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  expect(await add.applyAsync([1, 2], { taskId: 'one' }).get({ timeout: 20 })).toBe(3)
  live.app.off('taskPrerun', listener)
  expect(await add.applyAsync([1, 2], { taskId: 'two' }).get({ timeout: 20 })).toBe(3)
  expect(heard).toEqual(['one'])
  await until(() => live.said('a listener of taskPrerun threw').length === 4)
})

test('a listener that throws, at once or later, is logged and changes nothing', async () => {
  await using live = new LiveApp()
  live.app.on('taskPrerun', () => {
    throw new Error('at once')
  })
  live.app.on('taskSuccess', async () => {
    throw new Error('later')
  })
  const one = live.app.task('one', () => 1)
  await live.work()
  expect(await one.delay().get({ timeout: 30 })).toBe(1)
  await until(() => live.said(/a listener of task(Prerun|Success) threw/).length === 2)
})

// ── middleware ───────────────────────────────────────────────────────────────

test('publish middleware may change arguments and headers; the first one used is the outermost', async () => {
  await using live = new LiveApp()
  const order: string[] = []
  live.app.use({
    async publish(message, next) {
      order.push(`outer ${message.task}`)
      message.headers.trace = 'abc'
      await next()
      order.push('outer done')
    },
  })
  live.app.use({
    async publish(message, next) {
      order.push(`inner ${message.headers.trace}`)
      message.args = message.args.map((arg) => Number(arg) * 10)
      await next()
    },
  })
  const see = live.app.task('see', { bind: true }, (self, x: number) => [x, self.request.headers])
  await live.work()
  expect(await see.delay(1).get({ timeout: 30 })).toEqual([10, { trace: 'abc' }])
  expect(order).toEqual(['outer see', 'inner abc', 'outer done'])
})

test("publish middleware cannot reach the caller's own arguments", async () => {
  await using live = new LiveApp()
  live.app.use({
    publish(message, next) {
      message.args.push('more')
      message.kwargs.k = 1
      return next()
    },
  })
  const see = live.app.task('see', { params: ['a', 'b', 'k'] }, (...args: unknown[]) => args)
  await live.work()
  const given = [1]
  expect(await see.applyAsync(given).get({ timeout: 30 })).toEqual([1, 'more', 1])
  expect(given).toEqual([1])
})

test('what a publish middleware throws is what the call throws, and nothing is sent', async () => {
  await using live = new LiveApp()
  live.app.use({
    async publish() {
      throw new Error('quota')
    },
  })
  await expect(live.app.sendTask('one')).rejects.toThrow('quota')
  expect(await live.app.control.purge()).toBe(0)
})

test('a middleware that calls next and does not wait is waited for: the call is over when its message is sent, the run when its function has ended', async () => {
  await using live = new LiveApp()
  let runs = 0
  live.app.use({
    // As JavaScript lets one write it.
    publish: ((_: unknown, next: () => Promise<void>) => void next()) as never,
    execute: ((_: unknown, next: () => Promise<unknown>) => void next()) as never,
  })
  const one = live.app.task('one', async () => {
    await new Promise((resolve) => setImmediate(resolve))
    runs++
  })
  await live.work()
  expect(await one.delay().get({ timeout: 20 })).toBeNull()
  expect(runs).toBe(1)
})

test('a publish middleware that does not call next is an error, as one that calls it twice', async () => {
  await using live = new LiveApp()
  let calls = 0
  live.app.use({
    async publish(_, next) {
      for (let i = 0; i < calls; i++) await next()
    },
  })
  await expect(live.app.sendTask('one')).rejects.toThrow(/it must call next\(\) or throw/)
  calls = 2
  await expect(live.app.sendTask('one')).rejects.toMatchObject({ code: 'ERR_MIDDLEWARE' })
  expect(await live.app.control.purge()).toBe(1)
})

test('execute middleware sees the context, may change the result, and runs in order', async () => {
  await using live = new LiveApp()
  const order: string[] = []
  const layer = (name: string) => ({
    async execute(self: { request: { id: string } }, next: () => Promise<unknown>) {
      order.push(`${name} ${self.request.id}`)
      const value = await next()
      order.push(`${name} ${value}`)
      return `${name}(${value})`
    },
  })
  live.app.use(layer('outer')).use(layer('inner'))
  const one = live.app.task('one', () => 'x')
  await live.work()
  expect(await one.applyAsync([], { taskId: 'i' }).get({ timeout: 30 })).toBe('outer(inner(x))')
  expect(order).toEqual(['outer i', 'inner i', 'inner x', 'outer inner(x)'])
})

test('execute middleware sees what the task throws, and what it throws itself fails the task', async () => {
  await using live = new LiveApp()
  const seen: unknown[] = []
  live.app.use({
    async execute(_, next) {
      try {
        return await next()
      } catch (error) {
        seen.push((error as Error).message)
        throw new Error('wrapped', { cause: error })
      }
    },
  })
  const fail = live.app.task('fail', () => {
    throw new Error('inner')
  })
  const again = live.app.task('again', { bind: true }, (self) => (self.request.retries === 0 ? self.retry({ countdown: 0 }) : 1))
  await live.work()
  await expect(fail.delay().get({ timeout: 30 })).rejects.toThrow('wrapped')
  expect(seen).toEqual(['inner'])
  await expect(again.delay().get({ timeout: 30 })).rejects.toThrow('wrapped')
})

test('execute middleware may answer for the task, and may not run it twice', async () => {
  await using live = new LiveApp()
  let runs = 0
  let calls = 0
  live.app.use({
    async execute(_, next) {
      for (let i = 0; i < calls; i++) await next()
      return 'cached'
    },
  })
  const one = live.app.task('one', () => ++runs)
  await live.work()
  expect(await one.delay().get({ timeout: 30 })).toBe('cached')
  calls = 2
  await expect(one.delay().get({ timeout: 30 })).rejects.toMatchObject({ excType: 'MiddlewareError' })
  expect(runs).toBe(1)
})

test('an execute middleware that throws at once fails the task', async () => {
  await using live = new LiveApp()
  live.app.use({
    execute() {
      throw new Error('not even a promise')
    },
  })
  const one = live.app.task('one', () => 1)
  await live.work()
  await expect(one.delay().get({ timeout: 30 })).rejects.toThrow('not even a promise')
})

test('log lines of a task carry its name and id, whatever it logs', async () => {
  await using live = new LiveApp()
  const cyclic: Record<string, unknown> = {}
  cyclic.self = cyclic
  const talk = live.app.task('talk', { bind: true }, (self) => {
    self.log.info('plain')
    self.log.warn({ n: 1n })
    self.log.error(cyclic, 'a cycle')
    self.log.debug(cyclic)
    self.log.info(new Error('an error'))
    return 1
  })
  await live.work()
  expect(await talk.applyAsync([], { taskId: 't' }).get({ timeout: 30 })).toBe(1)
  const lines = live.said('talk[t]: ')
  expect(lines).toHaveLength(5)
  expect(lines[0]).toMatchObject({ level: 'info', text: 'talk[t]: plain', fields: { task: 'talk', task_id: 't' } })
  expect(lines[2]?.text).toBe('talk[t]: a cycle')
})

test('signals of heartbeats, of a beat, and of what comes after a run and cannot be done', async () => {
  const full = { name: 'full', arguments: { 'x-max-length': 0, 'x-overflow': 'reject-publish' } }
  await using live = new LiveApp({ workerHeartbeatInterval: '50ms', taskPublishRetry: false, taskQueues: [{ name: 'celery' }, full] })
  const seen = recorded(live, ['heartbeatSent', 'beatInit', 'taskInternalError'])
  const add = live.app.task('add', (x: number, y: number) => x + y)
  const beat = await live.app.beat().start()
  await live.work({ hostname: 'w@h', queues: ['celery'] })
  await add.applyAsync([1, 2], { taskId: 'a', link: add.s(3).set({ queue: 'full' }) })
  const told = await until(() => {
    const found = new Map(seen)
    return found.size === 3 && found
  })
  expect(told.get('beatInit')).toEqual({ name: expect.any(String) })
  expect(told.get('heartbeatSent')).toEqual({ hostname: 'w@h' })
  expect(told.get('taskInternalError')).toMatchObject({
    task: 'add',
    id: 'a',
    error: { code: 'ERR_BROKER_FULL' },
    request: { queue: 'celery' },
  })
  await beat.stop()
})
