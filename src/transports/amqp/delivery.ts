/** A message that this process holds: unacknowledged on a channel. */
import type { AmqpMessage } from '../../internal/amqp/amqplib.js'
import type { Message } from '../../protocol/message.js'
import type { Delivery } from '../../transport.js'
import type { Settlements } from './settlements.js'
import { type Incoming, sentTo } from './wire.js'

export type Settlement =
  | { readonly kind: 'ack' }
  | { readonly kind: 'release'; readonly counted: boolean }
  | { readonly kind: 'reject'; readonly reason: string }
  | { readonly kind: 'defer'; readonly untilMs: number }

/** Whoever gave it out. */
export interface DeliveryOwner {
  settle(delivery: AmqpDelivery, settlement: Settlement): void
}

/** As it came, and the channel on which it must be settled. */
export interface Held {
  readonly raw: AmqpMessage
  readonly queue: string
  readonly on: Settlements
}

export class AmqpDelivery implements Delivery {
  readonly message: Message
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  readonly redelivered: boolean
  readonly deliveries: number
  readonly held: Held
  readonly #owner: DeliveryOwner
  #isSettled = false
  #cameLate = false

  constructor(owner: DeliveryOwner, held: Held, { message, redelivered, deliveries }: Incoming) {
    const to = sentTo(held.raw, held.queue)
    this.#owner = owner
    this.held = held
    this.queue = held.queue
    this.message = message
    this.exchange = to.exchange
    this.routingKey = to.routingKey
    this.redelivered = redelivered
    this.deliveries = deliveries
  }

  get isLost(): boolean {
    return this.#cameLate || (!this.#isSettled && !this.held.on.isOpen)
  }

  ack(): void {
    this.#settle(ack)
  }

  release({ counted = false }: { readonly counted?: boolean } = {}): void {
    this.#settle({ kind: 'release', counted })
  }

  reject(reason: string): void {
    this.#settle({ kind: 'reject', reason })
  }

  defer(untilMs: number): void {
    this.#settle({ kind: 'defer', untilMs })
  }

  #settle(settlement: Settlement): void {
    if (this.#isSettled) return
    this.#isSettled = true
    // A late one is handed on as well, once: its connection counts it.
    this.#cameLate = !this.held.on.isOpen
    this.#owner.settle(this, settlement)
  }
}

const ack: Settlement = { kind: 'ack' }
