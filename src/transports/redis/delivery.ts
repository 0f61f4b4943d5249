/** A message that this process holds: leased from a list, or heard on a channel. */
import type { Message } from '../../protocol/message.js'
import type { PlacedEnd } from '../../protocol/result.js'
import type { AckEnded, Delivery } from '../../transport.js'
import type { Opened } from './envelope.js'

export type Settlement =
  | { readonly kind: 'ack' }
  | { readonly kind: 'release'; readonly counted: boolean }
  | { readonly kind: 'reject'; readonly reason: string }
  | { readonly kind: 'defer'; readonly untilMs: number }

/** Whoever gave it out. */
export interface DeliveryOwner {
  settle(delivery: RedisDelivery, settlement: Settlement): void
  /** As `Delivery.ackWith`. */
  end(delivery: RedisDelivery, end: PlacedEnd, ended: AckEnded): void
}

export class RedisDelivery implements Delivery {
  /** The number of its lease; 0 for one that was heard on a channel, which has none. */
  readonly lease: number
  readonly message: Message
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  readonly redelivered: boolean
  readonly deliveries: number
  /** As it came, for one that was heard on a channel and lies nowhere else. */
  readonly raw: Buffer | undefined
  readonly bytes: number
  /** Where its lease stands among those that are refreshed; -1 without a lease. */
  slot = -1
  /** Among whose places it counts. */
  holder: object | undefined
  readonly #owner: DeliveryOwner
  #isSettled = false
  #isLost = false

  constructor(owner: DeliveryOwner, queue: string, opened: Opened, { lease, bytes, raw }: { lease: number; bytes: number; raw?: Buffer }) {
    this.#owner = owner
    this.lease = lease
    this.bytes = bytes
    this.raw = raw
    this.queue = queue
    this.message = opened.message
    this.exchange = opened.to.exchange
    this.routingKey = opened.to.routingKey
    this.redelivered = opened.redelivered
    this.deliveries = opened.deliveries
  }

  get isLost(): boolean {
    return this.#isLost
  }

  ack(): void {
    this.#settle(ack)
  }

  ackWith(end: PlacedEnd, ended: AckEnded): void {
    if (this.#isSettled || this.#isLost || this.lease === 0) return ended(undefined)
    this.#isSettled = true
    this.#owner.end(this, end, ended)
  }

  /** `ackWith` was not possible: whoever holds it settles it in another way. */
  unsettle(): void {
    this.#isSettled = false
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

  /** The lease is gone: nothing that is said about this delivery counts any more. */
  lose(): void {
    if (!this.#isSettled) this.#isLost = true
  }

  #settle(settlement: Settlement): void {
    if (this.#isSettled) return
    this.#isSettled = true
    // A lost one is handed on as well, once: its connection counts it as late.
    this.#owner.settle(this, settlement)
  }
}

const ack: Settlement = { kind: 'ack' }
