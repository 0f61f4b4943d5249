import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Enqueued } from '../canvas/handles.js'
import type { ApplyOptions, Sig } from '../canvas/sig.js'
import type { Duration } from '../internal/duration.js'
import type { TaskContext } from './context.js'
import type { ConcurrencyOption, RateLimitOption } from './limit-options.js'

type Head<A extends readonly unknown[]> = A extends readonly [(infer H)?, ...unknown[]] ? H : A extends readonly (infer E)[] ? E : never
type Tail<A extends readonly unknown[]> = A extends readonly [] ? never : A extends readonly [unknown?, ...infer T] ? T : A

/** A task with positional arguments. Kw: the same parameters by name, for callers that use keywords. */
export interface Task<A extends unknown[], R, Kw = never> {
  /** A plain local call, as in Celery: no broker, no worker. */
  (...args: A): Promise<R>
  readonly name: string
  /** Sends the task. Await it for the broker's confirm. */
  delay(...args: A): Enqueued<R>
  /** Sends the task with options, its arguments by position or by name. */
  applyAsync(args: A | Kw, options?: ApplyOptions): Enqueued<R>
  applyAsync(call: { args: unknown[]; kwargs: Record<string, unknown> }, options?: ApplyOptions): Enqueued<R>
  /** Mutable: the parent's result is put before these arguments. */
  s<const P extends A | Tail<A>>(...args: P): Sig<P extends Tail<A> ? Head<A> : never, R, P extends A ? true : false>
  /** Immutable: ignores the parent's result. */
  si(...args: A): Sig<unknown, R, true>
  /** The same task with these options under those of each call. */
  with(options: ApplyOptions): Task<A, R, Kw>
  /** One message that calls the task for each list of arguments, one after the other. */
  starmap(items: Iterable<A>): Sig<never, R[], true>
  /** As starmap, in parts of `size`, one message each. */
  chunks(items: Iterable<A>, size: number): Sig<never, R[][], true>
  /** As starmap, for tasks of one argument. */
  map(items: Iterable<Head<A>>): Sig<never, R[], true>
}

/** A task that takes one object: on the wire its fields are Celery's kwargs. First: the field a chain fills. */
export interface NamedTask<In, R, First extends keyof In = never> {
  (input: In): Promise<R>
  readonly name: string
  delay(input: In): Enqueued<R>
  applyAsync(input: In, options?: ApplyOptions): Enqueued<R>
  s<const P extends Partial<In>>(partial: P): Sig<First extends keyof P ? never : In[First], R, P extends In ? true : false>
  si(input: In): Sig<unknown, R, true>
  with(options: ApplyOptions): NamedTask<In, R, First>
}

/** The task's name as a literal type, so that a type-only import can be keyed by it. */
export interface Called<N extends string> {
  readonly name: N
}

/** A class of errors; abstract ones too. */
export type ErrorClass = abstract new (...args: never[]) => Error

/** Options of a task: defaults for its calls, and how it runs. Each falls back to the config option of the same meaning. */
export interface TaskOptions {
  queue?: string
  routingKey?: string
  priority?: number
  serializer?: ApplyOptions['serializer']
  compression?: ApplyOptions['compression']
  expires?: Duration
  /** Retries before the task fails; null: without end. Default 3. */
  maxRetries?: number | null
  /** Wait before a retry that says nothing else. Default 180. */
  defaultRetryDelay?: Duration
  /** Errors that are retried without asking: classes, or a function that decides. */
  autoretryFor?: ErrorClass[] | ((error: unknown, ctx: TaskContext) => boolean)
  /** Exceptions from `autoretryFor`. */
  dontAutoretryFor?: ErrorClass[]
  /** Exponential wait: true starts at 1 s and doubles; a duration is the first step; a function gives each wait. */
  retryBackoff?: boolean | Duration | ((retries: number, error: unknown) => Duration)
  /** The longest wait of the backoff. Default 600. */
  retryBackoffMax?: Duration
  /** A random part of the backoff's wait instead of all of it. Default true. */
  retryJitter?: boolean
  /** So many starts in a time, on each worker; with `scope: 'cluster'` of all together, and with a `key` for each of its values: `'{userId}'`, `'{0}'`. */
  rateLimit?: RateLimitOption
  timeLimit?: Duration
  softTimeLimit?: Duration
  acksLate?: boolean
  /** Failures and time limits are acked too. False: a failed task's message goes to the dead letters. */
  acksOnFailureOrTimeout?: boolean
  rejectOnWorkerLost?: boolean
  trackStarted?: boolean
  ignoreResult?: boolean
  /** False: monitors are told nothing of this task. Default true. */
  sendEvents?: boolean
  storeErrorsEvenIfIgnored?: boolean
  /** Errors that are part of the task's work: stored as FAILURE, logged without a stack. */
  throws?: ErrorClass[]
  /** Overrides the worker's pool for this task: CPU-heavy tasks go to a thread or a process. A worker makes the pools that its tasks name when it starts. */
  pool?: 'async' | 'threads' | 'prefork'
  /** So many at the same time, of all workers together; with `scope: 'worker'` on each. */
  concurrency?: ConcurrencyOption
  description?: string
}

/** A registered task as the app keeps it. */
export interface TaskDefinition {
  readonly name: string
  readonly options: TaskOptions
  /** Names of the positional parameters; for a task of one object, the fields that positional values fill. */
  readonly params: readonly string[]
  readonly kwargsSchema: StandardSchemaV1<unknown, unknown> | undefined
  readonly argsSchema: StandardSchemaV1<unknown, unknown> | undefined
  /** The context comes first. */
  readonly bound: boolean
  /** Its function gets the call as it is, `(args, kwargs)`: it has no parameters of its own. Celery's own tasks are so. */
  readonly takesCall?: boolean
  /** With a kwargs schema the context comes second. */
  readonly run: (...args: never[]) => unknown
}

/** Calls the function of a task: `args` were made by `boundArguments`. */
export function callFunction(task: TaskDefinition, args: readonly unknown[], context: unknown): unknown {
  // The function's parameters were checked where the task was defined; here they are only a list.
  const run = task.run as (...args: unknown[]) => unknown
  if (task.kwargsSchema !== undefined) return run(args[0], context)
  return task.bound ? run(context, ...args) : run(...args)
}
