/** A message that this process holds the lease of. */
import type { Message } from '../../protocol/message.js'
import type { PlacedEnd } from '../../protocol/result.js'
import type { Destination } from '../../protocol/topology.js'
import type { AckEnded, Delivery } from '../../transport.js'
import type { Settlement } from './settle.js'

export interface ClaimedMessage {
  readonly id: number
  readonly queue: string
  readonly message: Message
  readonly to: Destination
  readonly deliveries: number
  readonly redelivered: boolean
}

/** Whom a delivery tells. */
export interface DeliveryOwner {
  readonly onSettled: (delivery: SqliteDelivery, settlement: Settlement) => void
  readonly onEnd: (delivery: SqliteDelivery, end: PlacedEnd, ended: AckEnded) => void
}

export class SqliteDelivery implements Delivery {
  readonly id: number
  readonly message: Message
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  readonly redelivered: boolean
  readonly deliveries: number
  readonly #onSettled: (delivery: SqliteDelivery, settlement: Settlement) => void
  readonly #onEnd: (delivery: SqliteDelivery, end: PlacedEnd, ended: AckEnded) => void
  #isSettled = false
  #isLost = false

  constructor(claimed: ClaimedMessage, { onSettled, onEnd }: DeliveryOwner) {
    this.id = claimed.id
    this.message = claimed.message
    this.queue = claimed.queue
    this.exchange = claimed.to.exchange
    this.routingKey = claimed.to.routingKey
    this.redelivered = claimed.redelivered
    this.deliveries = claimed.deliveries
    this.#onSettled = onSettled
    this.#onEnd = onEnd
  }

  get isLost(): boolean {
    return this.#isLost
  }

  ack(): void {
    this.#settle({ kind: 'ack', id: this.id })
  }

  ackWith(end: PlacedEnd, ended: AckEnded): void {
    if (this.#isSettled || this.#isLost) return ended(undefined)
    this.#isSettled = true
    this.#onEnd(this, end, ended)
  }

  /** `ackWith` was not possible: whoever holds it settles it in another way. */
  unsettle(): void {
    this.#isSettled = false
  }

  release({ counted = false }: { readonly counted?: boolean } = {}): void {
    this.#settle({ kind: 'release', id: this.id, counted })
  }

  reject(reason: string): void {
    this.#settle({ kind: 'reject', id: this.id, reason })
  }

  defer(untilMs: number): void {
    this.#settle({ kind: 'defer', id: this.id, untilMs })
  }

  /** The lease is gone: nothing that is said about this delivery counts any more. */
  lose(): void {
    if (this.#isSettled) return
    this.#isLost = true
  }

  #settle(settlement: Settlement): void {
    if (this.#isSettled) return
    this.#isSettled = true
    // A lost one is handed on as well, once: its connection counts it as late.
    this.#onSettled(this, settlement)
  }
}
