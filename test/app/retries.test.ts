import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { retryDelayMs } from '../../dist/app/retries.js'
import { defineTask } from '../../dist/app/task-object.js'
import { Ignore, MaxRetriesExceededError, Reject, type TaskContext, TaskFailure, type TaskOptions } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

const task = (options: TaskOptions) => defineTask('t', options, () => 1)
const delays = (options: TaskOptions, count: number, random = () => 0): number[] =>
  Array.from({ length: count }, (_, retries) => retryDelayMs(task(options), retries, new Error('x'), random) / 1000)

test('backoff doubles from its first step up to its longest wait', () => {
  expect(delays({ retryBackoff: 2, retryJitter: false }, 10)).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 512, 600])
  expect(delays({ retryBackoff: true, retryJitter: false }, 4)).toEqual([1, 2, 4, 8])
  expect(delays({ retryBackoff: '3s', retryBackoffMax: '10s', retryJitter: false }, 4)).toEqual([3, 6, 10, 10])
  expect(delays({ retryBackoff: '200ms', retryJitter: false }, 4)).toEqual([0.2, 0.4, 0.8, 1.6])
  expect(() => task({ retryBackoff: 0 })).toThrow('expected retryBackoff of task t to be true, false or a duration above 0, got: 0')
})

test('without backoff every wait is defaultRetryDelay, which is 180 s', () => {
  expect(delays({}, 3)).toEqual([180, 180, 180])
  expect(delays({ defaultRetryDelay: '5s', retryBackoff: false }, 2)).toEqual([5, 5])
})

test('an own function decides each wait', () => {
  expect(delays({ retryBackoff: (retries, error) => (error instanceof Error ? retries * 10 : 0) }, 3)).toEqual([0, 10, 20])
})

test('jitter takes any whole number of seconds up to the backoff, and never more', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2000 }),
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 10_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (retries, first, max, random) => {
        const seconds = retryDelayMs(task({ retryBackoff: first, retryBackoffMax: max }), retries, undefined, () => random) / 1000
        const whole = Math.min(max, first * 2 ** retries)
        expect(Number.isInteger(seconds)).toBe(true)
        expect(seconds).toBeGreaterThanOrEqual(0)
        expect(seconds).toBeLessThanOrEqual(whole)
      },
    ),
  )
  expect(delays({ retryBackoff: 4 }, 1, () => 0.999_999)).toEqual([4])
  expect(delays({ retryBackoff: 1.5 }, 2, () => 0.999_999)).toEqual([1, 3])
  expect(delays({ retryBackoff: '200ms' }, 2, () => 0.5)).toEqual([0.1, 0.2])
})

// ── on a worker ──────────────────────────────────────────────────────────────

test('self.retry() runs the task again with the same id, and nothing after it runs', async () => {
  await using live = new LiveApp()
  const after: string[] = []
  const flaky = live.app.task('flaky', { bind: true }, (self, x: number) => {
    if (self.request.retries < 2) {
      self.retry({ countdown: '5ms' })
      after.push('never')
    }
    return [x, self.request.retries, self.request.id]
  })
  await live.work()
  expect(await flaky.applyAsync([7], { taskId: 'f' }).get({ timeout: 30 })).toEqual([7, 2, 'f'])
  expect(after).toEqual([])
  expect(live.said(/retry: Retry in 0\.0s/)).toHaveLength(2)
})

test('self.retry() takes arguments, keywords, queue, priority, headers, limits and expiry', async () => {
  await using live = new LiveApp()
  const seen: unknown[] = []
  const task = live.app.task('t', { bind: true, params: ['x', 'y'] }, (self, x: number, y?: number) => {
    const { queue, headers, deadline } = self.request
    seen.push([x, y, queue, headers, deadline !== null])
    if (self.request.retries === 0)
      self.retry({
        countdown: 0,
        args: [x + 1],
        kwargs: { y: 5 },
        queue: 'second',
        priority: 9,
        headers: { again: true },
        timeLimit: 60,
        softTimeLimit: 30,
        expires: 60,
      })
    return 'ok'
  })
  await live.work({ queues: ['celery'] })
  const sent = await task.applyAsync([1], { headers: { first: 1 } })
  await until(() => live.said('retry: Retry').length === 1)
  await live.work({ queues: ['second'] })
  expect(await sent.get({ timeout: 30 })).toBe('ok')
  expect(seen).toEqual([
    [1, undefined, 'celery', { first: 1 }, false],
    [2, 5, 'second', { first: 1, again: true }, true],
  ])
})

test('a retry with an eta waits for it, and RETRY with its cause is seen meanwhile', async () => {
  await using live = new LiveApp()
  const task = live.app.task('t', { bind: true }, (self) =>
    self.retry({ eta: new Date(Date.now() + 60_000), cause: new RangeError('busy') }),
  )
  await live.work()
  const sent = await task.delay()
  await until(async () => (await sent.state()) === 'RETRY')
  expect(await sent.info()).toMatchObject({ excType: 'ValueError', message: 'busy' })
  expect([await sent.ready(), await sent.exists()]).toEqual([false, true])
  await sent.revoke()
  await expect(sent.get({ timeout: 30 })).rejects.toMatchObject({ reason: 'revoked' })
})

test('a retry that expires is revoked', async () => {
  await using live = new LiveApp()
  const task = live.app.task('t', { bind: true }, (self) => self.retry({ countdown: '30ms', expires: '5ms' }))
  await live.work()
  await expect(task.delay().get({ timeout: 30 })).rejects.toMatchObject({ reason: 'expired' })
})

test.each(['msgpack', 'yaml'])('changed arguments of a %s message stay in its format', async (serializer) => {
  await using live = new LiveApp({ acceptContent: [serializer], taskSerializer: serializer })
  const task = live.app.task('t', { bind: true }, (self, n: number) => (n < 3 ? self.retry({ countdown: 0, args: [n + 1] }) : n))
  await live.work()
  expect(await task.delay(1).get({ timeout: 30 })).toBe(3)
})

test('changed arguments of a compressed message arrive', async () => {
  await using live = new LiveApp({ taskCompression: 'gzip' })
  const task = live.app.task('t', { bind: true }, (self, n: number) => (n < 3 ? self.retry({ countdown: 0, args: [n + 1] }) : n))
  await live.work()
  expect(await task.delay(1).get({ timeout: 30 })).toBe(3)
})

test.each<[string, Parameters<TaskContext['retry']>[0], RegExp]>([
  ['arguments that cannot be written', { args: [() => 1] }, /^args\[0\] /],
  ['a header of the protocol', { headers: { id: 'x' } }, /headers\.id/],
  ['a header that is not data', { headers: { fn: () => 1 } }, /headers\.fn/],
  ['a wrong priority', { priority: 999 }, /priority/],
  ['a wrong queue', { queue: 'a\n' }, /queue/],
  ['a wrong countdown', { countdown: 'soon' as never }, /countdown/],
  ['a wrong eta', { eta: new Date(Number.NaN) }, /eta/],
  ['a soft limit over the hard one', { timeLimit: 1, softTimeLimit: 2 }, /softTimeLimit/],
])('a retry with %s fails the task, once', async (_, options, message) => {
  await using live = new LiveApp()
  let runs = 0
  const task = live.app.task('t', { bind: true }, (self) => {
    runs++
    self.retry(options)
  })
  await live.work()
  await expect(task.delay().get({ timeout: 30 })).rejects.toThrow(message)
  expect([runs, await live.app.control.purge()]).toEqual([1, 0])
})

test('a retry to a queue that may not be created fails the task', async () => {
  await using live = new LiveApp({ taskCreateMissingQueues: false })
  const task = live.app.task('t', { bind: true }, (self) => self.retry({ queue: 'typo' }))
  await live.work()
  await expect(task.delay().get({ timeout: 30 })).rejects.toThrow(/queue "typo" is not in taskQueues/)
})

test('a retry to a queue that does not exist yet creates it', async () => {
  await using live = new LiveApp()
  const task = live.app.task('t', { bind: true }, (self) =>
    self.request.retries === 0 ? self.retry({ countdown: 0, queue: 'new' }) : self.request.queue,
  )
  await live.work()
  const sent = await task.delay()
  await until(() => live.said('retry: Retry').length === 1)
  await live.work({ queues: ['new'] })
  expect(await sent.get({ timeout: 30 })).toBe('new')
})

test('too many retries: the cause is what get() throws, or MaxRetriesExceededError without one', async () => {
  await using live = new LiveApp()
  const with_ = live.app.task('with', { bind: true, maxRetries: 1 }, (self) => self.retry({ countdown: 0, cause: new RangeError('why') }))
  const without = live.app.task('without', { bind: true, maxRetries: 1 }, (self) => self.retry({ countdown: 0 }))
  await live.work()
  await expect(with_.delay().get({ timeout: 30 })).rejects.toMatchObject({ excType: 'ValueError', message: 'why' })
  const failure = await without
    .delay()
    .get({ timeout: 30 })
    .catch((error: unknown) => error)
  expect(failure).toMatchObject({
    excType: 'MaxRetriesExceededError',
    excModule: 'celery.exceptions',
    message: expect.stringContaining("Can't retry without["),
  })
  expect(new MaxRetriesExceededError('x').code).toBe('ERR_MAX_RETRIES')
})

test.each<[string, TaskOptions['maxRetries'] | 'default', number]>([
  ['3 by default', 'default', 4],
  ['0', 0, 1],
  ['5', 5, 6],
])('maxRetries %s', async (_, maxRetries, runs) => {
  await using live = new LiveApp()
  let count = 0
  const task = live.app.task(
    't',
    { autoretryFor: [Error], defaultRetryDelay: 0, ...(maxRetries === 'default' ? {} : { maxRetries }) },
    () => {
      count++
      throw new Error(`try ${count}`)
    },
  )
  await live.work()
  await expect(task.delay().get({ timeout: 30 })).rejects.toThrow(`try ${runs}`)
  expect(count).toBe(runs)
})

test('maxRetries null is without end, also when the call of retry() says so', async () => {
  await using live = new LiveApp()
  const forever = live.app.task('forever', { autoretryFor: [Error], maxRetries: null, defaultRetryDelay: 0, bind: true }, (self) => {
    if (self.request.retries < 20) throw new Error('again')
    return [self.request.retries, self.request.maxRetries]
  })
  const own = live.app.task('own', { bind: true, maxRetries: 0 }, (self) =>
    self.request.retries < 10 ? self.retry({ maxRetries: null, countdown: 0 }) : 10,
  )
  await live.work()
  expect(await forever.delay().get({ timeout: 30 })).toEqual([20, null])
  expect(await own.delay().get({ timeout: 30 })).toBe(10)
})

test.each<[string, TaskOptions, RegExp]>([
  [
    'autoretryFor gives a promise',
    { autoretryFor: (async () => false) as never },
    /^expected what autoretryFor gives to be true or false, and not a promise/,
  ],
  [
    'retryBackoff gives no duration',
    { autoretryFor: [Error], retryBackoff: (() => 'soon') as never },
    /^expected retryBackoff to be a number of seconds/,
  ],
])('where %s the task fails, once, with that and with what it threw', async (_, options, message) => {
  await using live = new LiveApp()
  let runs = 0
  const task = live.app.task('t', options, () => {
    runs++
    throw new RangeError('the reason')
  })
  await live.work()
  const failure = await task.delay().get({ timeout: 30, propagate: false })
  expect(failure).toMatchObject({ message: expect.stringMatching(message), traceback: expect.stringContaining('the reason') })
  expect(runs).toBe(1)
})

class Busy extends Error {}
class TooBusy extends Busy {}

test.each<[string, TaskOptions, Error, number]>([
  ['a class that is named', { autoretryFor: [Busy] }, new Busy('x'), 2],
  ['a class under it', { autoretryFor: [Busy] }, new TooBusy('x'), 2],
  ['another class', { autoretryFor: [Busy] }, new RangeError('x'), 1],
  ['an exception from it', { autoretryFor: [Busy], dontAutoretryFor: [TooBusy] }, new TooBusy('x'), 1],
  ['a function that says yes', { autoretryFor: (error, self) => error instanceof Busy && self.request.retries === 0 }, new Busy('x'), 2],
  ['a function that says no', { autoretryFor: () => false }, new Busy('x'), 1],
  [
    'a function that throws',
    {
      autoretryFor: () => {
        throw new Error('decider')
      },
    },
    new Busy('x'),
    1,
  ],
  ['Ignore', { autoretryFor: [Error] }, new Ignore('x'), 1],
  ['Reject', { autoretryFor: [Error] }, new Reject('x', false), 1],
])('autoretryFor: %s', async (_, options, error, runs) => {
  await using live = new LiveApp()
  let count = 0
  const task = live.app.task('t', { maxRetries: 1, defaultRetryDelay: 0, ...options }, () => {
    count++
    throw error
  })
  await live.work()
  await task.delay()
  await until(() => live.said(/raised|ignored|rejected/).length > 0)
  expect(count).toBe(runs)
})

test('arguments that do not fit, and results that cannot be written, are not retried', async () => {
  await using live = new LiveApp()
  let runs = 0
  const strict = live.app.task('strict', { args: z.tuple([z.number()]), autoretryFor: [Error], defaultRetryDelay: 0 }, () => {
    runs++
    return () => 1
  })
  await live.work()
  await expect(strict.delay(1).get({ timeout: 30 })).rejects.toThrow(/^result/)
  expect(runs).toBe(1)
})

// ── other endings ────────────────────────────────────────────────────────────

test.each(['self.ignore()', 'throw new Ignore()'])('%s: nothing is stored, the message is gone', async (how) => {
  await using live = new LiveApp()
  const task = live.app.task('t', { bind: true }, (self) => {
    if (how === 'self.ignore()') self.ignore()
    throw new Ignore('by class')
  })
  await live.work()
  const sent = await task.delay()
  await until(() => live.said('ignored').length === 1)
  expect([await sent.state(), await sent.exists(), await live.app.deadLetters.count()]).toEqual(['PENDING', false, 0])
})

test('self.reject(): the message is a dead letter with its reason', async () => {
  await using live = new LiveApp()
  const task = live.app.task('t', { bind: true }, (self) => self.reject())
  await live.work()
  await task.applyAsync([], { taskId: 'r' })
  const [letter] = await until(async () => {
    const letters = await live.app.deadLetters.list()
    return letters.length > 0 && letters
  })
  expect(letter).toMatchObject({ reason: 'rejected by the task', queue: 'celery', message: { headers: { id: 'r' } } })
})

test('self.reject({ requeue: true }): the message is delivered again', async () => {
  await using live = new LiveApp()
  const task = live.app.task('t', { bind: true }, (self) => (self.request.redelivered ? 'second' : self.reject({ requeue: true })))
  await live.work()
  expect(await task.delay().get({ timeout: 30 })).toBe('second')
})

test('errors in throws are expected: FAILURE, but a quiet line without a stack', async () => {
  await using live = new LiveApp()
  const task = live.app.task('t', { throws: [Busy] }, () => {
    throw new Busy('as usual')
  })
  await live.work()
  await expect(task.delay().get({ timeout: 30 })).rejects.toBeInstanceOf(TaskFailure)
  const [line] = live.said('raised expected')
  expect(line?.level).toBe('info')
  expect(line?.text).not.toContain('\n')
  expect(live.lines.filter(({ level }) => level === 'error')).toEqual([])
})

test('an unexpected error is an error line with its stack', async () => {
  await using live = new LiveApp()
  const task = live.app.task('t', () => {
    throw new Error('surprise')
  })
  await live.work()
  await expect(task.delay().get({ timeout: 30 })).rejects.toThrow('surprise')
  expect(live.said('raised unexpected')).toMatchObject([{ level: 'error', text: expect.stringContaining('retries.test.ts') }])
})
