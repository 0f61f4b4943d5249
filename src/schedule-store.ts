/**
 * Contract of a store of schedules: entries, who leads, and what was sent. Any number of processes share one; what beat means by it is src/beat/'s matter.
 *
 * Every write has a revision, which rises: an entry's is that of its last write. A write names the revisions of the entries that it changes and does nothing when
 * one of them is another by now, or when it comes from a leader that another has replaced.
 */

export interface ScheduleStore {
  /** The driver's name: `sqlite`. */
  readonly name: string
  /** Names this store among all that ever were: one that was emptied and made anew has another. */
  readonly id: string
  /** The entries that were written after revision `since` (0: all), removed ones included, by name. */
  entries(since: number): Promise<readonly StoredEntry[]>
  /** The revision of the last write. */
  revision(): Promise<number>
  /** All of it or nothing. */
  write(change: StoreChange): Promise<WriteOutcome>
  /** What was sent of an entry, or of all, the newest first. */
  history(options: { readonly entry?: string; readonly limit: number }): Promise<readonly HistoryRow[]>
  /**
   * Asks to lead, and to go on leading: whoever leads must call again before `leaseMs` are over. A leader that did not is replaced by the first to ask, and then the
   * token is higher. How long that is, the asking process or the store's server measures; wall clocks of two machines are never compared.
   */
  lead(owner: string, leaseMs: number): Promise<Leadership>
  /** Lets another lead at once. */
  resign(owner: string): Promise<void>
  /** Safe twice. */
  close(): Promise<void>
  /** Settles when it is of no more use, and another is to be opened in its place. Missing where that does not happen. */
  readonly ended?: Promise<Error>
}

export interface StoredEntry {
  readonly name: string
  /** Of its last write. */
  readonly revision: number
  /** What beat knows of it, as JSON; null: it was removed. */
  readonly data: string | null
}

export interface StoreChange {
  /** Of the leader that writes; without one, anybody may. */
  readonly token?: number
  /** Each name once. */
  readonly entries: readonly EntryChange[]
  /** Added; of each entry the newest `historyKept` are kept. */
  readonly history?: readonly HistoryRow[]
  readonly historyKept?: number
}

export interface EntryChange {
  readonly name: string
  /** The revision that was read; 0: there was none. */
  readonly from: number
  /** Null removes it: readers of changes learn of it. */
  readonly data: string | null
}

export type WriteOutcome =
  | { readonly status: 'written'; readonly revision: number }
  /** Another process has written these meanwhile. */
  | { readonly status: 'changed'; readonly names: readonly string[] }
  /** Another leads now. */
  | { readonly status: 'deposed' }

export interface Leadership {
  readonly leads: boolean
  /** Of whoever leads. */
  readonly token: number
  readonly owner: string
  readonly revision: number
}

/** One time that was due, and what became of it. */
export interface HistoryRow {
  readonly entry: string
  /** What it is a run of: an instant of the schedule, ms since the epoch; null for a run that somebody asked for. */
  readonly dueMs: number | null
  /** When that was, by the clock of the process that did it. */
  readonly atMs: number
  readonly outcome: HistoryOutcome
  /** Of what was sent. */
  readonly taskId: string | null
  /** More that people want to know: why, or how many times one run stands for. */
  readonly note: string | null
}

/** sent: by beat. asked: because somebody asked for it. skipped: not sent, for the reason in the note. failed: could not be made or sent. */
export type HistoryOutcome = 'sent' | 'asked' | 'skipped' | 'failed'
