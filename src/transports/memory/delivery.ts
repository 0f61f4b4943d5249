import type { Message } from '../../protocol/message.js'
import { decodeHead } from '../../protocol/message-head.js'
import type { Delivery } from '../../transport.js'
import type { MemoryBroker } from './broker.js'
import type { StoredMessage } from './queue.js'

/** A message that a consumer holds. */
export class MemoryDelivery implements Delivery {
  readonly stored: StoredMessage
  readonly message: Message
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  readonly redelivered: boolean
  readonly deliveries: number
  readonly #take: (delivery: MemoryDelivery) => MemoryBroker | undefined
  #isSettled = false
  #isLost = false

  constructor(stored: StoredMessage, take: (delivery: MemoryDelivery) => MemoryBroker | undefined) {
    const { message, to } = decodeHead(stored.head, stored.body)
    this.stored = stored
    this.message = message
    this.queue = stored.queue.name
    this.exchange = to.exchange
    this.routingKey = to.routingKey
    this.redelivered = stored.redelivered
    this.deliveries = stored.deliveries
    this.#take = take
  }

  get isLost(): boolean {
    return this.#isLost
  }

  ack(): void {
    this.#settle()?.done(this.stored)
  }

  release({ counted = false }: { readonly counted?: boolean } = {}): void {
    this.#settle()?.release(this.stored, { counted })
  }

  reject(reason: string): void {
    this.#settle()?.bury(this.stored, reason)
  }

  defer(untilMs: number): void {
    this.#settle()?.defer(this.stored, untilMs)
  }

  /** It went back with its connection: nothing that is said about it counts any more. */
  lose(): void {
    if (this.#isSettled) return
    this.#isLost = true
  }

  #settle(): MemoryBroker | undefined {
    if (this.#isSettled) return undefined
    this.#isSettled = true
    return this.#take(this)
  }
}
