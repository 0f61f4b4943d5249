/**
 * Contract of a store of limits, which the workers and senders of a cluster share: how often and how many at the same time tasks may run, and which task holds the
 * lock of a unique key. What the limits are for is src/worker/limits' and src/app's matter; here they are names.
 *
 * Time is that of the store: the server's, or the machine's where processes of one machine share it. All durations are ms.
 */

export interface LimitStore {
  /** The driver's name: `redis`. */
  readonly name: string
  /** Each of the asks takes all that it names, or nothing: in their order, in one step. */
  start(asks: readonly StartAsk[]): Promise<readonly StartAnswer[]>
  /** These slots are held for `leaseMs` from now: those that were lost meanwhile are taken again, whatever the limit is, because what they stand for is running. */
  renew(slots: readonly HeldSlot[], leaseMs: number): Promise<void>
  /** Gives slots back. Safe twice. */
  free(slots: readonly HeldSlot[]): Promise<void>

  /**
   * Takes a lock for a task that is about to be sent, for `forMs`, until `confirm` says that it is sent. `over: 'none'` takes it only where nobody holds it; `waiting` takes it from
   * holders, too. `ended` is a holder of which the caller knows that it has ended.
   */
  take(lock: Lock, options: { readonly forMs: number; readonly over: 'none' | 'waiting'; readonly ended?: string }): Promise<TakeAnswer>
  /** The task was sent: the lock is its own for `forMs` from now, and those of `before` that it was taken from are dropped, unless they run. Gives those that are dropped now. */
  confirm(lock: Lock, options: { readonly forMs: number; readonly before: readonly string[] }): Promise<readonly string[]>
  /** The task was not sent: the lock is again whose it was. */
  undo(lock: Lock): Promise<void>
  /**
   * The holder is about to run. `wait`: another is being sent that may take its place, ask again soon. `dropped`: another has. A lock that is gone by now lets it run;
   * one that was not confirmed is held for `forMs` from now.
   */
  claim(lock: Lock, options: { readonly forMs: number }): Promise<'run' | 'wait' | 'dropped'>
  /** The holder has ended. Safe twice, and for those that hold nothing. */
  release(lock: Lock): Promise<void>
  /** Safe twice. */
  close(): Promise<void>
  /** Settles when it is of no more use, and another is to be opened in its place. Missing where that does not happen. */
  readonly ended?: Promise<Error>
}

export interface StartAsk {
  /** Who asks, of those who share a limit: a worker. Turns are taken between them. */
  readonly owner: string
  /** Names the slots that it takes; never used twice. */
  readonly holder: string
  readonly rates: readonly RateAsk[]
  readonly slots: readonly SlotAsk[]
  /** A start that is due within so many ms is granted now, to be waited for by the asker. At most `longestAheadMs`. */
  readonly aheadMs: number
  /** For how long slots are held without being renewed. */
  readonly leaseMs: number
}

/** One start each `intervalMs`. */
export interface RateAsk {
  readonly name: string
  readonly intervalMs: number
}

/** So many at the same time. */
export interface SlotAsk {
  readonly name: string
  readonly limit: number
}

export interface HeldSlot {
  readonly name: string
  readonly holder: string
}

export type StartAnswer =
  /** It may start in so many ms. */
  | { readonly status: 'granted'; readonly inMs: number }
  /** Ask again in so many ms. `by`: what held it back; slots may become free sooner. */
  | { readonly status: 'wait'; readonly inMs: number; readonly by: 'rate' | 'slots' }

export interface Lock {
  readonly name: string
  /** A task id. */
  readonly holder: string
}

export type TakeAnswer =
  /** `before`: the tasks it was taken from that did not run yet. */
  | { readonly status: 'taken'; readonly before: readonly string[] }
  /** `isSent`: it is known to be at the broker. */
  | { readonly status: 'held'; readonly by: string; readonly isSent: boolean }

export const longestAheadMs = 1_000
