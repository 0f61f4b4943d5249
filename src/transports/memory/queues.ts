import type { QueueFacts, Queues } from '../../transport.js'
import type { MemoryQueue, StoredMessage } from './queue.js'

/** What is asked of the broker. */
interface Stock {
  queue(name: string): MemoryQueue | undefined
  countOf(name: string, state: StoredMessage['state']): number
  hurry(name: string): number
}

/** Single queues of the memory broker, for operators. */
export class MemoryQueues implements Queues {
  readonly #stock: Stock
  /** Notes, by queue. */
  readonly #pauses = new Map<string, string>()

  constructor(stock: Stock) {
    this.#stock = stock
  }

  async facts(name: string): Promise<QueueFacts> {
    const queue = this.#stock.queue(name)
    return {
      waiting: queue?.size ?? 0,
      delayed: this.#stock.countOf(name, 'delayed'),
      leased: this.#stock.countOf(name, 'leased'),
      consumers: queue?.consumers.size ?? 0,
      oldestAtMs: queue?.oldestAtMs,
    }
  }

  async oldestAtMs(name: string): Promise<number | undefined> {
    return this.#stock.queue(name)?.oldestAtMs
  }

  async paused(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return new Map([...this.#pauses].filter(([name]) => names.includes(name)))
  }

  async pause(name: string, note: string): Promise<void> {
    this.#pauses.set(name, note)
  }

  async resume(name: string): Promise<boolean> {
    return this.#pauses.delete(name)
  }

  async hurry(name: string): Promise<number> {
    return this.#stock.hurry(name)
  }
}
