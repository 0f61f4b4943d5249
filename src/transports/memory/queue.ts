/** A queue of the memory broker: what waits in it, in the order in which it is claimed. */
import { BinaryHeap } from '../../internal/binary-heap.js'
import { bodyBytes, isLimited, isOver, type QueueLimits, type QueueLoad, refuseOverflow } from '../../protocol/routing.js'

export interface StoredMessage {
  readonly id: number
  readonly queue: MemoryQueue
  readonly priority: number
  /** Its place: when it was published, or when it became due. */
  readonly atMs: number
  readonly expiresMs: number | undefined
  readonly taskId: string
  readonly head: string
  readonly body: string | Uint8Array
  deliveries: number
  redelivered: boolean
  state: 'waiting' | 'delayed' | 'leased' | 'gone'
}

export class MemoryQueue {
  readonly name: string
  readonly definition: string
  readonly limits: QueueLimits
  readonly autoDelete: boolean
  /** The connection of an exclusive queue. */
  readonly owner: object | undefined
  readonly consumers = new Set<object>()
  readonly #waiting = new BinaryHeap<StoredMessage>(isBefore)
  readonly #isLimited: boolean
  /** Of the bodies that wait, where the queue has a limit. */
  #bytes = 0

  constructor(queue: { name: string; definition: string; limits: QueueLimits; autoDelete: boolean; owner: object | undefined }) {
    this.name = queue.name
    this.definition = queue.definition
    this.limits = queue.limits
    this.autoDelete = queue.autoDelete
    this.owner = queue.owner
    this.#isLimited = isLimited(queue.limits)
  }

  get size(): number {
    return this.#waiting.size
  }

  /** Since when the one is here that has been here for the longest. */
  get oldestAtMs(): number | undefined {
    let oldest: number | undefined
    for (const { atMs } of this.#waiting.values()) if (oldest === undefined || atMs < oldest) oldest = atMs
    return oldest
  }

  /** Throws BrokerFullError when it takes no more. */
  refuseOverflow(body: string | Uint8Array): void {
    if (this.#isLimited && this.limits.refusesOverflow) refuseOverflow(this.name, this.limits, this.#load, body)
  }

  /** What had to go for it. */
  put(message: StoredMessage): readonly StoredMessage[] {
    message.state = 'waiting'
    this.#waiting.add(message)
    if (!this.#isLimited) return none
    this.#bytes += bodyBytes(message.body)
    const dropped: StoredMessage[] = []
    while (!this.limits.refusesOverflow && isOver(this.limits, this.#load)) {
      const first = this.takeFirst()
      if (first === undefined) break
      dropped.push(first)
    }
    return dropped
  }

  /** The first message, which waits no longer. */
  takeFirst(): StoredMessage | undefined {
    const first = this.#waiting.takeFirst()
    if (this.#isLimited && first !== undefined) this.#bytes -= bodyBytes(first.body)
    return first
  }

  /** Removes all that waits; what it was. */
  clear(): StoredMessage[] {
    const removed = this.#waiting.remove(() => true)
    this.#bytes = 0
    for (const message of removed) message.state = 'gone'
    return removed
  }

  get #load(): QueueLoad {
    return { messages: this.#waiting.size, bytes: this.#bytes }
  }
}

const none: readonly StoredMessage[] = []

function isBefore(a: StoredMessage, b: StoredMessage): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.id < b.id)
}
