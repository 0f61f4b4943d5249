import { expect, test } from 'vitest'
import {
  Celeriac,
  ResultsDisabledError,
  SyncSubtaskError,
  type TaskContext,
  TaskFailure,
  TaskRevokedError,
  TimeoutError,
} from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

/** A task that waits until it is let go. */
function gated(live: LiveApp, name = 'gated') {
  const gates: (() => void)[] = []
  const task = live.app.task(name, { bind: true, trackStarted: true }, async (self: TaskContext, value: string) => {
    await new Promise<void>((resolve, reject) => {
      gates.push(resolve)
      self.signal.addEventListener('abort', () => reject(self.signal.reason), { once: true })
    })
    return value
  })
  return { task, gates }
}

test('await gives a handle, not the result; the id is known before', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  const sent = one.applyAsync([], { taskId: 'mine' })
  expect(sent.id).toBe('mine')
  const handle = await sent
  expect([handle.id, handle.parent, 'then' in handle]).toEqual(['mine', null, false])
  expect(await handle.state()).toBe('PENDING')
})

test('get() waits for the end, and any number of them', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work()
  const sent = await task.delay('x')
  const all = Promise.all([sent.get(), sent.get(), live.app.result(sent.id).get()])
  await until(() => gates.length === 1)
  gates[0]?.()
  expect(await all).toEqual(['x', 'x', 'x'])
  expect(await sent.get()).toBe('x')
})

test('get() ends after its timeout, with a TimeoutError that names the task', async () => {
  await using live = new LiveApp()
  const refused = live.app.result('nobody').get({ timeout: '10ms' })
  await expect(refused).rejects.toBeInstanceOf(TimeoutError)
  await expect(refused).rejects.toThrow('no result of task nobody within 0.01 s')
  await expect(live.app.result('nobody').get({ timeout: 'soon' as never })).rejects.toThrow(/expected timeout/)
})

test('get() ends when its signal aborts, with its reason', async () => {
  await using live = new LiveApp()
  const controller = new AbortController()
  const waiting = live.app.result('nobody').get({ signal: controller.signal })
  const reason = new Error('the user left')
  controller.abort(reason)
  await expect(waiting).rejects.toBe(reason)
  await expect(live.app.result('nobody').get({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
})

test('get() rejects with a TaskFailure that tells what the task threw', async () => {
  await using live = new LiveApp()
  class OutOfStock extends Error {
    override readonly name = 'OutOfStock'
  }
  const buy = live.app.task('buy', (what: string) => {
    throw new OutOfStock(`no ${what}`)
  })
  await live.work()
  const sent = await buy.applyAsync(['tea'], { taskId: 'b' })
  const failure = await sent.get({ timeout: 30 }).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(TaskFailure)
  expect(failure).toMatchObject({
    code: 'ERR_TASK_FAILURE',
    taskId: 'b',
    excType: 'OutOfStock',
    excModule: 'node',
    args: ['no tea'],
    message: 'no tea',
  })
  expect((failure as TaskFailure).traceback).toContain('OutOfStock: no tea')
  expect((failure as TaskFailure).traceback).toContain('async-result.test.ts')
  expect([await sent.state(), await sent.ready(), await sent.successful(), await sent.failed()]).toEqual(['FAILURE', true, false, true])
  expect(await sent.traceback()).toContain('OutOfStock: no tea')
  expect(await sent.info()).toMatchObject({ excType: 'OutOfStock' })
})

test('with propagate: false a failure is the value', async () => {
  await using live = new LiveApp()
  const fail = live.app.task('fail', () => {
    throw new Error('no')
  })
  await live.work()
  expect(await fail.delay().get({ timeout: 5, propagate: false })).toBeInstanceOf(TaskFailure)
})

test.each<[string, () => never, Partial<TaskFailure>]>([
  [
    'text',
    () => {
      throw 'plain text'
    },
    { args: ['plain text'] },
  ],
  [
    'nothing',
    () => {
      throw undefined
    },
    {},
  ],
  [
    'null',
    () => {
      throw null
    },
    {},
  ],
  [
    'an object',
    () => {
      throw { code: 5 }
    },
    {},
  ],
  [
    'an error whose message throws',
    () => {
      throw Object.defineProperty(new Error(), 'message', {
        get() {
          throw new Error('hostile')
        },
      })
    },
    {},
  ],
  [
    'a proxy that throws',
    () => {
      throw new Proxy(
        {},
        {
          get() {
            throw new Error('hostile')
          },
          getPrototypeOf() {
            throw new Error('hostile')
          },
        },
      )
    },
    {},
  ],
])('a task that throws %s fails, and its caller is told', async (_, body, expected) => {
  await using live = new LiveApp()
  const fail = live.app.task('fail', body)
  await live.work()
  const failure = await fail
    .delay()
    .get({ timeout: 30 })
    .catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(TaskFailure)
  expect(failure).toMatchObject(expected)
})

test('get() inside a task is refused, and says what to do instead', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  const outer = live.app.task('outer', async () => one.delay().get())
  const allowed = live.app.task('allowed', async () => one.delay().get({ allowInsideTask: true, timeout: 5 }))
  await live.work()
  const failure = await outer
    .delay()
    .get({ timeout: 30 })
    .catch((error: unknown) => error as TaskFailure)
  expect(failure).toMatchObject({ excType: new SyncSubtaskError('x').name })
  expect((failure as TaskFailure).message).toMatch(/called inside a task.*Chain the second task with link or chain.*allowInsideTask: true/)
  expect(await allowed.delay().get({ timeout: 30 })).toBe(1)
})

test('what a worker does between tasks is not inside one, whoever set it off', async () => {
  await using live = new LiveApp()
  const seen: unknown[] = []
  const child = live.app.task('child', () => 1)
  const parent = live.app.task('parent', async () => (await child.applyAsync([], { taskId: 'child' })).id)
  live.app.on('taskReceived', async ({ task }) => {
    if (task === 'child') seen.push(await live.app.result('child').get({ timeout: 30 }))
  })
  await live.work()
  await parent.delay()
  await until(() => seen.length > 0)
  expect(seen).toEqual([1])
})

test('a finished task: state, ready, info, children', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => ({ a: 1 }))
  await live.work()
  const sent = await one.delay()
  expect([await sent.state(), await sent.ready(), await sent.info(), await sent.traceback(), await sent.children()]).toEqual([
    'PENDING',
    false,
    null,
    null,
    [],
  ])
  await sent.get({ timeout: 30 })
  expect([await sent.state(), await sent.ready(), await sent.successful(), await sent.failed()]).toEqual(['SUCCESS', true, true, false])
  expect([await sent.info(), await sent.traceback(), await sent.children()]).toEqual([{ a: 1 }, null, []])
})

test('events() tells of each state and report until the task ends', async () => {
  await using live = new LiveApp()
  let next: (() => void) | undefined
  const step = (): Promise<void> =>
    new Promise((resolve) => {
      next = resolve
    })
  const work = live.app.task('work', { bind: true, trackStarted: true }, async (self) => {
    await step()
    await self.progress(1, 2, { file: 'a' })
    await step()
    await self.updateState('UPLOADING', { percent: 50 })
    await step()
    return 'done'
  })
  const sent = await work.delay()
  const seen: { state: string; meta: unknown }[] = []
  const worker = live.work({ hostname: 'w@h' })
  for await (const event of sent.events()) {
    seen.push(event)
    next?.()
  }
  await worker
  expect(seen).toEqual([
    { state: 'STARTED', meta: { pid: process.pid, hostname: 'w@h' } },
    { state: 'PROGRESS', meta: { current: 1, total: 2, file: 'a' } },
    { state: 'UPLOADING', meta: { percent: 50 } },
    { state: 'SUCCESS', meta: 'done' },
  ])
})

test('events() may be left, and ends when its signal aborts', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work()
  const sent = await task.delay('x')
  for await (const event of sent.events()) {
    expect(event.state).toBe('STARTED')
    break
  }
  const controller = new AbortController()
  const watching = (async () => {
    for await (const _ of sent.events({ signal: controller.signal })) controller.abort(new Error('enough'))
  })()
  await expect(watching).rejects.toThrow('enough')
  gates[0]?.()
})

test.each(['SUCCESS', 'FAILURE', 'REVOKED', 'RETRY', 'PENDING', '', 'a\nb'])('a task may not store the state %j itself', async (state) => {
  await using live = new LiveApp()
  const cheat = live.app.task('cheat', { bind: true }, async (self) => {
    await self.updateState(state, {})
  })
  await live.work()
  await expect(cheat.delay().get({ timeout: 30 })).rejects.toThrow(/state/)
})

test('a report that is not data rejects at once, with its path', async () => {
  await using live = new LiveApp()
  const bad = live.app.task('bad', { bind: true }, async (self) => self.progress(1, 2, { deep: { fn: () => 1 } }))
  await live.work()
  await expect(bad.delay().get({ timeout: 2 })).rejects.toThrow(/meta\.deep\.fn/)
})

test('exists() tells an unknown id from one that waits, runs or has ended', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  const sent = await task.delay('x')
  expect(await live.app.result('never sent').exists()).toBe(false)
  expect(await sent.exists()).toBe(true)
  await live.work()
  await until(() => gates.length === 1)
  expect(await sent.exists()).toBe(true)
  gates[0]?.()
  await sent.get({ timeout: 30 })
  expect(await sent.exists()).toBe(true)
  await sent.forget()
  expect(await sent.exists()).toBe(false)
})

test('exists() knows of a task that waits for its eta', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await live.work()
  expect(await (await one.applyAsync([], { countdown: 100 })).exists()).toBe(true)
})

test('forget() removes the result', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await live.work()
  const sent = await one.delay()
  await sent.get({ timeout: 30 })
  await sent.forget()
  expect([await sent.state(), await sent.info()]).toEqual(['PENDING', null])
})

// ── revoke ───────────────────────────────────────────────────────────────────

test('a revoked task that waits does not run, on workers that start later either', async () => {
  await using live = new LiveApp()
  let ran = false
  const one = live.app.task('one', () => {
    ran = true
  })
  const sent = await one.delay()
  await sent.revoke()
  // Whoever waits is told now, not when a worker comes.
  await expect(sent.get({ timeout: 30 })).rejects.toMatchObject({ constructor: TaskRevokedError, taskId: sent.id, reason: 'revoked' })
  await live.work()
  await until(() => live.said('Discarding revoked task').length === 1)
  expect([ran, await sent.state(), await sent.ready(), await live.app.control.purge()]).toEqual([false, 'REVOKED', true, 0])
})

test('a revoked task that waits for its eta is told at once, and does not run', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await live.work()
  const sent = await one.applyAsync([], { countdown: 60 })
  await sent.revoke()
  await expect(sent.get({ timeout: 30 })).rejects.toBeInstanceOf(TaskRevokedError)
})

test('a revoked task that a worker holds, but has no place for, does not run', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work({ concurrency: 1 })
  const [first, second] = [await task.delay('1'), await task.delay('2')]
  await until(() => gates.length === 1 && live.said(`[${second.id}] received`).length === 1)
  await second.revoke()
  await expect(second.get({ timeout: 30 })).rejects.toMatchObject({ reason: 'revoked' })
  gates[0]?.()
  expect(await first.get({ timeout: 30 })).toBe('1')
  expect(gates).toHaveLength(1)
})

test('revoke() leaves a task alone that runs; with terminate its signal aborts, and it is revoked', async () => {
  await using live = new LiveApp()
  const { task, gates } = gated(live)
  await live.work()
  const [kept, cut] = [await task.delay('kept'), await task.delay('cut')]
  await until(() => gates.length === 2)
  await kept.revoke()
  await cut.revoke({ terminate: true })
  await expect(cut.get({ timeout: 30 })).rejects.toMatchObject({ constructor: TaskRevokedError, reason: 'terminated' })
  gates[0]?.()
  expect(await kept.get({ timeout: 30 })).toBe('kept')
})

test('a task that is terminated is not retried by itself', async () => {
  await using live = new LiveApp()
  let runs = 0
  const task = live.app.task('stubborn', { bind: true, autoretryFor: [Error], defaultRetryDelay: 0 }, async (self) => {
    runs++
    await new Promise((_, reject) => self.signal.addEventListener('abort', () => reject(self.signal.reason), { once: true }))
  })
  await live.work()
  const sent = await task.delay()
  await until(() => runs === 1)
  await sent.revoke({ terminate: true })
  await expect(sent.get({ timeout: 30 })).rejects.toBeInstanceOf(TaskRevokedError)
  expect(runs).toBe(1)
})

test('a task that heeds its termination by returning has succeeded', async () => {
  await using live = new LiveApp()
  const task = live.app.task('polite', { bind: true, trackStarted: true }, async (self) => {
    await new Promise((resolve) => self.signal.addEventListener('abort', resolve, { once: true }))
    return 'half'
  })
  await live.work()
  const sent = await task.delay()
  await until(async () => (await sent.state()) === 'STARTED')
  await live.app.control.revoke([sent.id], { terminate: true })
  expect(await sent.get({ timeout: 30 })).toBe('half')
})

test.each([
  ['the call', {}, { ignoreResult: true }],
  ['the task', { ignoreResult: true }, {}],
])('a result that nobody stores, because %s says so, is not waited for without an end', async (_, ofTask, ofCall) => {
  await using live = new LiveApp()
  const one = live.app.task('one', ofTask, () => 1)
  await live.work()
  const sent = await one.applyAsync([], ofCall)
  await expect(sent.get()).rejects.toMatchObject({ code: 'ERR_RESULT_IGNORED', taskId: sent.id })
  await expect(sent.events()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'ERR_RESULT_IGNORED' })
  await expect(sent.get({ timeout: '1ms' })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
  expect(await one.applyAsync([], { ignoreResult: false }).get()).toBe(1)
})

test('results that are off are refused with the reason', async () => {
  await using live = new LiveApp({ backend: 'disabled' })
  let ran = false
  const one = live.app.task('one', () => {
    ran = true
  })
  await live.work()
  const sent = await one.delay()
  for (const ask of [sent.get(), sent.state(), sent.ready(), sent.info(), sent.forget()])
    await expect(ask).rejects.toBeInstanceOf(ResultsDisabledError)
  await expect(sent.events()[Symbol.asyncIterator]().next()).rejects.toBeInstanceOf(ResultsDisabledError)
  await until(() => ran)
})

test('without results exists() knows what waits, and cannot tell the rest', async () => {
  await using live = new LiveApp({ backend: 'disabled' })
  const one = live.app.task('one', () => 1)
  expect(await (await one.delay()).exists()).toBe(true)
  expect(await live.app.result('never sent').exists()).toBeUndefined()
})

// ── promises that nobody takes ───────────────────────────────────────────────

test('a refused call whose get() alone is awaited is told once', async () => {
  const unhandled: unknown[] = []
  const listener = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', listener)
  try {
    await using live = new LiveApp()
    const one = live.app.task('one', (_x: unknown) => 1)
    await expect(one.delay(() => 1).get()).rejects.toThrow(/args\[0\]/)
    const mail = live.app.sendTask('one', {}, { priority: -1 })
    await expect(mail.get()).rejects.toThrow(/priority/)
    await new Promise((resolve) => setImmediate(resolve))
    expect(unhandled).toEqual([])
  } finally {
    process.off('unhandledRejection', listener)
  }
})

test('a result of another app, by its id alone', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => ({ a: [1] }))
  await live.work()
  const { id } = await one.delay()
  const [broker = ''] = Celeriac.internals(live.app).core.config.brokerUrl
  await using other = new Celeriac('other', { broker })
  expect(await other.result<{ a: number[] }>(id).get({ timeout: 30 })).toEqual({ a: [1] })
})
