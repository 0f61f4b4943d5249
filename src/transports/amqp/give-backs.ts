/** What is said about deliveries, in the words that the broker has for it: it counts only for quorum queues, and puts aside nothing by itself. */
import type { Clock } from '../../internal/clock.js'
import type { Logger } from '../../internal/logger.js'
import type { AmqpDeadLetters } from './dead-letters.js'
import type { Delays } from './delays.js'
import type { Held, Settlement } from './delivery.js'
import type { Publisher } from './publisher.js'
import type { AmqpTopology } from './topology.js'
import { again, deliveriesHeader, type Outgoing } from './wire.js'

/** For putting a message elsewhere before it is acknowledged here. */
const deadlineMs = 30_000
/** A message that could not be put elsewhere goes back, but not at once: it would come again at once. */
const pauseMs = 1_000

interface GiveBacksParts {
  readonly publisher: Publisher
  readonly topology: AmqpTopology
  readonly deadLetters: AmqpDeadLetters
  readonly delays: Delays
  readonly clock: Clock
  readonly log: Logger
  readonly deliveryLimit: number
  /** Of the server: 3.10 is 310. */
  readonly version: () => number
}

export class GiveBacks {
  readonly #parts: GiveBacksParts
  readonly #underWay = new Set<Promise<void>>()

  constructor(parts: GiveBacksParts) {
    this.#parts = parts
  }

  settle(held: Held, deliveries: number, settlement: Settlement): void {
    switch (settlement.kind) {
      case 'ack':
        return held.on.ack(held.raw)
      case 'release':
        return settlement.counted ? this.#releaseCounted(held, deliveries) : this.#release(held, deliveries)
      case 'reject':
        return this.#bury(held, deliveries, settlement.reason)
      case 'defer':
        return this.#delay(held, deliveries, settlement.untilMs)
      default:
        return settlement satisfies never
    }
  }

  /** Whether nobody's count is raised by the end of the channel, nor by a message that goes back. */
  keepsCount(queue: string): boolean {
    // Quorum queues count everything that goes back, until 4.3 also what was only given back.
    return !this.#parts.topology.isQuorum(queue) || this.#parts.version() >= 403
  }

  /** Settles when everything is where it belongs. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  #release(held: Held, deliveries: number): void {
    if (this.keepsCount(held.queue)) held.on.giveBack(held.raw, { counted: false })
    else this.#move(held, () => this.#put(again(held.raw, { [deliveriesHeader]: deliveries }), held.queue))
  }

  #releaseCounted(held: Held, deliveries: number): void {
    const { topology, deliveryLimit } = this.#parts
    const count = deliveries + 1
    if (count >= deliveryLimit) return this.#bury(held, count, `it was delivered ${count} times, and each time its worker was lost`)
    if (topology.isQuorum(held.queue)) held.on.giveBack(held.raw, { counted: true })
    else this.#move(held, () => this.#put(again(held.raw, { [deliveriesHeader]: count }), held.queue))
  }

  #bury({ raw, queue, on }: Held, deliveries: number, reason: string): void {
    this.#move({ raw, queue, on }, () => this.#parts.deadLetters.bury({ raw, queue, reason, deliveries }))
  }

  #delay(held: Held, deliveries: number, untilMs: number): void {
    const { clock, delays, publisher } = this.#parts
    // Not before its time, and with no time left it would come right back.
    const seconds = Math.ceil((untilMs - clock.now()) / 1000)
    if (seconds <= 0) return this.#release(held, deliveries)
    this.#move(held, async () => {
      const to = await delays.toQueue(held.queue, seconds)
      const outgoing = again(held.raw, deliveries === 0 ? {} : { [deliveriesHeader]: deliveries })
      await publisher.publish(outgoing, to, { deadlineMs, mandatory: true })
    })
  }

  #put(outgoing: Outgoing, queue: string): Promise<void> {
    return this.#parts.publisher.publish(outgoing, { exchange: '', routingKey: queue }, { deadlineMs, mandatory: true })
  }

  /** Done elsewhere first, then acknowledged here: a crash between the two makes two of one, never none. */
  #move({ raw, queue, on }: Held, work: () => Promise<void>): void {
    const { clock, log } = this.#parts
    const moved: Promise<void> = work()
      .then(
        () => on.ack(raw),
        async (error: unknown) => {
          if (!on.isOpen) return
          log.warn({ err: error, queue }, `a message of queue ${queue} could not be put elsewhere and goes back to it`)
          await new Promise<void>((resolve) => clock.setTimer(pauseMs, resolve))
          on.giveBack(raw, { counted: false })
        },
      )
      .finally(() => this.#underWay.delete(moved))
    this.#underWay.add(moved)
  }
}
