import { ConnectionError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { RecordStore } from './record-store.js'
import type { Records } from './start-rule.js'

/** How often what is over is looked for. */
const sweepEveryMs = 10_000

class MemoryRecords implements Records {
  readonly #clock: Clock
  readonly #records = new Map<string, { readonly text: string; readonly untilMs: number }>()
  #sweptMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#sweptMs = clock.monotonic()
  }

  read(name: string): string | undefined {
    const record = this.#records.get(name)
    return record === undefined || record.untilMs <= this.#clock.monotonic() ? undefined : record.text
  }

  write(name: string, text: string, forMs: number): void {
    this.#records.set(name, { text, untilMs: this.#clock.monotonic() + forMs })
  }

  remove(name: string): void {
    this.#records.delete(name)
  }

  sweep(): void {
    const nowMs = this.#clock.monotonic()
    if (nowMs - this.#sweptMs < sweepEveryMs) return
    this.#sweptMs = nowMs
    for (const [name, { untilMs }] of this.#records) if (untilMs <= nowMs) this.#records.delete(name)
  }
}

// Mutable module state, because stores of one URL and one clock share what they keep. Held by clock, so that tests share nothing.
const contents = new WeakMap<Clock, Map<string, MemoryRecords>>()

/** Limits of this process alone. */
export class MemoryLimitStore extends RecordStore {
  readonly name = 'memory'
  readonly #clock: Clock
  readonly #records: MemoryRecords
  #isClosed = false

  /** Stores of one URL share what they keep; without one, it is its own. */
  constructor(url: string | undefined, clock: Clock) {
    super()
    this.#clock = clock
    const byUrl = contents.get(clock) ?? new Map<string, MemoryRecords>()
    contents.set(clock, byUrl)
    const shared = url === undefined ? undefined : byUrl.get(url)
    this.#records = shared ?? new MemoryRecords(clock)
    if (url !== undefined) byUrl.set(url, this.#records)
  }

  protected async change<T>(time: 'steady' | 'wall', work: (records: Records, nowMs: number) => T): Promise<T> {
    if (this.#isClosed) throw new ConnectionError('the store of limits is closed')
    this.#records.sweep()
    return work(this.#records, time === 'wall' ? this.#clock.now() : this.#clock.monotonic())
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }
}
