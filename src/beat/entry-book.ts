/** The entries as a leading beat has them in memory, in the order in which they are due: waiting costs nothing, however many there are. */
import { BinaryHeap } from '../internal/binary-heap.js'
import { type Definition, definitionOf, type EntryRecord } from './definition.js'
import { jitterOf } from './due.js'
import type { Timetable } from './timetable.js'

export interface LiveEntry {
  readonly name: string
  revision: number
  record: EntryRecord
  definition: Definition
  timetable: Timetable
  /** Looked at again then, whatever is due. */
  retryAtMs: number | undefined
  /** How often it could not be sent since it last was. */
  tries: number
  /** Which of its places in the heap counts. */
  place: number
  /** Being sent, or sent and not recorded yet. */
  isBusy: boolean
}

interface Place {
  readonly atMs: number
  readonly order: number
  readonly entry: LiveEntry
}

export class EntryBook {
  readonly #entries = new Map<string, LiveEntry>()
  readonly #heap = new BinaryHeap<Place>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order))
  #order = 0

  get size(): number {
    return this.#entries.size
  }

  get(name: string): LiveEntry | undefined {
    return this.#entries.get(name)
  }

  all(): Iterable<LiveEntry> {
    return this.#entries.values()
  }

  put(name: string, revision: number, record: EntryRecord, timetable: Timetable): LiveEntry | undefined {
    const definition = definitionOf(record)
    if (definition === null) return undefined
    const known = this.#entries.get(name)
    const entry: LiveEntry = known ?? {
      name,
      revision,
      record,
      definition,
      timetable,
      retryAtMs: undefined,
      tries: 0,
      place: 0,
      isBusy: false,
    }
    Object.assign(entry, { revision, record, definition, timetable })
    this.#entries.set(name, entry)
    this.place(entry)
    return entry
  }

  remove(name: string): void {
    const entry = this.#entries.get(name)
    if (entry !== undefined) entry.place = 0
    this.#entries.delete(name)
  }

  clear(): void {
    for (const name of [...this.#entries.keys()]) this.remove(name)
    while (this.#heap.takeFirst() !== undefined);
  }

  /** Gives the entry its place anew, after anything about it has changed. */
  place(entry: LiveEntry): void {
    entry.place = 0
    if (entry.isBusy || this.#entries.get(entry.name) !== entry) return
    const atMs = wakeTimeOf(entry)
    if (atMs === undefined) return
    this.#order += 1
    entry.place = this.#order
    this.#heap.add({ atMs, order: this.#order, entry })
  }

  get nextMs(): number | undefined {
    this.#dropStale()
    return this.#heap.first?.atMs
  }

  /** Takes out those that are due, some of them: they have no place until they are given one. */
  takeDue(nowMs: number, most: number): LiveEntry[] {
    const due: LiveEntry[] = []
    for (let next = this.nextMs; next !== undefined && next <= nowMs && due.length < most; next = this.nextMs) {
      const place = this.#heap.takeFirst()
      if (place === undefined) break
      place.entry.place = 0
      due.push(place.entry)
    }
    return due
  }

  #dropStale(): void {
    for (let first = this.#heap.first; first !== undefined && first.entry.place !== first.order; first = this.#heap.first)
      this.#heap.takeFirst()
  }
}

/** Undefined: nothing is to be done about it, until somebody changes it. */
function wakeTimeOf({ name, record, definition, retryAtMs }: LiveEntry): number | undefined {
  if (retryAtMs !== undefined) return retryAtMs
  const { state, paused } = record
  if (paused || state.isOver || state.dueMs === null) return undefined
  return state.dueMs + jitterOf(name, state.dueMs, definition.jitterMs)
}
