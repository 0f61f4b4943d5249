import type { Clock } from '../../internal/clock.js'

/** Who leads, as it is stored. `beat` rises with each renewal. */
export interface LeaseRecord {
  readonly owner: string
  readonly token: number
  readonly beat: number
}

export const noLease: LeaseRecord = { owner: '', token: 0, beat: 0 }

/** Tells when a lease is over, for stores that have no clock of their own: by how long this process has seen no change of it. */
export class LeaseWatch {
  readonly #clock: Clock
  #seen = ''
  #seenAtMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The record after `owner` has asked: the same one when another leads. */
  ask(record: LeaseRecord, owner: string, leaseMs: number): LeaseRecord {
    if (record.owner === owner) return { ...record, beat: record.beat + 1 }
    if (record.owner !== '' && !this.#isOver(record, leaseMs)) return record
    return { owner, token: record.token + 1, beat: 0 }
  }

  #isOver(record: LeaseRecord, leaseMs: number): boolean {
    const shown = `${record.owner} ${record.token} ${record.beat}`
    const nowMs = this.#clock.monotonic()
    if (shown !== this.#seen) {
      this.#seen = shown
      this.#seenAtMs = nowMs
    }
    return nowMs - this.#seenAtMs >= leaseMs
  }
}
