import type { AppCore } from '../app/core.js'
import { parseRate } from '../app/rate.js'
import type { TaskDefinition } from '../app/task.js'
import { Limiter } from './limits/limiter.js'
import { hasSharedRate } from './limits/shared-rate.js'

/** When tasks of one name may start: one each interval, as Celery's token bucket of capacity 1. */
export interface Bucket {
  readonly intervalMs: number
  /** Monotonic ms at which the next one may start. */
  nextMs: number
  /** Monotonic ms up to which starts were promised to tasks that went back to the broker. */
  promisedMs: number
}

/** A task that would wait longer goes back to the broker for that time: it holds neither a place nor memory. */
export const longestHoldMs = 1_000
/** So many tasks of one name are held while they wait; the others go back. */
const mostHeld = 1_000
/** Tasks that went back look in again after this time at the latest, so that a limit that was raised is felt. */
const soonestLookMs = 10_000

/** How often tasks may start on this worker: the task's `rateLimit`, `taskDefaultRateLimit`, or what remote control set. */
export class RateLimits {
  /** Limits that workers share, and those by keys. */
  readonly shared: Limiter
  readonly #core: AppCore
  readonly #buckets = new Map<string, Bucket | null>()

  /** `holdsAll`: what waits for places waits here, however long: for tests, in which no time passes in the broker. */
  constructor(core: AppCore, { holdsAll = false }: { readonly holdsAll?: boolean } = {}) {
    this.#core = core
    this.shared = new Limiter(core, this, holdsAll)
  }

  /** Starts a second; 0 is no limit. Tasks that wait already are asked again. */
  set(task: string, perSecond: number): void {
    this.#buckets.set(task, bucketOf(perSecond))
  }

  /** Starts a second that are allowed; undefined: no limit. */
  rateOf(task: TaskDefinition): number | undefined {
    const bucket = this.#bucket(task)
    return bucket === null ? undefined : 1_000 / bucket.intervalMs
  }

  /** Takes the right to start now. Otherwise gives how long to wait for it, in ms. */
  take(task: TaskDefinition): number {
    const bucket = this.#bucket(task)
    if (bucket === null || hasSharedRate(task)) return 0
    const now = this.#core.clock.monotonic()
    if (now < bucket.nextMs) return bucket.nextMs - now
    bucket.nextMs = now + bucket.intervalMs
    return 0
  }

  /**
   * What to do with a task that cannot start now and has `before` others of its name in front of it: undefined to hold it here; else ms after which it is to
   * come back from the broker. Those that come back are spread over time as the limit lets them start.
   */
  putOff(task: TaskDefinition, before: number): number | undefined {
    const bucket = this.#bucket(task)
    if (bucket === null) return undefined
    return putOffMs(bucket, this.#core.clock.monotonic(), before)
  }

  #bucket({ name, options: { rateLimit } }: TaskDefinition): Bucket | null {
    const known = this.#buckets.get(name)
    if (known !== undefined) return known
    const { workerDisableRateLimits, taskDefaultRateLimit } = this.#core.config
    if (workerDisableRateLimits) return null
    const rate = rateLimit ?? taskDefaultRateLimit
    if (rate === null) return null
    const bucket = bucketOf(parseRate(typeof rate === 'object' ? rate.limit : rate) ?? 0)
    this.#buckets.set(name, bucket)
    return bucket
  }
}

/** As `RateLimits.putOff`. */
export function putOffMs(bucket: Bucket, now: number, before: number): number | undefined {
  const turnMs = Math.max(bucket.nextMs, now) + before * bucket.intervalMs
  if (turnMs - now <= longestHoldMs && before < mostHeld) return undefined
  // One is kept, so that the next start does not wait for the broker.
  if (before === 0) return turnMs - now <= 60_000 ? undefined : turnMs - now
  bucket.promisedMs = Math.max(bucket.promisedMs, turnMs) + bucket.intervalMs
  const promised = (bucket.promisedMs - now) / bucket.intervalMs
  return Math.min(bucket.promisedMs - now, Math.max(soonestLookMs, promised * 20))
}

function bucketOf(perSecond: number): Bucket | null {
  return perSecond > 0 ? { intervalMs: 1_000 / perSecond, nextMs: 0, promisedMs: 0 } : null
}
