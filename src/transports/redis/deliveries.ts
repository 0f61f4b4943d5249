import type { PlacedEnd } from '../../protocol/result.js'
import type { AckEnded } from '../../transport.js'
import type { Claimed } from './claim.js'
import type { RedisConsumer } from './consumer.js'
import { type DeliveryOwner, RedisDelivery, type Settlement } from './delivery.js'
import { type Opened, openEnvelope } from './envelope.js'
import type { GiveBacks } from './give-backs.js'
import type { Leases } from './leases.js'
import type { Pump } from './pump.js'
import type { Counters, Return } from './returns.js'

interface DeliveriesParts {
  readonly consumers: ReadonlySet<RedisConsumer>
  readonly leases: Leases
  readonly pump: Pump
  readonly giveBacks: GiveBacks
  readonly counters: Counters
  readonly leaseId: (lease: number) => string
  readonly isClosing: () => boolean
}

/**
 * The deliveries that a connection gives out, from a claim or a channel to their settlement.
 *
 *   claimed ─▶ opened ─▶ consumer ─┬─ ack ───────────────────▶ pump
 *     heard ─▶   │ unreadable      └─ release, reject, defer ─▶ give-backs
 *                └────────────────────────────────────────────▶ dead letters
 */
export class Deliveries implements DeliveryOwner {
  readonly #parts: DeliveriesParts

  constructor(parts: DeliveriesParts) {
    this.#parts = parts
  }

  /** What a claim found; what nobody wants any more goes back. */
  claimed(consumer: RedisConsumer, claimed: readonly Claimed[]): void {
    const { leases, giveBacks, leaseId, isClosing } = this.#parts
    const deliveries: RedisDelivery[] = []
    const unwanted: Return[] = []
    for (const { lease, queue, raw } of claimed) {
      if (isClosing() || consumer.isCancelled || !consumer.queues.includes(queue)) {
        unwanted.push({ id: leaseId(lease), counted: false })
        continue
      }
      const opened = openFor(raw, queue, consumer)
      if ('reason' in opened) {
        giveBacks.bury([{ id: leaseId(lease), queue, reason: opened.reason, deliveries: 0, claimed: true }])
        continue
      }
      const delivery = new RedisDelivery(this, queue, opened, { lease, bytes: raw.length })
      leases.hold(delivery, consumer)
      deliveries.push(delivery)
    }
    if (unwanted.length > 0) giveBacks.giveBack(unwanted)
    if (deliveries.length > 0) consumer.onDeliveries(deliveries)
  }

  /** What was told on a channel that the queue listens to. */
  heard(consumer: RedisConsumer, queue: string, raw: Buffer | null): void {
    if (raw === null || this.#parts.isClosing()) return
    const opened = openFor(raw, queue, consumer)
    if ('reason' in opened) {
      this.#parts.giveBacks.buryHeard({ queue, reason: opened.reason, deliveries: 0, raw })
      return
    }
    consumer.hear(new RedisDelivery(this, queue, opened, { lease: 0, bytes: raw.length, raw }))
  }

  settle(delivery: RedisDelivery, settlement: Settlement): void {
    const { counters, giveBacks, pump } = this.#parts
    const consumer = this.#letGo(delivery)
    if (delivery.isLost) counters.lateSettlements++
    else if (settlement.kind === 'ack') {
      if (delivery.lease > 0) pump.ack(delivery.lease)
    } else giveBacks.settle(delivery, settlement)
    if (consumer !== undefined && consumer.wanted > 0) pump.soon()
  }

  end(delivery: RedisDelivery, end: PlacedEnd, ended: AckEnded): void {
    const { leases, pump } = this.#parts
    pump.end(delivery.lease, end, leases.letGoAfter(delivery, ended))
  }

  /** The consumer that may claim again. */
  #letGo(delivery: RedisDelivery): RedisConsumer | undefined {
    const { consumers, leases } = this.#parts
    if (delivery.lease > 0) return leases.letGo(delivery)
    for (const consumer of consumers) consumer.letGo(delivery)
    return undefined
  }
}

function openFor(raw: Buffer, queue: string, consumer: RedisConsumer): Opened | { readonly reason: string } {
  const opened = openEnvelope(raw)
  if ('reason' in opened) consumer.onRefused?.(queue, opened.reason)
  return opened
}
