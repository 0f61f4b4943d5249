/** `celeriac/testing`: run an app's tasks in a test, without broker, worker or waiting. */
import type { Celeriac } from '../app/app.js'
import type { RequestInfo } from '../app/context.js'
import type { NamedTask, Task } from '../app/task.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { OptionInvalidError } from '../errors.js'
import type { Duration } from '../internal/duration.js'
import { checkNames } from '../internal/known-names.js'

export interface DrainOptions {
  /** Only these queues. Default: all that something was sent to. */
  queues?: string[]
  /** Runs tasks with a countdown or eta too: the clock is moved to each of them. */
  withScheduled?: boolean
  /** Runs retries too: the clock is moved to each of them. */
  withRetries?: boolean
}

/** How runs ended: each run counts, so a task that succeeds at its second try is one retried and one succeeded. */
export interface DrainCounts {
  succeeded: number
  failed: number
  retried: number
}

/** An app under test: what it sends stays in memory, time stands still, and tasks run when the test says so. */
export interface TestApp extends AsyncDisposable {
  /** The calls of a task that were sent and have not run yet, in order. */
  // biome-ignore lint/suspicious/noExplicitAny: keyword names do not matter here
  enqueued<A extends unknown[], R>(task: Task<A, R, any>): { args: A; options: ApplyOptions }[]
  enqueued<In, R, First extends keyof In>(task: NamedTask<In, R, First>): { kwargs: In; options: ApplyOptions }[]
  /** Runs what is due until nothing is, with everything that those tasks send. */
  drain(options?: DrainOptions): Promise<DrainCounts>
  /** Moves the clock. Tasks that become due run with the next `drain()`. */
  advance(time: Duration): Promise<void>
  /** Runs one task as a worker would, gives its value or throws what it threw. `request` sets what the task sees of its message. */
  // biome-ignore lint/suspicious/noExplicitAny: keyword names do not matter here
  run<A extends unknown[], R>(task: Task<A, R, any>, args: A, request?: Partial<RequestInfo>): Promise<R>
  /** Gives the app its own clock and connections back: what `await using` does at the end of a test, for `afterEach`. Safe twice. */
  close(): Promise<void>
}

/**
 * Puts an app under test until the TestApp is disposed.
 * `manual` (the default): calls are kept until `drain()`. `eager`: each call runs at once, as with `taskAlwaysEager`.
 *
 * @example
 * await using t = await testApp(app)
 * await signUp('a@b.c')
 * expect(t.enqueued(sendEmail)).toHaveLength(1)
 * expect(await t.drain({ withRetries: true })).toEqual({ succeeded: 1, failed: 0, retried: 0 })
 */
export async function testApp(app: Celeriac, options: { mode?: 'manual' | 'eager' } = {}): Promise<TestApp> {
  checkNames(options, { mode: true })
  if (options.mode !== undefined && options.mode !== 'manual' && options.mode !== 'eager')
    throw new OptionInvalidError('mode', '"manual" or "eager"', options.mode)
  const { AppUnderTest } = await import('./app-under-test.js')
  return AppUnderTest.open(app, options)
}
