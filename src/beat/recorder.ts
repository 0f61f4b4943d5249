/** Writes down what a leading beat is about to send, and what it has sent. */
import { ConnectionError } from '../errors.js'
import type { ScheduleStore } from '../schedule-store.js'
import { encodeRecord } from './definition.js'
import type { EntryBook, LiveEntry } from './entry-book.js'
import type { EntryLoader } from './entry-loader.js'
import { isRecorded, type RunReport, recordAfter } from './entry-runner.js'

export interface RecorderParts {
  readonly store: ScheduleStore
  readonly book: EntryBook
  readonly loader: EntryLoader
  /** Rows of history of each entry. */
  readonly historyKept: number
  readonly token: () => number | undefined
}

export interface Recorded {
  /** Another beat leads. */
  readonly isDeposed: boolean
  /** Nothing of these is left to be written down. */
  readonly settled: readonly RunReport[]
}

export class Recorder {
  readonly #parts: RecorderParts
  /** Sent and not written down yet: the store could not be reached. */
  #left: readonly RunReport[] = []
  /** Those of the same call that were. */
  #done: readonly RunReport[] = []

  constructor(parts: RecorderParts) {
    this.#parts = parts
  }

  /**
   * Writes these, and what is left of earlier ones. `token` is the one that they were sent under: whether it still counts is the store's to say, so that what was
   * sent before a lead was in doubt is not forgotten. Throws when the store cannot be reached: they are kept.
   */
  async record(reports: readonly RunReport[], token: number): Promise<Recorded> {
    const all = [...this.#left, ...reports]
    const done = this.#done
    this.forget()
    const isDeposed = all.some((report) => report.isDeposed)
    let left: readonly RunReport[] = all
    try {
      while (left.length > 0) {
        const rest = await this.#write(left, token)
        if (rest === 'deposed') return { isDeposed: true, settled: [] }
        left = rest
      }
    } catch (error) {
      // Who leads no more has nothing to keep: what was sent is found to have been sent by the next leader.
      if (isDeposed) return { isDeposed, settled: [] }
      this.#left = left
      this.#done = [...done, ...all.filter((report) => !left.includes(report))]
      throw error
    }
    return { isDeposed, settled: [...done, ...all] }
  }

  /** What is left belongs to a lead that is over. */
  forget(): void {
    this.#left = []
    this.#done = []
  }

  /** Of an entry that is about to be sent on a broker without fences. False: another leads. Throws when the entry has changed. */
  async markSending(entry: LiveEntry, dueMs: number): Promise<boolean> {
    const { store, loader, token: tokenNow } = this.#parts
    const token = tokenNow()
    if (token === undefined) return false
    const record = { ...entry.record, state: { ...entry.record.state, sendingMs: dueMs } }
    const outcome = await store.write({ token, entries: [{ name: entry.name, from: entry.revision, data: encodeRecord(record) }] })
    if (outcome.status === 'written') {
      Object.assign(entry, { record, revision: outcome.revision })
      loader.written(outcome.revision)
      return true
    }
    if (outcome.status === 'changed') throw new ConnectionError(`the entry ${entry.name} was changed just now`)
    return false
  }

  /** Those that could not be written because somebody has changed their entries, which are read again by then. */
  async #write(reports: readonly RunReport[], token: number): Promise<readonly RunReport[] | 'deposed'> {
    const { store, book, loader, historyKept } = this.#parts
    const changed = reports.flatMap((report) => {
      const live = book.get(report.entry.name)
      const record = live === undefined ? undefined : recordAfter(live.record, report)
      const isNew = live !== undefined && JSON.stringify(record) !== JSON.stringify(live.record)
      return live !== undefined && record !== undefined && isNew ? [{ live, record }] : []
    })
    const history = reports.flatMap(({ rows }) => rows)
    if (changed.length === 0 && history.length === 0) return []
    const entries = changed.map(({ live, record }) => ({ name: live.name, from: live.revision, data: encodeRecord(record) }))
    const outcome = await store.write({ token, entries, history, historyKept })
    switch (outcome.status) {
      case 'written':
        for (const { live, record } of changed) Object.assign(live, { record, revision: outcome.revision })
        loader.written(outcome.revision)
        return []
      case 'changed':
        await loader.refresh()
        // It may be this very write, whose answer was lost.
        return reports.filter((report) => !isRecorded(book.get(report.entry.name)?.record, report))
      case 'deposed':
        return 'deposed'
      default:
        return outcome satisfies never
    }
  }
}
