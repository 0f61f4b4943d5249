import type { Clock } from '../../internal/clock.js'
import { decodeHead } from '../../protocol/message-head.js'
import type { DeadLetter, DeadLetterActions, DeadLetters } from '../../transport.js'
import type { StoredMessage } from './queue.js'

interface Grave {
  readonly letter: DeadLetter
  readonly stored: StoredMessage
}

const deadLetterLimit = 10_000

/** The dead letters of the memory broker. */
export class MemoryDeadLetters implements DeadLetters {
  readonly #clock: Clock
  readonly #revive: (stored: StoredMessage) => void
  readonly #graves = new Map<string, Grave>()
  /** How many made room for others. */
  dropped = 0

  /** `revive` puts a message into its queue as a new one; throws QueueMissingError. */
  constructor(clock: Clock, revive: (stored: StoredMessage) => void) {
    this.#clock = clock
    this.#revive = revive
  }

  add(stored: StoredMessage, reason: string): void {
    const id = String(stored.id)
    const letter = {
      id,
      queue: stored.queue.name,
      reason,
      diedAtMs: this.#clock.now(),
      deliveries: stored.deliveries,
      message: decodeHead(stored.head, stored.body).message,
    }
    this.#graves.set(id, { letter, stored })
    if (this.#graves.size <= deadLetterLimit) return
    const [oldest] = this.#graves.keys()
    if (oldest !== undefined) this.#graves.delete(oldest)
    this.dropped += 1
  }

  async list({ queue, limit = 100 }: { readonly queue?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    const letters = [...this.#graves.values()].map((grave) => grave.letter)
    return letters.filter((letter) => queue === undefined || letter.queue === queue).slice(0, limit)
  }

  async visit(see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>): Promise<void> {
    for (const [id, { letter }] of [...this.#graves])
      if (this.#graves.has(id) && !(await see(letter, { replay: () => this.replay(id), drop: () => this.drop(id) }))) return
  }

  async replay(id: string): Promise<boolean> {
    const grave = this.#graves.get(id)
    if (grave === undefined) return false
    this.#revive(grave.stored)
    this.#graves.delete(id)
    return true
  }

  async drop(id: string): Promise<boolean> {
    return this.#graves.delete(id)
  }

  async count(): Promise<number> {
    return this.#graves.size
  }
}
