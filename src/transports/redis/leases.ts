/** The deliveries that are out, by the numbers of their leases, and what keeps those leases. */
import { Worker as Thread } from 'node:worker_threads'
import type { Clock, Timer } from '../../internal/clock.js'
import type { Logger } from '../../internal/logger.js'
import { integerOf, listOf, type RedisLink, type RedisTarget } from '../../internal/redis/link.js'
import type { AckEnded } from '../../transport.js'
import type { RedisConsumer } from './consumer.js'
import type { RedisDelivery } from './delivery.js'
import type { Layout } from './layout.js'
import { LeaseTable } from './lease-table.js'
import type { LeaseThreadData } from './lease-thread.js'
import type { Scripts } from './scripts.js'

/** Leases in one script. */
const pageSize = 1_000

interface LeasesParts {
  readonly target: RedisTarget
  readonly layout: Layout
  readonly clock: Clock
  readonly log: Logger
  readonly ttlMs: number
  readonly leaseId: (lease: number) => string
  readonly link: () => { readonly link: RedisLink; readonly scripts: Scripts } | undefined
  /** A lost link is no failure: whoever makes the next one refreshes first. */
  readonly onFailure: (error: unknown) => void
}

/** A class, as all that lives as long as a message: see decision 40. */
class Hold {
  constructor(
    readonly delivery: RedisDelivery,
    readonly consumer: RedisConsumer,
  ) {}
}

export class Leases {
  readonly #table = new LeaseTable()
  readonly #parts: LeasesParts
  readonly #held = new Map<number, Hold>()
  #timer: Timer | undefined
  #thread: Thread | undefined

  constructor(parts: LeasesParts) {
    this.#parts = parts
  }

  hold(delivery: RedisDelivery, consumer: RedisConsumer): void {
    delivery.slot = this.#table.add(delivery.lease)
    this.#held.set(delivery.lease, new Hold(delivery, consumer))
    consumer.hold(delivery)
  }

  /** The consumer that has a place again. */
  letGo(delivery: RedisDelivery): RedisConsumer | undefined {
    const held = this.#held.get(delivery.lease)
    if (held === undefined) return undefined
    this.#held.delete(delivery.lease)
    this.#table.remove(delivery.slot)
    held.consumer.letGo(delivery)
    return held.consumer
  }

  /** Its place is free at once; its lease is kept until it is settled, and for longer if it is not (anything but true). Gives what is to be called then. */
  letGoAfter(delivery: RedisDelivery, ended: AckEnded): AckEnded {
    const consumer = this.#held.get(delivery.lease)?.consumer
    consumer?.letGo(delivery)
    return (done) => {
      if (done === true) this.letGo(delivery)
      else {
        if (this.#held.has(delivery.lease)) consumer?.hold(delivery)
        delivery.unsettle()
      }
      ended(done)
    }
  }

  /** Lets go of all, in the order in which they were claimed. Nothing that is said about them counts any more. */
  loseAll(): readonly number[] {
    const leases = [...this.#held.keys()].sort((a, b) => a - b)
    for (const { delivery } of this.#held.values()) {
      this.#table.remove(delivery.slot)
      delivery.lose()
    }
    this.#held.clear()
    return leases
  }

  /** Refreshes again and again until `stop()`. */
  start(): void {
    this.#timer = this.#parts.clock.setTimer(this.#parts.ttlMs / 6, () => {
      this.#table.beat()
      const linked = this.#parts.link()
      const refreshed = linked === undefined ? Promise.resolve() : this.refresh(linked.link, linked.scripts)
      refreshed.catch(this.#parts.onFailure).finally(() => {
        if (this.#timer !== undefined) this.start()
      })
    })
  }

  /** Tasks may block the event loop for so long. A lease that outlives that needs no more than it; for longer blocks a thread refreshes (about 20 MB). */
  surviveBlocks(longestBlockMs: number, allowOom: boolean): void {
    const { ttlMs, layout, leaseId, target, log } = this.#parts
    const shortMs = ttlMs - ttlMs / 6 - 1_000
    if (this.#thread !== undefined || longestBlockMs <= Math.max(0, shortMs)) return
    if (target.recipe === undefined) {
      log.warn(
        {},
        `a task that blocks the event loop for more than ${shortMs / 1000} s may run twice: no thread can come to the broker by a client of your own. Give its URL, or use the prefork pool`,
      )
      return
    }
    const data: LeaseThreadData = {
      target: target.recipe,
      memory: this.#table.memory,
      unackedIndex: layout.unackedIndex,
      idPrefix: leaseId(0).slice(0, -1),
      ttlMs,
      allowOom,
      longestBlockMs,
    }
    this.#thread = new Thread(new URL('./lease-thread.js', import.meta.url), { workerData: data })
    this.#thread.unref()
    this.#thread.on('error', this.#parts.onFailure)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    void this.#thread?.terminate()
  }

  /** Those that are gone learn it here. */
  async refresh(link: RedisLink, scripts: Scripts): Promise<void> {
    const { layout, ttlMs, leaseId } = this.#parts
    const leases = [...this.#held.keys()]
    for (let from = 0; from < leases.length; from += pageSize) {
      const page = leases.slice(from, from + pageSize)
      const gone = listOf(await scripts.refresh.run(link, [layout.unackedIndex], [ttlMs / 1000, ...page.map(leaseId)]))
      for (const place of gone) this.#held.get(page[integerOf(place) - 1] ?? 0)?.delivery.lose()
    }
  }
}
