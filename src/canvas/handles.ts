import type { Duration } from '../internal/duration.js'
import type { State } from '../protocol/result.js'

export interface GetOptions {
  /** How long to wait; TimeoutError after it. Default: for ever. */
  timeout?: Duration
  signal?: AbortSignal
  /** False: a failed task gives its error as the value instead of throwing it. Default: true. */
  propagate?: boolean
  /** Allows the call inside a task. Only safe when the awaited task runs on other workers. Default: false. */
  allowInsideTask?: boolean
}

/** A handle of one task's result. Never a thenable: `await task.delay()` waits for the broker, not for the task. */
export interface AsyncResult<R> {
  readonly id: string
  readonly parent: AsyncResult<unknown> | null
  /** Waits for the task to end and gives its value; throws TaskFailure, TaskRevokedError or TimeoutError. */
  get(options?: GetOptions): Promise<R>
  state(): Promise<State>
  /** True when the task has ended, well or not. */
  ready(): Promise<boolean>
  successful(): Promise<boolean>
  failed(): Promise<boolean>
  /** The value, the error, or what the task last reported with `updateState` and `progress`; null before any of it. */
  info(): Promise<unknown>
  /** The worker's traceback, when the task failed. */
  traceback(): Promise<string | null>
  /** Handles of the tasks that this one sent: from inside, or by links. */
  children(): Promise<AsyncResult<unknown>[]>
  /** False: neither broker nor backend knows the id. Undefined: they cannot tell it from a task that waits. */
  exists(): Promise<boolean | undefined>
  /** A waiting task will not start; with `terminate`, a running one is stopped too (its process gets `signal`, default SIGTERM). */
  revoke(options?: { terminate?: boolean; signal?: NodeJS.Signals }): Promise<void>
  /** Removes the stored result. */
  forget(): Promise<void>
  /** Every state change and progress report until the task ends; quick ones may be merged. */
  events(options?: { signal?: AbortSignal }): AsyncIterable<{ state: string; meta: unknown }>
}

/** What delay() gives: await it for the broker's confirm; the id is known at once. */
export interface Enqueued<R> extends Promise<AsyncResult<R>> {
  readonly id: string
  get(options?: GetOptions): Promise<R>
}
