/** Brings what the store has into the book of a leading beat: all of it at a take-over, where the program's entries are written too, and what has changed later. */
import type { AppCore } from '../app/core.js'
import { ConnectionError } from '../errors.js'
import type { EntryChange, ScheduleStore, StoredEntry } from '../schedule-store.js'
import type { BeatLog } from './beat-log.js'
import { decodeRecord, definitionOf, type EntryRecord, encodeRecord, newState, type ProgramEntry, withProgram } from './definition.js'
import { afterClockStep, firstDue } from './due.js'
import type { EntryBook } from './entry-book.js'
import { isOwnSchedule } from './schedule.js'
import type { Timetable } from './timetable.js'
import { ownTimetable, type Timetables } from './timetables.js'

/** Entries of one write: each is one step of the store, in which others wait. */
const chunkSize = 500

export interface EntryLoaderParts {
  readonly store: ScheduleStore
  readonly core: AppCore
  readonly timetables: Timetables
  readonly program: ReadonlyMap<string, ProgramEntry>
  readonly book: EntryBook
  readonly token: () => number | undefined
  readonly log: BeatLog
}

export class EntryLoader {
  readonly #parts: EntryLoaderParts
  #revision = 0

  constructor(parts: EntryLoaderParts) {
    this.#parts = parts
  }

  /** Up to which the book is what the store has. */
  get revision(): number {
    return this.#revision
  }

  /** This process has written, and the book has it: if nobody else wrote between, the book is up to date. */
  written(revision: number): void {
    if (revision === this.#revision + 1) this.#revision = revision
  }

  async takeOver(): Promise<void> {
    const { book, store, program } = this.#parts
    book.clear()
    for (;;) {
      this.#revision = await store.revision()
      const stored = await store.entries(0)
      if (await this.#write(this.#merged(stored), stored)) break
    }
    // Whoever waits for the end of a run, or may have sent something, is looked at once.
    const nowMs = this.#parts.core.clock.now()
    for (const entry of book.all()) {
      const { waitingMs } = entry.record.state
      if (waitingMs !== null) entry.retryAtMs = nowMs
      if (waitingMs !== null) book.place(entry)
    }
    this.#warnOfStrangers(program)
  }

  /** What others have written since. Throws ConnectionError when the store knows less than this process: the lead is to be taken anew. */
  async refresh(): Promise<void> {
    const { store } = this.#parts
    for (;;) {
      const revision = await store.revision()
      if (revision < this.#revision) throw new ConnectionError('the store of schedules was emptied, or put back to an older state')
      const changed = await store.entries(this.#revision)
      const records = new Map(changed.flatMap((entry) => this.#decoded(entry)))
      const isComplete = await this.#write(records, changed)
      if (!isComplete) continue
      if (this.#revision < revision) this.#revision = revision
      return
    }
  }

  /** The stored entries with the program's in them. Entries that only the program had, and has no more, are gone. */
  #merged(stored: readonly StoredEntry[]): ReadonlyMap<string, EntryRecord | null> {
    const { program } = this.#parts
    const records = new Map<string, EntryRecord | null>(stored.flatMap((entry) => this.#decoded(entry)))
    for (const [name, record] of records) {
      if (record === null || record.program === null || program.has(name)) continue
      records.set(name, record.stored === null ? null : { ...record, program: null })
    }
    for (const [name, { definition }] of program) {
      const record = records.get(name) ?? null
      const seen = record === null ? { program: definition, stored: null, paused: false, state: newState } : withProgram(record, definition)
      records.set(name, seen)
    }
    return records
  }

  /** Finds due times that nobody has found yet, writes what is new, and puts all into the book. False: others wrote meanwhile, so read again. */
  async #write(records: ReadonlyMap<string, EntryRecord | null>, stored: readonly StoredEntry[]): Promise<boolean> {
    const { store, book, core } = this.#parts
    const nowMs = core.clock.now()
    const byName = new Map(stored.map((entry) => [entry.name, entry]))
    const changes: EntryChange[] = []
    const ready: { name: string; revision: number; record: EntryRecord; timetable: Timetable; isNew: boolean }[] = []
    for (const [name, given] of records) {
      const from = byName.get(name)
      const revision = from === undefined || from.data === null ? 0 : from.revision
      if (given === null) {
        book.remove(name)
        if (revision > 0) changes.push({ name, from: revision, data: null })
        continue
      }
      const timetable = this.#timetableOf(name, given)
      if (timetable === undefined) {
        // What it was before must not be sent either.
        book.remove(name)
        continue
      }
      const record = { ...given, state: this.#checkedState(name, given, timetable, nowMs) }
      const data = encodeRecord(record)
      const isNew = data !== from?.data
      if (isNew) changes.push({ name, from: revision, data })
      ready.push({ name, revision, record, timetable, isNew })
    }
    const revisions = new Map<string, number>()
    for (let index = 0; index < changes.length; index += chunkSize) {
      const token = this.#parts.token()
      if (token === undefined) throw new ConnectionError('the lead was lost while the entries were read')
      const chunk = changes.slice(index, index + chunkSize)
      const outcome = await store.write({ token, entries: chunk })
      if (outcome.status === 'deposed') throw new ConnectionError('another beat has taken the lead')
      if (outcome.status === 'changed') return false
      for (const { name } of chunk) revisions.set(name, outcome.revision)
      this.written(outcome.revision)
    }
    for (const { name, revision, record, timetable } of ready) book.put(name, revisions.get(name) ?? revision, record, timetable)
    return true
  }

  #decoded({ name, data }: StoredEntry): (readonly [string, EntryRecord | null])[] {
    if (data === null) return [[name, null]]
    try {
      return [[name, decodeRecord(name, data)]]
    } catch (error) {
      this.#parts.log.trouble(error, `the entry ${name} is left out`)
      this.#parts.book.remove(name)
      return []
    }
  }

  #timetableOf(name: string, record: EntryRecord): Timetable | undefined {
    const definition = definitionOf(record)
    if (definition === null) return undefined
    try {
      const made = this.#parts.timetables.of(definition.schedule)
      if (made !== undefined) return made
    } catch (error) {
      this.#parts.log.trouble(error, `the entry ${name} is left out`)
      return undefined
    }
    const own = this.#parts.program.get(name)?.entry.schedule
    return isOwnSchedule(own) ? ownTimetable(own, name) : undefined
  }

  #checkedState(name: string, record: EntryRecord, timetable: Timetable, nowMs: number): EntryRecord['state'] {
    const definition = definitionOf(record)
    const { state, paused } = record
    if (definition === null || paused || state.isOver) return state
    try {
      if (state.dueMs === null) {
        const dueMs = firstDue(definition, timetable, nowMs)
        return { ...state, dueMs: dueMs ?? null, countedAtMs: nowMs, isOver: dueMs === undefined }
      }
      // The clock may have been put back while no beat ran.
      const knownMs = Math.max(state.lastAtMs ?? nowMs, state.countedAtMs ?? nowMs)
      return afterClockStep(definition, timetable, state, nowMs, knownMs - nowMs) ?? state
    } catch (error) {
      this.#parts.log.trouble(error, `the next time of ${name} cannot be found`)
      return { ...state, dueMs: null, isOver: true }
    }
  }

  #warnOfStrangers(program: ReadonlyMap<string, ProgramEntry>): void {
    for (const { name, definition } of this.#parts.book.all()) {
      if (definition.call === null && !program.has(name))
        this.#parts.log.trouble(new Error('its program is another one'), `the entry ${name} cannot be sent`)
    }
  }
}
