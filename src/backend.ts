/** Contract of a result store. Waiting subscribes first and reads then, so that no result falls between. */
import type { Examination } from './internal/examination.js'
import type { JsonText } from './protocol/json-text.js'
import type { PlacedEnd, ResultMeta, ResultTuple, State } from './protocol/result.js'

export interface ResultBackend extends ChordCounters, GroupStorage {
  readonly name: string
  readonly supports: BackendSupports
  /** Asks the server what it is like, for `celeriac doctor`; missing where there is nothing to ask. Throws ConnectionError. */
  examine?(): Promise<Examination>
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
  /** Settles when it is of no more use, and another is to be opened in its place. Missing where that does not happen. */
  readonly ended?: Promise<Error>
  /** The database that results lie in, where a broker may live in the same one (`Connection.place`). */
  readonly place?: string | undefined
  /** What `store` would write for the end of a task, for `Delivery.ackWith`. Undefined: it is better stored by itself. Only for a result that is encoded already. */
  placed?(meta: ResultMeta, options: StoreOptions): PlacedEnd | undefined
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

/**
 * Counts the headers of chords that have ended. Without `supports.chords` all of these reject with NotSupportedError.
 *
 * A chord is known by the group id of its headers. Whoever sends one starts it first; each header completes its part when its result is stored; the part that
 * completes the chord is its *closer*, which gets all parts, publishes the body and ends the chord then. A closer that is killed before is delivered again,
 * completes its part again and closes again: parts are kept until the end.
 */
export interface ChordCounters {
  /** Before any header is sent. The same again changes nothing, and what has ended does not start again. `body` is kept until the end, for `chordBody`. */
  startChord(
    groupId: string,
    options: { readonly size: number; readonly body?: JsonText | undefined; readonly expiresSeconds: number | null },
  ): Promise<void>
  /** One more part for each of these tasks, before they are sent by a header that has not ended. A task counts once, however often it is named. */
  growChord(groupId: string, taskIds: readonly string[], options: { readonly expiresSeconds: number | null }): Promise<void>
  /**
   * Notes that a header has ended, in whatever state. Atomic and idempotent: a task counts once for each index, and what it brought first is kept, whatever it
   * brings when it runs again. `size` is what the header's signature says of the chord (`chord_size`), if it says anything: with it, a chord that is not known is
   * known to be lost; without it, the chord's sender may not have noted its size yet.
   *
   * - `waiting`: others are missing, another part is closing the chord, or the chord has ended.
   * - `lost`: the store has lost the chord; its body will never be run by a part.
   * - the parts, by index (those without one last, by task id): this is the closer. It has `chordClaimSeconds` for publishing the body; if the chord has not ended
   *   then, the next part that is completed again closes it.
   */
  completeChordPart(
    groupId: string,
    part: ChordPart,
    options: { readonly size?: number | undefined; readonly expiresSeconds: number | null },
  ): Promise<'waiting' | 'lost' | readonly ChordPart[]>
  /** The body's signature: for a closer whose own message, which has it, too, cannot be read. Undefined when the chord is not known, has ended, or was started by Python. */
  chordBody(groupId: string): Promise<JsonText | undefined>
  /** The body is published: nothing is kept but that the chord has ended, for late repetitions. Safe twice. */
  endChord(groupId: string, options: { readonly expiresSeconds: number | null }): Promise<void>
}

/** How long a closer alone publishes the body. Shorter than a lost worker's tasks take to be delivered again to somebody who knows no claims but Celery's. */
export const chordClaimSeconds = 5

export interface ChordPart {
  readonly taskId: string
  /** `group_index`: the place of its result among those that the body gets. Null: after all others. */
  readonly index: number | null
  readonly status: State
  /** As in the meta. What a closer gets is always a `JsonText`, as it was stored. */
  readonly result: unknown | JsonText
}

/** Which tasks belong to a group, for whoever knows no more than its id. Rejects with NotSupportedError without `supports.chords`. */
export interface GroupStorage {
  /** Keeps a group's tuple under the group's id, whatever was there. */
  saveGroup(group: ResultTuple, options: { readonly expiresSeconds: number | null }): Promise<void>
  /** Undefined: no such group is kept. */
  group(groupId: string): Promise<ResultTuple | undefined>
  /** Whether it was there. */
  forgetGroup(groupId: string): Promise<boolean>
}

export interface BackendSupports {
  /** A wait is told of a new state; it does not poll. */
  readonly push: boolean
  /** Results outlive the process that stored them. */
  readonly persistent: boolean
  /** `revoke()` is remembered for workers that start later. */
  readonly durableRevoke: boolean
  /** Chords are counted, and groups are kept. */
  readonly chords: boolean
  /** False for `disabled`: nothing is stored, and waiting is refused with ResultsDisabledError. */
  readonly results: boolean
}
