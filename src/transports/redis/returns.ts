/** Messages that go back to their lists, or to the dead letters: what a consumer gives back, and what a sweep finds. */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../internal/clock.js'
import { integerOf, listOf, type RedisLink, type Reply } from '../../internal/redis/link.js'
import { markRedelivered, readEnvelope, reasonOf } from './envelope.js'
import type { Layout } from './layout.js'
import type { RedisBrokerOptions } from './options.js'
import type { Scripts } from './scripts.js'
import type { RedisTopology } from './topology.js'
import { readUnacked, tailOf, type Unacked } from './unacked.js'

/** Dead letters are bounded: beyond so many the oldest go. */
const deadLetterLimit = 10_000
/** Entries in one script. */
const batchSize = 100

export interface Counters {
  lateSettlements: number
  deadLettersDropped: number
}

/** A message that goes back. */
export interface Return {
  /** Its field in `unacked`. */
  readonly id: string
  /** A run of it ended abnormally. */
  readonly counted: boolean
}

/** A message that goes to the dead letters. */
export interface Burial {
  readonly id: string
  readonly queue: string
  readonly reason: string
  readonly deliveries: number
  /** It lies as a claim of ours wrote it: a large message need not come over the line once more to see where it ends. */
  readonly claimed?: true
}

/** A broadcast that goes to the dead letters: it lies nowhere else. */
export interface Heard {
  readonly queue: string
  readonly reason: string
  readonly deliveries: number
  readonly raw: Buffer
}

interface ReturnsParts {
  readonly layout: Layout
  readonly topology: RedisTopology
  readonly options: RedisBrokerOptions
  readonly clock: Clock
  readonly counters: Counters
}

export class Returns {
  readonly #parts: ReturnsParts

  constructor(parts: ReturnsParts) {
    this.#parts = parts
  }

  /** The first of the list comes out first again. How many were gone already. */
  async giveBack(link: RedisLink, scripts: Scripts, items: readonly Return[]): Promise<number> {
    let late = 0
    // The last ones first: each batch lies before those that were pushed earlier.
    for (let end = items.length; end > 0; end -= batchSize) {
      const batch = items.slice(Math.max(0, end - batchSize), end)
      const values = listOf(await link.call('HMGET', [this.#parts.layout.unacked, ...batch.map(({ id }) => id)]))
      late += await this.#giveBackBatch(link, scripts, batch, values)
    }
    return late
  }

  async #giveBackBatch(link: RedisLink, scripts: Scripts, batch: readonly Return[], values: readonly Reply[]): Promise<number> {
    const { layout } = this.#parts
    const lists: string[] = []
    const args: (Buffer | string)[] = []
    const burials: Burial[] = []
    let late = 0
    for (let index = batch.length - 1; index >= 0; index--) {
      const item = batch[index]
      const value = values[index]
      if (item === undefined) continue
      if (!(value instanceof Buffer)) {
        late++
        continue
      }
      const plan = await this.#plan(link, item, value)
      if ('reason' in plan) burials.push(plan)
      else {
        for (const [place, list] of plan.lists.entries()) {
          lists.push(list)
          args.push(place === 0 ? item.id : '', plan.envelope)
        }
      }
    }
    if (lists.length > 0) {
      const gone = integerOf(await scripts.restore.run(link, [layout.unacked, layout.unackedIndex, ...lists], args))
      late += gone
    }
    if (burials.length > 0) late += await this.bury(link, scripts, burials)
    // The index alone names what is in no hash: kombu removes such entries, too.
    const orphans = batch.filter((_, index) => !(values[index] instanceof Buffer)).map(({ id }) => id)
    if (orphans.length > 0) await link.call('ZREM', [layout.unackedIndex, ...orphans])
    return late
  }

  async #plan(
    link: RedisLink,
    item: Return,
    value: Buffer,
  ): Promise<Burial | { readonly lists: readonly string[]; readonly envelope: Buffer | string }> {
    const { layout, topology, options } = this.#parts
    let unacked: Unacked | undefined
    try {
      unacked = readUnacked(value)
      const opened = readEnvelope(unacked.raw)
      const deliveries = opened.deliveries + (item.counted ? 1 : 0)
      const { exchange, routingKey } = unacked.to
      if (deliveries >= options.deliveryLimit) {
        const reason = `it was delivered ${deliveries} times, and each time its worker was lost`
        return { id: item.id, queue: routingKey, reason, deliveries }
      }
      const queues = await topology.route(link, exchange, routingKey)
      if (queues.length === 0) {
        const reason = `no queue is bound to its exchange ${JSON.stringify(exchange)} with the routing key ${JSON.stringify(routingKey)} any more`
        return { id: item.id, queue: routingKey, reason, deliveries }
      }
      return {
        lists: queues.map((queue) => layout.listFor(queue, opened.message.properties.priority)),
        envelope: markRedelivered(unacked.raw, deliveries, opened),
      }
    } catch (error) {
      return { id: item.id, queue: unacked?.to.routingKey ?? '', reason: reasonOf(error), deliveries: 0 }
    }
  }

  /** Moves messages to the dead letters with their original bytes. How many were gone already. */
  async bury(link: RedisLink, scripts: Scripts, burials: readonly Burial[]): Promise<number> {
    const { layout, clock, counters } = this.#parts
    const nowMs = Math.trunc(clock.now())
    const args: (string | number)[] = [deadLetterLimit, nowMs]
    // The list around the envelope: one bracket before it, and the names behind it.
    const tails = await Promise.all(
      burials.map(({ id, queue, claimed }) => (claimed ? Buffer.byteLength(tailOf(queue)) : this.#behind(link, id))),
    )
    for (const [index, { id, queue, reason, deliveries }] of burials.entries()) {
      const behind = tails[index]
      args.push(id, randomUUID(), JSON.stringify({ queue, reason, diedAtMs: nowMs, deliveries }), behind === undefined ? 0 : 1, behind ?? 0)
    }
    const keys = [layout.unacked, layout.unackedIndex, layout.dead, layout.deadIndex]
    const [late, dropped] = listOf(await scripts.bury.run(link, keys, args))
    counters.deadLettersDropped += integerOf(dropped)
    return integerOf(late)
  }

  /** What was heard on a channel lies nowhere else. */
  async buryHeard(link: RedisLink, scripts: Scripts, { queue, reason, deliveries, raw }: Heard): Promise<void> {
    const { layout, clock, counters } = this.#parts
    const nowMs = Math.trunc(clock.now())
    const id = randomUUID()
    const letter = Buffer.concat([Buffer.from(`${JSON.stringify({ queue, reason, diedAtMs: nowMs, deliveries })}\n`, 'utf8'), raw])
    counters.deadLettersDropped += integerOf(
      await scripts.buryHeard.run(link, [layout.dead, layout.deadIndex], [deadLetterLimit, nowMs, id, letter]),
    )
  }

  async #behind(link: RedisLink, id: string): Promise<number | undefined> {
    const value = await link.call('HGET', [this.#parts.layout.unacked, id])
    if (!(value instanceof Buffer)) return undefined
    try {
      return readUnacked(value).behind
    } catch {
      return undefined
    }
  }
}
