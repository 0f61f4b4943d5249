/** Everything but acks that is said about deliveries: gathered over a tick, then written. */
import type { Clock } from '../../internal/clock.js'
import type { Logger } from '../../internal/logger.js'
import { integerOf, type RedisLink } from '../../internal/redis/link.js'
import type { RedisDelivery, Settlement } from './delivery.js'
import type { Layout } from './layout.js'
import type { Burial, Counters, Heard, Return, Returns } from './returns.js'
import type { Scripts } from './scripts.js'
import { ServerClock } from './server-clock.js'
import type { Session } from './session.js'
import { etaPrefix } from './sweeper.js'

/** Leases in one script. */
const batchSize = 200

interface GiveBacksParts {
  readonly layout: Layout
  readonly session: Session
  readonly returns: Returns
  readonly scripts: () => Scripts
  readonly counters: Counters
  readonly clock: Clock
  readonly log: Logger
  /** Names this process in the leases of messages that wait for their time. */
  readonly boot: string
  readonly leaseId: (lease: number) => string
  /** Something may be there to be claimed again, now or later. */
  readonly onWritten: () => void
}

interface Settled {
  readonly delivery: RedisDelivery
  readonly settlement: Settlement
}

interface Deferred {
  readonly delivery: RedisDelivery
  readonly untilMs: number
}

export class GiveBacks {
  readonly #parts: GiveBacksParts
  readonly #underWay = new Set<Promise<void>>()
  readonly #serverClock: ServerClock
  #waiting: Settled[] = []

  constructor(parts: GiveBacksParts) {
    this.#parts = parts
    this.#serverClock = new ServerClock(parts.clock)
  }

  settle(delivery: RedisDelivery, settlement: Settlement): void {
    this.#waiting.push({ delivery, settlement })
    if (this.#waiting.length > 1) return
    setImmediate(() => {
      const batch = this.#waiting
      this.#waiting = []
      this.#track(this.#write(batch))
    })
  }

  /** Messages that were claimed and are not wanted. */
  giveBack(items: readonly Return[]): void {
    const { session, returns, scripts } = this.#parts
    this.#track(session.repeat((link) => returns.giveBack(link, scripts(), items)))
  }

  /** Messages that are none. */
  bury(burials: readonly Burial[]): void {
    const { session, returns, scripts } = this.#parts
    this.#track(session.repeat((link) => returns.bury(link, scripts(), burials)))
  }

  buryHeard(letter: Heard): void {
    const { session, returns, scripts } = this.#parts
    this.#track(session.repeat((link) => returns.buryHeard(link, scripts(), letter)))
  }

  /** Settles when everything is written. */
  async idle(): Promise<void> {
    while (this.#waiting.length > 0 || this.#underWay.size > 0) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      await Promise.all(this.#underWay)
    }
  }

  async #write(batch: readonly Settled[]): Promise<void> {
    const { layout, session, returns, scripts, counters, leaseId } = this.#parts
    const kept: (readonly [list: string, raw: Buffer])[] = []
    const releases: Return[] = []
    const burials: Burial[] = []
    const deferred: Deferred[] = []
    for (const { delivery, settlement } of batch) {
      const { lease, queue, deliveries, raw } = delivery
      // A broadcast lies nowhere that it could go back to: it becomes a message of the queue that heard it.
      if (lease === 0) {
        if (raw === undefined) continue
        if (settlement.kind === 'reject') this.buryHeard({ queue, reason: settlement.reason, deliveries, raw })
        else if (settlement.kind !== 'ack') kept.push([layout.listFor(queue, delivery.message.properties.priority), raw])
      } else if (settlement.kind === 'release') releases.push({ id: leaseId(lease), counted: settlement.counted })
      else if (settlement.kind === 'reject') burials.push({ id: leaseId(lease), queue, reason: settlement.reason, deliveries })
      else if (settlement.kind === 'defer') deferred.push({ delivery, untilMs: settlement.untilMs })
    }
    // Each step again when its link is lost: what was done by then counts as late, and only that.
    let late = 0
    for (const [list, raw] of kept) await session.repeat((link) => link.call('LPUSH', [list, raw]))
    if (deferred.length > 0) late += await session.repeat((link) => this.#defer(link, deferred))
    if (releases.length > 0) late += await session.repeat((link) => returns.giveBack(link, scripts(), releases))
    if (burials.length > 0) late += await session.repeat((link) => returns.bury(link, scripts(), burials))
    counters.lateSettlements += late
  }

  async #defer(link: RedisLink, deferred: readonly Deferred[]): Promise<number> {
    const { layout, boot, leaseId, scripts } = this.#parts
    const aheadMs = await this.#serverClock.aheadMs(link)
    const late = [...byQueue(deferred)].flatMap(([queue, all]) =>
      batches(all).map(async (batch) => {
        const args = batch.flatMap(({ delivery, untilMs }) => [
          leaseId(delivery.lease),
          `${etaPrefix}${boot}:${delivery.lease}`,
          ((untilMs + aheadMs) / 1000).toFixed(6),
        ])
        return integerOf(await scripts().defer.run(link, [layout.unacked, layout.unackedIndex, layout.eta(queue)], args))
      }),
    )
    return (await Promise.all(late)).reduce((sum, count) => sum + count, 0)
  }

  #track(work: Promise<unknown>): void {
    const done: Promise<void> = work
      .then(
        () => {},
        (error: unknown) => {
          // The leases end by themselves then, and a sweep gives the messages back.
          this.#parts.log.warn({ err: error }, 'messages could not be given back to Redis now; they go back when their lease ends')
        },
      )
      .finally(() => {
        this.#underWay.delete(done)
        this.#parts.onWritten()
      })
    this.#underWay.add(done)
  }
}

function byQueue(deferred: readonly Deferred[]): ReadonlyMap<string, readonly Deferred[]> {
  const queues = new Map<string, Deferred[]>()
  for (const each of deferred) {
    const same = queues.get(each.delivery.queue)
    if (same === undefined) queues.set(each.delivery.queue, [each])
    else same.push(each)
  }
  return queues
}

function batches<T>(items: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / batchSize) }, (_, index) => items.slice(index * batchSize, (index + 1) * batchSize))
}
