/**
 * Everything that the consumers of a connection settle and claim in one tick is one piece of the tick's transaction:
 *
 *   delivery.ack() ─┐
 *   release, defer ─┼─▶ settlements ─▶ pump: settle ─▶ promote what is due ─▶ claim ─▶ COMMIT ─▶ onDeliveries
 *   a bell, a slot ─┘                                                          (a short claim: wait for a bell or the next due time)
 */
import type { Clock, Timer } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { SqliteLocation } from '../../internal/sqlite/location.js'
import { resultRow } from '../../internal/sqlite/result-rows.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import type { PlacedEnd } from '../../protocol/result.js'
import type { AckEnded } from '../../transport.js'
import type { Claim, SqliteConsumer } from './consumer.js'
import { type DeliveryOwner, SqliteDelivery } from './delivery.js'
import { leasePatienceMs } from './owners.js'
import type { Ownership } from './ownership.js'
import { delayedMark } from './publisher.js'
import { End, promoteDue, type Settled, type Settlement, settle, settleLimits } from './settle.js'
import { decodeStored } from './stored-message.js'

/** How long acks wait for others, while their consumer holds plenty: a transaction of its own for each would cost more than a short task. */
const ackPatienceMs = 10
// The wall clock may be set while a timer waits: it is read again at least this often.
const longestDueWaitMs = 30_000

interface Pumped {
  readonly owner: number
  /** The owner before was found dead by somebody: its deliveries are theirs. */
  readonly ownerLost: boolean
  readonly settlements: number
  /** Without `stored` nothing was. */
  readonly settled: Omit<Settled, 'stored'> & { readonly stored: Settled['stored'] | undefined }
  readonly nextDueMs: number | undefined
  readonly claims: readonly { readonly consumer: SqliteConsumer; readonly claims: readonly Claim[]; readonly exhausted: boolean }[]
  readonly hasClaimed: boolean
  readonly rings: number
}

interface PumpParts {
  readonly database: SqliteDatabase
  readonly location: SqliteLocation
  readonly clock: Clock
  readonly ownership: Ownership
  /** Those that are cancelled leave when they hold nothing any more. */
  readonly consumers: Set<SqliteConsumer>
  readonly counters: { lateSettlements: number; deadLettersDropped: number }
  readonly isClosing: () => boolean
  readonly onFailed: (error: unknown) => void
}

export class Pump {
  readonly #parts: PumpParts
  #settlements: Settlement[] = []
  #ackTimer: Timer | undefined
  #isQueued = false
  /** The next transaction is to claim, too. */
  #claims = false
  /** Rises with each bell, so that one between a claim and its COMMIT's promise is not missed. */
  #rings = 0
  /** The last claim found something: the next bell probably rings for this process, too, and a look before the claim would only cost time. */
  #expectsWork = false
  #nextDueMs: number | undefined = Number.NEGATIVE_INFINITY
  #dueTimer: Timer | undefined

  constructor(parts: PumpParts) {
    this.#parts = parts
  }

  /** Settles and claims at the end of this tick. */
  soon(): void {
    this.#claims = true
    this.#queue()
    if (!this.#isQueued) return
    this.#ackTimer?.cancel()
    this.#ackTimer = undefined
  }

  #queue(): void {
    if (this.#isQueued || this.#parts.isClosing()) return
    this.#isQueued = true
    const { database, location } = this.#parts
    database
      .write((sql) => this.#pump(sql), { essential: true, last: true, patienceMs: leasePatienceMs(location.leaseTtlMs) })
      .then(
        (pumped) => this.#onPumped(pumped),
        (error) => this.#parts.onFailed(error),
      )
  }

  /** A bell rang: `what` has changed, or nobody knows what. */
  hear(what: ReadonlySet<string> | undefined): void {
    if (what === undefined && !this.#expectsWork && !this.#seesWork()) return
    this.#rings += 1
    if (what === undefined || what.has(delayedMark)) this.#nextDueMs = Number.NEGATIVE_INFINITY
    for (const consumer of this.#parts.consumers) {
      if (what === undefined || what.has(delayedMark) || consumer.queues.some((queue) => what.has(queue))) consumer.wake()
    }
  }

  /** Nothing that is said of what was given out counts any more. */
  loseAll(): void {
    const { consumers } = this.#parts
    for (const consumer of consumers) {
      const held = [...consumer.held]
      consumer.held.clear()
      for (const delivery of held) delivery.lose()
      consumer.hungry = true
      if (consumer.isCancelled) consumers.delete(consumer)
    }
  }

  /** What is still to be settled, by whoever takes it. */
  takeSettlements(): readonly Settlement[] {
    const settlements = this.#settlements
    this.#settlements = []
    return settlements
  }

  stop(): void {
    this.#ackTimer?.cancel()
    this.#dueTimer?.cancel()
  }

  #pump(sql: Sql): Pumped {
    const { ownership, location, clock, consumers } = this.#parts
    const { owner, ownerLost } = ownership.ensure(sql)
    const nowMs = clock.now()
    const settlements = this.#settlements
    const settled = ownerLost
      ? { late: settlements.length, deadLettersDropped: 0, stored: undefined }
      : settle(sql, owner, settlements, settleLimits(location, nowMs))
    const isDue = this.#nextDueMs !== undefined && this.#nextDueMs <= nowMs
    const nextDueMs = isDue ? promoteDue(sql, nowMs) : this.#nextDueMs
    const claims = []
    const hasClaimed = this.#claims
    if (hasClaimed)
      for (const consumer of consumers) if (consumer.wanted > 0) claims.push({ consumer, ...consumer.claim(sql, owner, nowMs) })
    return { owner, ownerLost, settlements: settlements.length, settled, nextDueMs, claims, hasClaimed, rings: this.#rings }
  }

  #onPumped(pumped: Pumped): void {
    const { ownership, consumers, counters, isClosing } = this.#parts
    this.#isQueued = false
    if (pumped.hasClaimed) this.#claims = false
    const done = this.#settlements.splice(0, pumped.settlements)
    counters.lateSettlements += pumped.settled.late
    counters.deadLettersDropped += pumped.settled.deadLettersDropped
    if (pumped.ownerLost) this.loseAll()
    ownership.become(pumped.owner)
    for (const settlement of done) if (settlement.kind === 'end') settlement.ended(pumped.settled.stored?.has(settlement))
    // A bell that rang meanwhile may have told of an earlier due time.
    if (this.#rings === pumped.rings) this.#nextDueMs = pumped.nextDueMs
    if (pumped.claims.length > 0) this.#expectsWork = pumped.claims.some(({ claims }) => claims.length > 0)
    for (const { consumer, claims, exhausted } of pumped.claims) {
      consumer.claimed(exhausted && this.#rings === pumped.rings)
      const deliveries = claims.flatMap((claim) => this.#toDeliveries(claim))
      if (deliveries.length === 0) continue
      for (const delivery of deliveries) consumer.held.add(delivery)
      if (consumer.isCancelled || isClosing()) for (const delivery of deliveries) delivery.release()
      else consumer.onDeliveries(deliveries)
    }
    if (isClosing()) return
    this.#armDueTimer()
    if (this.#claims || this.#settlements.length > 0) this.soon()
    for (const consumer of consumers) {
      if (consumer.wanted === 0) continue
      if (consumer.holdsPlenty) this.#armAckTimer()
      else this.soon()
    }
  }

  #toDeliveries({ consumer, queue, rows }: Claim): SqliteDelivery[] {
    const deliveries: SqliteDelivery[] = []
    const owner: DeliveryOwner = {
      onSettled: (delivery, settlement) => this.#onSettled(consumer, delivery, settlement),
      onEnd: (delivery, end, ended) => this.#onEnd(consumer, delivery, end, ended),
    }
    for (const row of rows) {
      try {
        const { message, to } = decodeStored(row)
        const { id, deliveries: before, redelivered } = row
        deliveries.push(new SqliteDelivery({ id, queue, message, to, deliveries: before, redelivered: redelivered === 1 }, owner))
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        this.#settlements.push({ kind: 'reject', id: row.id, reason })
        consumer.onRefused?.(queue, reason)
      }
    }
    return deliveries
  }

  #onSettled(consumer: SqliteConsumer, delivery: SqliteDelivery, settlement: Settlement): void {
    if (!consumer.held.delete(delivery)) {
      this.#parts.counters.lateSettlements += 1
      return
    }
    if (consumer.isCancelled && consumer.held.size === 0) this.#parts.consumers.delete(consumer)
    this.#settlements.push(settlement)
    if (settlement.kind !== 'ack' || !consumer.holdsPlenty) return this.soon()
    this.#armAckTimer()
  }

  #armAckTimer(): void {
    this.#ackTimer ??= this.#parts.clock.setTimer(ackPatienceMs, () => this.soon(), { keepAlive: true })
  }

  /** The next transaction stores the end and acks: others wait for the result. */
  #onEnd(consumer: SqliteConsumer, delivery: SqliteDelivery, { key, text, seconds }: PlacedEnd, ended: AckEnded): void {
    const { clock, consumers, counters } = this.#parts
    if (!consumer.held.delete(delivery)) {
      counters.lateSettlements += 1
      return ended(undefined)
    }
    const row = resultRow(key, { ready: true, text, expiresSeconds: seconds === 0 ? null : seconds, nowMs: clock.now() })
    const onEnded: AckEnded = (stored) => {
      if (stored === true) {
        if (consumer.isCancelled && consumer.held.size === 0) consumers.delete(consumer)
      } else {
        delivery.unsettle()
        if (stored === undefined) delivery.lose()
        else consumer.held.add(delivery)
      }
      ended(stored)
    }
    this.#settlements.push(new End(delivery.id, row, onEnded))
    if (!consumer.holdsPlenty) return this.soon()
    this.#queue()
    this.#armAckTimer()
  }

  /** After a bell of another process: a look that takes no lock, so that workers of other queues do not queue up for one. */
  #seesWork(): boolean {
    const { database, consumers } = this.#parts
    try {
      const queues = [...new Set([...consumers].flatMap((consumer) => consumer.queues))]
      // One statement: each touch of the file costs a process that slept as much as a small write.
      const seen = database.first<{ due: number | null; work: number }>(
        `SELECT (SELECT min(due) FROM delayed) AS due, EXISTS (SELECT 1 FROM waiting WHERE queue IN (${queues.map(() => '?').join(', ')})) AS work`,
        queues,
      )
      if (seen === undefined) return false
      return seen.work === 1 || (seen.due !== null && (this.#nextDueMs === undefined || seen.due < this.#nextDueMs))
    } catch {
      // Locked, or worse: the claim finds out.
      return true
    }
  }

  #armDueTimer(): void {
    const { clock, consumers } = this.#parts
    this.#dueTimer?.cancel()
    this.#dueTimer = undefined
    if (this.#nextDueMs === undefined || consumers.size === 0) return
    const waitMs = Math.max(0, Math.min(longestDueWaitMs, this.#nextDueMs - clock.now()))
    this.#dueTimer = clock.setTimer(waitMs, () => {
      this.#dueTimer = undefined
      if (this.#nextDueMs !== undefined && this.#nextDueMs > clock.now()) return this.#armDueTimer()
      for (const consumer of consumers) consumer.wake()
    })
  }
}
