import type { Clock, Timer } from '../internal/clock.js'
import type { Logger } from '../internal/logger.js'
import type { Connection } from '../transport.js'

/** After repairs that did not help, so many looks are left out at most. */
const mostSkipped = 64

/** What a worker hears, at this moment. */
export interface Hearing {
  readonly connection: Connection
  /** Names of the queues that it takes from. */
  readonly queues: readonly string[]
  /** It could take another message. */
  readonly hasPlace: boolean
  /** How many messages it was given so far. */
  readonly received: number
}

interface DeafWatchParts {
  readonly clock: Clock
  readonly log: Logger
  /** A worker is deaf after so long. */
  readonly deafMs: number
  /** Undefined while it takes nothing in any case: it connects, or stops. */
  hearing(): Hearing | undefined
  repair(): Promise<void>
}

/**
 * Finds a worker that is connected and deaf: messages wait in its queues, it has free places, and nothing comes. Two looks in a row must see that, with
 * nothing received from one to the other; then the worker connects anew. A look costs nothing while messages come, and otherwise one size for each queue.
 */
export class DeafWatch {
  /** How often it had the worker connect anew. */
  repairs = 0
  /** What it saw at the last look, in words, if that was wrong. */
  suspicion: string | undefined
  readonly #parts: DeafWatchParts
  #timer: Timer | undefined
  #stopped = false
  #last: { readonly connection: Connection; readonly received: number } | undefined
  /** Since something was received. */
  #vainRepairs = 0
  #skip = 0

  constructor(parts: DeafWatchParts) {
    this.#parts = parts
  }

  start(): void {
    if (this.#stopped) return
    this.#timer = this.#parts.clock.setTimer(this.#parts.deafMs / 2, () => void this.#look().finally(() => this.start()))
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.suspicion = undefined
  }

  async #look(): Promise<void> {
    const before = this.#parts.hearing()
    const last = this.#last
    this.#last = before
    const isQuiet = before?.hasPlace && last?.connection === before.connection && last.received === before.received
    if (before !== undefined && last !== undefined && before.received > last.received) this.#vainRepairs = 0
    if (!isQuiet) {
      this.suspicion = undefined
      return
    }
    if (this.#skip > 0) {
      this.#skip--
      return
    }
    const waiting = await this.#waiting(before)
    const now = this.#parts.hearing()
    if (this.#stopped || waiting === undefined || now?.connection !== before.connection || now.received !== before.received) {
      this.suspicion = undefined
      return
    }
    const wasSuspicious = this.suspicion !== undefined
    this.suspicion = waiting
    if (wasSuspicious) await this.#repair(waiting)
  }

  async #waiting({ connection, queues }: Hearing): Promise<string | undefined> {
    for (const queue of queues) {
      // A broker that does not answer is noticed elsewhere.
      const count = await connection.size(queue, { due: true }).catch(() => 0)
      if (count > 0)
        return `nothing came for ${this.#parts.deafMs / 1000} s, although there are free places and ${count} messages in queue ${queue}`
    }
    return undefined
  }

  async #repair(waiting: string): Promise<void> {
    this.repairs++
    this.#skip = Math.min(mostSkipped, 2 ** this.#vainRepairs - 1)
    this.#vainRepairs++
    this.#parts.log.error({ repairs: this.repairs }, `${waiting}; the worker connects anew`)
    await this.#parts.repair().catch((error: unknown) => this.#parts.log.error({ err: error }, 'the worker could not connect anew'))
    this.suspicion = undefined
  }
}
