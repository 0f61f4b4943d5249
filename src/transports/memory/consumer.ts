import { setImmediate } from 'node:timers'
import type { ConsumeOptions, Consumer } from '../../transport.js'
import type { MemoryBroker, Taker } from './broker.js'
import { MemoryDelivery } from './delivery.js'
import type { MemoryQueue } from './queue.js'

/** One consumer of a connection: which queues it takes from, and what it holds. */
export class MemoryConsumer implements Consumer, Taker {
  readonly #broker: MemoryBroker
  /** Its connection. */
  readonly #owner: object
  readonly #onDeliveries: ConsumeOptions['onDeliveries']
  readonly #onLate: () => void
  readonly #held = new Set<MemoryDelivery>()
  #queues: MemoryQueue[]
  #prefetch: number
  #isCancelled = false
  #wakeQueued = false

  constructor(
    broker: MemoryBroker,
    owner: object,
    { queues, prefetch, onDeliveries }: Omit<ConsumeOptions, 'queues'> & { readonly queues: readonly MemoryQueue[] },
    onLate: () => void,
  ) {
    this.#broker = broker
    this.#owner = owner
    this.#queues = [...queues]
    this.#prefetch = prefetch
    this.#onDeliveries = onDeliveries
    this.#onLate = onLate
  }

  start(): void {
    for (const queue of this.#queues) this.#broker.addConsumer(queue, this)
    this.#broker.addTaker(this)
    this.#wakeSoon()
  }

  async addQueue(name: string): Promise<void> {
    const queue = this.#broker.queueFor(name, this.#owner)
    if (this.#queues.includes(queue)) return
    this.#queues.push(queue)
    this.#broker.addConsumer(queue, this)
    this.#wakeSoon()
  }

  async cancelQueue(name: string): Promise<void> {
    const queue = this.#queues.find((candidate) => candidate.name === name)
    if (queue === undefined) return
    this.#queues = this.#queues.filter((other) => other !== queue)
    this.#broker.removeConsumer(queue, this)
  }

  setPrefetch(count: number): void {
    this.#prefetch = count
    this.#wakeSoon()
  }

  async cancel(): Promise<void> {
    if (this.#isCancelled) return
    this.#isCancelled = true
    this.#broker.removeTaker(this)
    for (const queue of this.#queues) this.#broker.removeConsumer(queue, this)
  }

  /** The connection closes: what is held goes back, uncounted. */
  stop(): void {
    const held = [...this.#held]
    this.#held.clear()
    void this.cancel()
    for (const delivery of held) {
      this.#broker.release(delivery.stored, { counted: false })
      delivery.lose()
    }
  }

  wake(): void {
    if (this.#isCancelled) return
    const taken: MemoryDelivery[] = []
    for (const queue of [...this.#queues]) {
      const free = this.#prefetch - this.#held.size - taken.length
      if (free <= 0) break
      for (const stored of this.#broker.take(queue, free)) taken.push(new MemoryDelivery(stored, (delivery) => this.#take(delivery)))
    }
    if (taken.length === 0) return
    // The next claim begins with another queue: a full one does not starve the others.
    const first = this.#queues.shift()
    if (first !== undefined) this.#queues.push(first)
    for (const delivery of taken) this.#held.add(delivery)
    this.#onDeliveries(taken)
  }

  /** The broker, if the delivery is still held by this consumer; undefined when it comes too late. */
  #take(delivery: MemoryDelivery): MemoryBroker | undefined {
    if (!this.#held.delete(delivery)) {
      this.#onLate()
      return undefined
    }
    this.#wakeSoon()
    return this.#broker
  }

  #wakeSoon(): void {
    if (this.#wakeQueued || this.#isCancelled) return
    this.#wakeQueued = true
    setImmediate(() => {
      this.#wakeQueued = false
      this.wake()
    })
  }
}
