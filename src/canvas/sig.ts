import type { Duration } from '../internal/duration.js'
import type { Enqueued, EnqueuedGroup } from './handles.js'
import type { StampingVisitor, StampOptions } from './stamping.js'

/** How to publish again when the broker cannot be reached (Celery's retry policy). */
export interface PublishRetryPolicy {
  /** Default 3. */
  maxRetries?: number
  /** Wait before the first repetition. Default 0. */
  intervalStart?: Duration
  /** Added to the wait with each repetition. Default 0.2. */
  intervalStep?: Duration
  /** The longest wait. Default 1. */
  intervalMax?: Duration
}

// A link may take anything: what it gets is the result of the task it is linked to, which the types of `Sig.link` check.
// biome-ignore lint/suspicious/noExplicitAny: a callback accepts any parent result here
export type AnyLink = Sig<any, unknown, boolean>

/** Options of one call (Celery's apply_async). Each wins over the task's own options, and those over routes and config. */
export interface ApplyOptions {
  /** Default: a new UUID. */
  taskId?: string
  /** Run this much later. */
  countdown?: Duration
  /** Do not run before. Wins over `countdown`. */
  eta?: Date
  /** Do not start after: the task ends as REVOKED with reason `expired`. */
  expires?: Duration | Date
  queue?: string
  exchange?: string
  routingKey?: string
  priority?: number
  serializer?: 'json' | 'yaml' | 'msgpack' | (string & {})
  compression?: 'gzip' | 'zlib' | 'brotli' | 'zstd' | (string & {})
  /** What runs the task, a process or a thread, is killed after it. */
  timeLimit?: Duration
  /** `ctx.signal` aborts after it. */
  softTimeLimit?: Duration
  ignoreResult?: boolean
  /** Merged into the message headers; the task reads them in `request.headers`. */
  headers?: Record<string, unknown>
  /** A name to show in logs and monitors instead of the task's own. */
  shadow?: string
  /** Sent with the result when the task succeeds. */
  link?: AnyLink | AnyLink[]
  /** Sent with the task's id when it fails. */
  linkError?: AnyLink | AnyLink[]
  stamps?: Record<string, unknown>
  /** False: one try. Default: `taskPublishRetryPolicy`. */
  retry?: boolean | PublishRetryPolicy
  /** Ends the wait for the broker. */
  signal?: AbortSignal
  /** Enqueue inside the caller's own SQL transaction (PostgreSQL broker or outbox). */
  tx?: { query(text: string, values?: unknown[]): Promise<unknown> }
  /** celeriac's own: one live task for each key. */
  unique?: string | { key: string; ttl?: Duration; onConflict?: 'ignore' | 'replace' | 'debounce' | 'throttle' }
  /** celeriac's own: fair turns and limits for each key (a tenant, an account). */
  fairnessKey?: string
}

/**
 * A call as data: a task with arguments and options, to be sent now, later, or by another task.
 *
 * Prev – what it accepts from the step before it: `never` when its arguments are already full, `unknown` when it is immutable (si) and takes no notice.
 * R – what it returns. Ready – true when it can run with nothing before it.
 */
export interface Sig<in Prev, out R, out Ready extends boolean> {
  readonly '~prev': (prev: Prev) => void
  readonly '~result': R
  readonly '~ready': Ready
  readonly task: string
  /** A copy with these options over its own. Of a chain they are for its first task; of a group for each member; of a chord for header and body. */
  set(options: ApplyOptions): Sig<Prev, R, Ready>
  /** This one, then `next` with the result of this one. */
  pipe<R2>(next: Sig<R, R2, boolean>): Sig<Prev, R2, Ready>
  /** A copy. Signatures never change, so a copy is as good as the signature itself. */
  clone(): Sig<Prev, R, Ready>
  /**
   * A copy that sends `callback` with its result when it succeeds: the result of a chain's last task, or of a chord's body. A group has no result of its own before
   * something follows it: as in Celery its callback is sent when the first member has succeeded, and must be immutable.
   */
  link(callback: Sig<R, unknown, boolean>): Sig<Prev, R, Ready>
  /** A copy that sends `errback` with the failed task's id when it fails: each step of a chain, each member of a group, the body of a chord. */
  // biome-ignore lint/suspicious/noExplicitAny: an errback takes the failed task's id, whatever the task was
  linkError(errback: Sig<any, unknown, boolean>): Sig<Prev, R, Ready>
  /** The same as `linkError`, to be read in a chain. */
  // biome-ignore lint/suspicious/noExplicitAny: as linkError
  onError(errback: Sig<any, unknown, boolean>): Sig<Prev, R, Ready>
  /** A copy whose tasks, with those of its members and links, carry these stamps: `{ tenant: 'acme' }`, or what a visitor says of each of them. */
  stamp(stamps: Record<string, unknown> | StampingVisitor, options?: StampOptions): Sig<Prev, R, Ready>
  delay(this: Sig<never, R, true>): Enqueued<R>
  applyAsync(this: Sig<never, R, true>, options?: ApplyOptions): Enqueued<R>
  /** Celery's own form: `{task, args, kwargs, options, subtask_type, immutable}`. */
  toJSON(): unknown
}

/** A group: what sending it gives knows its members. */
export interface GroupSig<in Prev, out R, out Ready extends boolean> extends Sig<Prev, R, Ready> {
  set(options: ApplyOptions): GroupSig<Prev, R, Ready>
  clone(): GroupSig<Prev, R, Ready>
  link(callback: Sig<R, unknown, boolean>): GroupSig<Prev, R, Ready>
  // biome-ignore lint/suspicious/noExplicitAny: as in Sig
  linkError(errback: Sig<any, unknown, boolean>): GroupSig<Prev, R, Ready>
  // biome-ignore lint/suspicious/noExplicitAny: as in Sig
  onError(errback: Sig<any, unknown, boolean>): GroupSig<Prev, R, Ready>
  stamp(stamps: Record<string, unknown> | StampingVisitor, options?: StampOptions): GroupSig<Prev, R, Ready>
  delay(this: Sig<never, R, true>): EnqueuedGroup<R>
  applyAsync(this: Sig<never, R, true>, options?: ApplyOptions): EnqueuedGroup<R>
}
