import { AsyncLocalStorage } from 'node:async_hooks'
import type { AsyncResult } from '../canvas/handles.js'
import type { Plan } from '../canvas/plan.js'
import type { ApplyOptions, Sig } from '../canvas/sig.js'
import { Ignore, NoCurrentTaskError, Reject } from '../errors.js'
import type { Duration } from '../internal/duration.js'
import type { Logger } from '../internal/logger.js'
import type { ResultTuple } from '../protocol/result.js'

/** What a task is told of the message that it runs. */
export interface RequestInfo {
  readonly id: string
  readonly rootId: string
  readonly parentId: string | null
  /** Retries made before this run. */
  readonly retries: number
  /** Null: without end. */
  readonly maxRetries: number | null
  readonly queue: string
  /** The broker has given this message out before: a run of it may have begun elsewhere. */
  readonly redelivered: boolean
  /** The custom headers of the call. */
  readonly headers: Readonly<Record<string, unknown>>
  /** When the soft (or else hard) time limit ends this run; null without one. */
  readonly deadline: Date | null
  /** The group that the task is a member of. */
  readonly group: string | null
  /** Its place among the members. */
  readonly groupIndex: number | null
  /** How often the task under this id was replaced before. */
  readonly replacedTaskNesting: number
  /** What its sender stamped it with, by name. */
  readonly stamps: Readonly<Record<string, unknown>>
  /** The node name of the worker, as `celery@host`. */
  readonly worker: string
}

/** Options of `self.retry()`; what is not given stays as it was. */
export type RetryOptions = {
  /** Wait before the next run. Default: the task's `retryBackoff`, else its `defaultRetryDelay`. */
  countdown?: Duration
  eta?: Date
  /** Null: without end. Default: the task's `maxRetries`. */
  maxRetries?: number | null
  /** Why: stored with the RETRY state, and thrown when there are no retries left. */
  cause?: unknown
  args?: unknown[]
  kwargs?: Record<string, unknown>
} & Pick<ApplyOptions, 'queue' | 'priority' | 'expires' | 'headers' | 'timeLimit' | 'softTimeLimit'>

/** Celery's `self`: the running task, its message and what it may ask for. */
export interface TaskContext<R = unknown> {
  readonly request: RequestInfo
  /** Aborts with a typed reason: SoftTimeLimitExceeded | TaskRevoked | WorkerShutdown | LockLost. */
  readonly signal: AbortSignal
  /** Lines that carry the task's name and id. */
  readonly log: Logger
  /** Stores PROGRESS with `{ current: done, total, ...meta }`. */
  progress(done: number, total?: number, meta?: Record<string, unknown>): Promise<void>
  /** Stores a state of the task's own. Rejects for SUCCESS, FAILURE, REVOKED, RETRY and PENDING, and for a meta that is not data. */
  updateState(state: string, meta?: Record<string, unknown>): Promise<void>
  /** Runs the task again later, with the same id. Throws: a call that forgets `return` or `throw` still works. */
  retry(options?: RetryOptions): never
  /** Hand the work (and the result) on to another signature. */
  replace(next: Sig<never, R, true>): never
  /** Adds a task to the chord this task is a header member of. */
  addToChord(next: Sig<never, unknown, true>): Promise<AsyncResult<unknown>>
  /** Ends the run: the message is acked, nothing is stored. */
  ignore(): never
  /** Ends the run: the message goes back to its queue, or to the dead letters. */
  reject(options?: { requeue?: boolean }): never
}

/** The part of a running task that senders look at: what it sends becomes its child. */
export interface RunningTask {
  readonly context: TaskContext
  readonly priority: number | undefined
  addChild(child: ResultTuple): void
  /** Undefined: at the broker. */
  readonly starts?: TaskStarts | undefined
}

/** Where a running task starts workflows, when it does not do so at the broker. */
export interface TaskStarts {
  start(plan: Plan): Promise<void>
  grow(groupId: string, taskIds: readonly string[]): Promise<void>
}

const running = new AsyncLocalStorage<RunningTask>()

/** Runs `body` as part of a task: `currentTask()` inside it, at any depth, gives this one. */
export function asRunningTask<T>(task: RunningTask, body: () => T): T {
  return running.run(task, body)
}

/** Runs `body` as part of no task: what a worker does between tasks may have been set off by what one of them sent. */
export function outsideTasks<T>(body: () => T): T {
  // AsyncLocalStorage has no other way that is not experimental to leave.
  return running.run(undefined as unknown as RunningTask, body)
}

export function runningTask(): RunningTask | undefined {
  return running.getStore()
}

/** The running task, from AsyncLocalStorage: for code that is not passed the context. Throws NoCurrentTaskError outside of one. */
export function currentTask(): TaskContext
export function currentTask(options: { optional: true }): TaskContext | undefined
export function currentTask(options: { optional?: boolean } = {}): TaskContext | undefined {
  const task = running.getStore()
  if (task === undefined && options.optional !== true) throw new NoCurrentTaskError()
  return task?.context
}

/** The calls that end a run the same way for every task. */
export const endings = {
  ignore(): never {
    throw new Ignore('the task asked to be ignored')
  },
  reject({ requeue = false }: { requeue?: boolean } = {}): never {
    throw new Reject('rejected by the task', requeue)
  },
}
