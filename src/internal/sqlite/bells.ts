/**
 * Who is told of changes in the embedded database: listeners of this process at once, those of other processes by a bell (bell.ts), and all of them by a poll when a
 * bell was not heard.
 */
import type { Clock, Timer } from '../clock.js'
import { Bell } from './bell.js'

/** What changed: `tasks` for messages and queues, `results` for what tasks returned. */
export type BellName = 'tasks' | 'results'

/** `what` changed, or undefined when a bell rang and nobody knows: that of another process, or once more the one of this. */
export type BellListener = (what: ReadonlySet<string> | undefined) => void

const pollWithoutWatchMs = 50

interface BellsParts {
  readonly clock: Clock
  /** How often to look for changes that no bell told of; 0 turns it off. */
  readonly pollMs: number
  readonly onPoll: () => void
  /** PRAGMA data_version: it moves only when another connection commits. */
  readonly dataVersion: () => number
}

export class Bells {
  readonly #parts: BellsParts
  readonly #bells: Readonly<Record<BellName, Bell>>
  readonly #listeners: Readonly<Record<BellName, Set<BellListener>>> = { tasks: new Set(), results: new Set() }
  /** The version when the poll last looked, or for results a bell rang. */
  readonly #seenVersion: Record<BellName, number> = { tasks: 0, results: 0 }
  readonly #toRing = new Map<BellName, Set<string>>()
  #pollMs: number
  #poll: Timer | undefined
  #isClosed = false

  constructor(databasePath: string, parts: BellsParts) {
    this.#parts = parts
    this.#pollMs = parts.pollMs
    this.#bells = { tasks: new Bell(`${databasePath}-tasks.bell`), results: new Bell(`${databasePath}-results.bell`) }
  }

  /** To be rung when the transaction that is under way is committed. */
  note(bell: BellName, what: string): void {
    let changed = this.#toRing.get(bell)
    if (changed === undefined) {
      changed = new Set()
      this.#toRing.set(bell, changed)
    }
    changed.add(what)
  }

  /** The transaction was rolled back. */
  forget(): void {
    this.#toRing.clear()
  }

  /** The transaction is committed. */
  ring(): void {
    if (this.#toRing.size === 0) return
    const rung = [...this.#toRing]
    this.#toRing.clear()
    for (const [name, what] of rung) {
      this.#bells[name].ring()
      for (const listener of [...this.#listeners[name]]) listener(what)
    }
  }

  /** Calls back after changes, by any process, until the function that it gives is called. Keeps the process alive that long. */
  listen(bell: BellName, listener: BellListener): () => void {
    const listeners = this.#listeners[bell]
    listeners.add(listener)
    if (listeners.size === 1) {
      this.#seenVersion[bell] = this.#parts.dataVersion()
      if (!this.#bells[bell].watch(() => this.#heard(bell)))
        this.#pollMs = this.#pollMs === 0 ? 0 : Math.min(this.#pollMs, pollWithoutWatchMs)
    }
    this.#armPoll()
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return
      this.#bells[bell].unwatch()
      if (this.#listeners.tasks.size + this.#listeners.results.size === 0) {
        this.#poll?.cancel()
        this.#poll = undefined
      }
    }
  }

  close(): void {
    this.#isClosed = true
    this.#poll?.cancel()
    for (const bell of Object.values(this.#bells)) bell.close()
  }

  /** Those who listen for tasks look whether there is one for them, which costs no more than to ask whether anything was committed. */
  #heard(name: BellName): void {
    if (name === 'tasks') this.#tell(name)
    else this.#look(name)
  }

  /** Listeners are called only when another process committed since they last looked. */
  #look(name: BellName): void {
    if (this.#isClosed || this.#listeners[name].size === 0) return
    let version: number
    try {
      version = this.#parts.dataVersion()
    } catch {
      // The next look or the next write tells what is wrong with the file.
      return
    }
    if (version === this.#seenVersion[name]) return
    this.#seenVersion[name] = version
    this.#tell(name)
  }

  #tell(name: BellName): void {
    if (!this.#isClosed) for (const listener of [...this.#listeners[name]]) listener(undefined)
  }

  #armPoll(): void {
    if (this.#poll !== undefined || this.#pollMs === 0) return
    this.#poll = this.#parts.clock.setTimer(this.#pollMs, () => {
      this.#poll = undefined
      this.#parts.onPoll()
      this.#look('tasks')
      this.#look('results')
      if (this.#listeners.tasks.size + this.#listeners.results.size > 0) this.#armPoll()
    })
  }
}
