import type { AppCore } from '../app/core.js'
import type { Pool } from '../pool.js'
import type { ActiveTask } from './active-task.js'
import type { Autoscaler } from './autoscaler.js'
import type { Gossip } from './gossip.js'
import type { Presence } from './presence.js'
import type { RateLimits } from './rate-limits.js'
import type { RevokedTasks } from './revoked.js'
import type { WorkerQueues } from './worker-queues.js'

/** What commands of remote control see of their worker, and what they can do to it. */
export interface Panel {
  readonly core: AppCore
  readonly hostname: string
  readonly presence: Presence
  readonly revoked: RevokedTasks
  readonly limits: RateLimits
  readonly queues: WorkerQueues
  readonly pool: Pool
  readonly autoscaler: Autoscaler | undefined
  readonly gossip: Gossip | undefined
  /** Messages that it may hold at the moment. */
  readonly prefetch: number
  /** Monotonic ms. */
  readonly startedMs: number
  /** How often the worker was found deaf and has connected anew. */
  readonly deafRepairs: number
  /** Tasks in its hands, in the order in which they came. */
  held(): readonly ActiveTask[]
  /** Those of them that wait for their rate limit. */
  limited(): readonly ActiveTask[]
  /** Ends what waits here and is revoked; runs are ended with the signal, where there is one. Gives the ids of the runs that it ends. */
  endRevoked(signal: NodeJS.Signals | undefined, which: (task: ActiveTask) => boolean): readonly string[]
  /** Those of them that have not started go back to their queues, uncounted. */
  giveBack(which: (task: ActiveTask) => boolean): void
  /** Brings the pool to this size; the first processes may still be on their way when it settles. Never rejects. */
  resizePool(size: number): Promise<void>
  /** The limits of tasks that wait were changed. */
  limitsChanged(): void
  /** As SIGTERM. */
  stop(): void
}

/** A command's answer; a promise where it takes time. What it throws is answered as `{ error }`. */
export type CommandHandler = (panel: Panel, args: Readonly<Record<string, unknown>>) => unknown
