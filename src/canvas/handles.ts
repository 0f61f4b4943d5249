import type { Duration } from '../internal/duration.js'
import type { ResultTuple, State } from '../protocol/result.js'

export interface GetOptions {
  /** How long to wait; TimeoutError after it. Default: for ever. */
  timeout?: Duration
  signal?: AbortSignal
  /** False: a failed task gives its error as the value instead of throwing it. Default: true. */
  propagate?: boolean
  /** Allows the call inside a task. Only safe when the awaited task runs on other workers. Default: false. */
  allowInsideTask?: boolean
}

/** What is stored of a task beside its result. */
export interface ResultDetails {
  readonly state: State
  /** When it ended; null before. */
  readonly doneAt: Date | null
  /** From here on with `resultExtended`: the task's name. */
  readonly name?: string
  /** What it was called with; text where the values could not be read. */
  readonly args?: unknown
  readonly kwargs?: unknown
  /** The node name of its worker. */
  readonly worker?: string
  readonly queue?: string
  readonly retries?: number
  readonly stamps?: Readonly<Record<string, unknown>>
}

/** A handle of one task's result. Never a thenable: `await task.delay()` waits for the broker, not for the task. */
export interface AsyncResult<R> {
  readonly id: string
  /** The step before it in a chain, the header of a chord; null where the handle does not know of one. */
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
  /** When it ended and, with `resultExtended`, what it was called with and where it ran. Null while nothing is stored, and for groups. */
  details(): Promise<ResultDetails | null>
  /** Handles of the tasks that this one sent: from inside, by links, or as the next step of its chain. Of a group: its members. */
  children(): Promise<AsyncResult<unknown>[]>
  /** This result and all that came of it, each once it has ended: children after their parents, those of one level in their order. Throws what a failed one threw. */
  collect(options?: GetOptions): AsyncIterable<readonly [AsyncResult<unknown>, unknown]>
  /** The handle as data, with its parents: `[[id, parent], members]`. `app.resultFromTuple` makes it a handle again, Celery's `result_from_tuple` too. */
  asTuple(): ResultTuple
  /** False: neither broker nor backend knows the id. Undefined: they cannot tell it from a task that waits. */
  exists(): Promise<boolean | undefined>
  /** A waiting task will not start; with `terminate`, a running one is stopped too (its process gets `signal`, default SIGTERM). */
  revoke(options?: { terminate?: boolean; signal?: NodeJS.Signals }): Promise<void>
  /** Removes the stored result. */
  forget(): Promise<void>
  /** Every state change and progress report until the task ends; quick ones may be merged. */
  events(options?: { signal?: AbortSignal }): AsyncIterable<{ state: string; meta: unknown }>
}

/** A member of a group that has ended. */
export interface EndedMember {
  /** Its place in the group. */
  readonly index: number
  readonly result: AsyncResult<unknown>
}

/** A handle of a group: its result is the list of its members' results. */
export interface GroupResult<R> extends AsyncResult<R>, AsyncIterable<EndedMember> {
  /** In their order; a member that is a group itself is a GroupResult. */
  readonly results: readonly AsyncResult<unknown>[]
  /** Some member has not ended yet. */
  waiting(): Promise<boolean>
  /** Members that have succeeded. */
  completedCount(): Promise<number>
  /** Celery's word for `get()`. */
  join(options?: GetOptions): Promise<R>
  /** The members as they end. */
  iterate(options?: { signal?: AbortSignal; timeout?: Duration }): AsyncIterable<EndedMember>
  /** Keeps which members there are in the result backend, for `app.restoreGroup(id)`. Kept as long as results are. */
  save(): Promise<void>
}

/** What sending a group gives: await it for the broker's confirms; the id is known at once. */
export interface EnqueuedGroup<R> extends Promise<GroupResult<R>> {
  readonly id: string
  get(options?: GetOptions): Promise<R>
}

/** What delay() gives: await it for the broker's confirm; the id is known at once. */
export interface Enqueued<R> extends Promise<AsyncResult<R>> {
  readonly id: string
  get(options?: GetOptions): Promise<R>
}
