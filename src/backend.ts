/** Contract of a result store. Waiting subscribes first and reads then, so that no result falls between. */
import type { ResultMeta } from './protocol/result.js'

export interface ResultBackend {
  readonly name: string
  readonly supports: BackendSupports
  /**
   * Stores a state. The first terminal state (SUCCESS, FAILURE, REVOKED) wins, atomically: false when one was there already and nothing was written.
   * A RETRY or custom state never overwrites a terminal one either.
   */
  store(meta: ResultMeta, options: StoreOptions): Promise<boolean>
  /** Undefined: nothing is stored for that id. */
  get(taskId: string): Promise<ResultMeta | undefined>
  /** One round trip; ids without a result are missing from the map. */
  getMany(taskIds: readonly string[]): Promise<ReadonlyMap<string, ResultMeta>>
  /**
   * Every state that is seen of these tasks, at least the last one of each; ends by itself when all have ended, and throws the signal's reason when it aborts.
   * States that follow each other quickly may be merged. Any number of waits share one subscription.
   */
  wait(taskIds: readonly string[], options: { readonly signal: AbortSignal }): AsyncIterable<ResultMeta>
  forget(taskIds: readonly string[]): Promise<void>
  /** Notes that these tasks must not start, for workers that are not up now. Kept for `expiresSeconds`. */
  revoke(taskIds: readonly string[], options: { readonly expiresSeconds: number }): Promise<void>
  /** Those of the ids that were revoked; at once where that is known without asking. */
  revoked(taskIds: readonly string[]): ReadonlySet<string> | Promise<ReadonlySet<string>>
  /** Removes what has expired; how many results that were. */
  cleanup(options: { readonly nowMs: number }): Promise<number>
  /** Safe twice. Waits that are open end with a ConnectionError. */
  close(): Promise<void>
  /** Where results come to the process that asked, and lie nowhere else. Missing: they are stored where everybody finds them. */
  readonly inbox?: Inbox
}

export interface StoreOptions {
  readonly expiresSeconds: number | null
  /** From the task's message: the inbox of who sent it, and under which id. They concern backends with an inbox; others know where to store. */
  readonly replyTo?: string | undefined
  readonly correlationId?: string | undefined
}

/** The queue of this process that results come to. */
export interface Inbox {
  /** Goes as `reply_to` with every task that this process sends. */
  readonly name: string
  /** To be awaited before a task is sent: results that find no queue are lost. Undefined: it is open. Rejects with ConnectionError. */
  open(): Promise<void> | undefined
  /** This process sends these tasks: their results come here. */
  expect(taskIds: readonly string[]): void
  /** False: as far as is known, the result of that task will not come here. */
  expects(taskId: string): boolean
}

export interface BackendSupports {
  /** A wait is told of a new state; it does not poll. */
  readonly push: boolean
  /** Results outlive the process that stored them. */
  readonly persistent: boolean
  /** `revoke()` is remembered for workers that start later. */
  readonly durableRevoke: boolean
  /** False for `disabled`: nothing is stored, and waiting is refused with ResultsDisabledError. */
  readonly results: boolean
}
