import type { Duration } from '../internal/duration.js'
import type { Sig } from './signature.js'

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
  /** The process that runs the task is killed after it. */
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
