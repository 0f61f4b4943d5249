/**
 * A connection to the embedded broker. Everything that its consumers settle and claim in one tick is one piece of the tick's transaction, the pump:
 *
 *   delivery.ack() ─┐
 *   release, defer ─┼─▶ settlements ─▶ pump: settle ─▶ promote what is due ─▶ claim ─▶ COMMIT ─▶ onDeliveries
 *   a bell, a slot ─┘                                                          (a short claim: wait for a bell or the next due time)
 */

import { randomUUID } from 'node:crypto'
import { CeleriacError, ConnectionError, NotPublishedError, QueueMissingError } from '../../errors.js'
import type { Clock, Timer } from '../../internal/clock.js'
import type { Examination } from '../../internal/examination.js'
import { identifyThisProcess } from '../../internal/process-identity.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { SqliteLocation } from '../../internal/sqlite/location.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { taskIdKey } from '../../internal/task-id.js'
import type { Message } from '../../protocol/message.js'
import { checkTopology } from '../../protocol/routing.js'
import type { Destination, Topology } from '../../protocol/topology.js'
import type { Connection, ConnectionCounters, ConsumeOptions, Consumer, Fence, PublishOptions } from '../../transport.js'
import { type Claim, type ClaimedRow, type ConsumerHost, SqliteConsumer } from './consumer.js'
import { SqliteDeadLetters } from './dead-letters.js'
import { SqliteDelivery } from './delivery.js'
import { examineFile } from './examine.js'
import { forgetOldFences, passFences } from './fences.js'
import { ensureOwner, isOwner, OwnerWatch, refreshOwner } from './owners.js'
import { delayedMark, Publisher } from './publisher.js'
import { SqliteQueues } from './queues.js'
import {
  deleteExpiredMessages,
  promoteDue,
  releaseAll,
  requeueOrphans,
  type Settled,
  type SettleLimits,
  type Settlement,
  settle,
} from './settle.js'
import { decodeStored } from './stored-message.js'
import { addConsumer, declareTopology, deleteExpiredQueues, removeConsumers, removeOwner, TopologyCache } from './topology.js'

const deadLetterLimit = 10_000
const longestLookMs = 500
/** How long acks wait for others, while their consumer holds plenty: a transaction of its own for each would cost more than a short task. */
const ackPatienceMs = 10
// The wall clock may be set while a timer waits: it is read again at least this often.
const longestDueWaitMs = 30_000

interface Pumped {
  readonly owner: number
  /** The owner before was found dead by somebody: its deliveries are theirs. */
  readonly ownerLost: boolean
  readonly settlements: number
  readonly settled: Settled
  readonly nextDueMs: number | undefined
  readonly claims: readonly { readonly consumer: SqliteConsumer; readonly claims: readonly Claim[]; readonly exhausted: boolean }[]
  readonly rings: number
}

export class SqliteConnection implements Connection, ConsumerHost {
  readonly closed: Promise<Error | undefined>
  readonly deadLetters: SqliteDeadLetters
  readonly queues: SqliteQueues
  readonly #database: SqliteDatabase
  readonly #location: SqliteLocation
  readonly #clock: Clock
  readonly #publisher: Publisher
  readonly #identity = identifyThisProcess()
  /** Names this connection among the owners: operations of one tick that each need to be an owner become the same one. */
  readonly #token = randomUUID()
  readonly #watch: OwnerWatch
  readonly #consumers = new Set<SqliteConsumer>()
  /** Exclusive and auto-delete queues: declared again when this connection has to become a new owner. */
  readonly #privateQueues = new Map<string, Topology>()
  readonly #counters = { lateSettlements: 0, deadLettersDropped: 0 }
  #settlements: Settlement[] = []
  #ackTimer: Timer | undefined
  #owner: number | undefined
  #nextConsumerId = 1
  #pumpQueued = false
  /** Rises with each bell, so that one between a claim and its COMMIT's promise is not missed. */
  #rings = 0
  #nextDueMs: number | undefined = Number.NEGATIVE_INFINITY
  #dueTimer: Timer | undefined
  #refreshTimer: Timer | undefined
  #lookTimer: Timer | undefined
  #sweptMs = Number.NEGATIVE_INFINITY
  #unlisten: (() => void) | undefined
  #closing: Promise<void> | undefined
  #resolveClosed: (reason: Error | undefined) => void = () => undefined

  constructor(database: SqliteDatabase, location: SqliteLocation, clock: Clock) {
    this.#database = database
    this.#location = location
    this.#clock = clock
    const topology = new TopologyCache()
    this.#publisher = new Publisher(database, topology, clock)
    this.#watch = new OwnerWatch(this.#identity, { longestGapMs: location.leaseTtlMs / 2 })
    this.deadLetters = new SqliteDeadLetters(database, clock)
    this.queues = new SqliteQueues(database)
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
  }

  get isAnswering(): boolean {
    return this.#closing === undefined
  }

  get counters(): ConnectionCounters {
    return { ...this.#counters }
  }

  async declare(topology: Topology): Promise<void> {
    this.#refuseWhenClosed()
    checkTopology(topology)
    const isPrivate = topology.queues.some((queue) => queue.exclusive)
    const owner = await this.#database.write((sql) => {
      const declaring = isPrivate ? this.#ensureOwner(sql).owner : null
      declareTopology(sql, topology, { owner: declaring ?? this.#owner ?? null, nowMs: this.#clock.now() })
      return declaring
    })
    if (owner !== null) this.#becomeOwner(owner)
    for (const queue of topology.queues) {
      if (queue.exclusive || queue.autoDelete) this.#privateQueues.set(queue.name, { exchanges: topology.exchanges, queues: [queue] })
    }
  }

  publish(message: Message, to: Destination, options: PublishOptions): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(new NotPublishedError('the message was not published: the connection is closed'))
    return this.#publisher.publish(message, to, options)
  }

  async raiseFences(fences: readonly Fence[]): Promise<void> {
    this.#refuseWhenClosed()
    await this.#database.write((sql) => {
      const nowMs = this.#clock.now()
      forgetOldFences(sql, nowMs)
      passFences(sql, fences, nowMs)
    })
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#refuseWhenClosed()
    const consumer = new SqliteConsumer(this.#nextConsumerId++, options, this)
    const owner = await this.#database.write(
      (sql) => {
        const { owner: consuming } = this.#ensureOwner(sql)
        for (const queue of consumer.queues) this.#enroll(sql, consuming, consumer, queue)
        return consuming
      },
      { essential: true },
    )
    this.#refuseWhenClosed()
    this.#becomeOwner(owner)
    this.#consumers.add(consumer)
    this.#unlisten ??= this.#database.listen('tasks', (what) => this.#onRing(what))
    this.#lookTimer ??= this.#lookLater()
    consumer.wake()
    return consumer
  }

  async size(queue: string, { due = false } = {}): Promise<number> {
    const rows = await this.#database.read((sql) =>
      sql.all<{ count: number }>(
        'SELECT (SELECT count(*) FROM waiting WHERE queue = ?) + (SELECT count(*) FROM delayed WHERE queue = ? AND ?) AS count',
        [queue, queue, due ? 0 : 1],
      ),
    )
    return rows[0]?.count ?? 0
  }

  async purge(queue: string): Promise<number> {
    this.#refuseWhenClosed()
    return this.#database.write(
      (sql) => {
        sql.run(
          'DELETE FROM messages WHERE id IN (SELECT id FROM waiting WHERE queue = ? UNION ALL SELECT id FROM delayed WHERE queue = ?)',
          [queue, queue],
        )
        return sql.run('DELETE FROM waiting WHERE queue = ?', [queue]) + sql.run('DELETE FROM delayed WHERE queue = ?', [queue])
      },
      { essential: true },
    )
  }

  async locate(taskId: string): Promise<'waiting' | 'leased' | 'absent'> {
    const rows = await this.#database.read((sql) =>
      sql.all<{ leased: number }>(
        `SELECT EXISTS (SELECT 1 FROM leases WHERE leases.id = messages.id) AS leased FROM messages
         WHERE task_key = ? AND coalesce(json_extract(head, '$[2].id'), json_extract(head, '$[3].correlationId')) = ?`,
        [taskIdKey(taskId), taskId],
      ),
    )
    if (rows.length === 0) return 'absent'
    return rows.some((row) => row.leased === 1) ? 'leased' : 'waiting'
  }

  async examine(): Promise<Examination> {
    const row = await this.#database.read((sql) => sql.first<{ version: string }>('SELECT sqlite_version() AS version'))
    return examineFile(this.#location, row?.version ?? '')
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  // ── for its consumers ──────────────────────────────────────────────────────

  claimSoon(): void {
    if (this.#pumpQueued || this.#closing !== undefined) return
    this.#pumpQueued = true
    this.#ackTimer?.cancel()
    this.#ackTimer = undefined
    this.#database
      .write((sql) => this.#pump(sql), { essential: true, last: true })
      .then(
        (pumped) => this.#onPumped(pumped),
        (error) => this.#fail(error),
      )
  }

  async addQueue(consumer: SqliteConsumer, queue: string): Promise<void> {
    this.#refuseWhenClosed()
    const owner = await this.#database.write(
      (sql) => {
        const { owner: consuming } = this.#ensureOwner(sql)
        this.#enroll(sql, consuming, consumer, queue)
        return consuming
      },
      { essential: true },
    )
    this.#becomeOwner(owner)
  }

  async removeQueue(consumer: SqliteConsumer, queue: string): Promise<void> {
    const owner = this.#owner
    if (this.#closing !== undefined || owner === undefined) return
    await this.#database.write((sql) => removeConsumers(sql, this.#clock.now(), { owner, consumer: consumer.id, queue }), {
      essential: true,
    })
  }

  async removeConsumer(consumer: SqliteConsumer): Promise<void> {
    const owner = this.#owner
    if (this.#closing !== undefined || owner === undefined) return
    // A claim of the transaction that runs now is given back by #onPumped, which sees the cancellation.
    await this.#database.write((sql) => removeConsumers(sql, this.#clock.now(), { owner, consumer: consumer.id }), {
      essential: true,
      last: true,
    })
    if (consumer.held.size === 0) this.#consumers.delete(consumer)
  }

  // ── the pump ───────────────────────────────────────────────────────────────

  #pump(sql: Sql): Pumped {
    const { owner, ownerLost } = this.#ensureOwner(sql)
    const nowMs = this.#clock.now()
    const settlements = this.#settlements
    const settled = ownerLost ? { late: settlements.length, deadLettersDropped: 0 } : settle(sql, owner, settlements, this.#limits())
    const isDue = this.#nextDueMs !== undefined && this.#nextDueMs <= nowMs
    const nextDueMs = isDue ? promoteDue(sql, nowMs) : this.#nextDueMs
    const claims = []
    for (const consumer of this.#consumers) if (consumer.wanted > 0) claims.push({ consumer, ...consumer.claim(sql, owner, nowMs) })
    return { owner, ownerLost, settlements: settlements.length, settled, nextDueMs, claims, rings: this.#rings }
  }

  #onPumped(pumped: Pumped): void {
    this.#pumpQueued = false
    this.#settlements.splice(0, pumped.settlements)
    this.#counters.lateSettlements += pumped.settled.late
    this.#counters.deadLettersDropped += pumped.settled.deadLettersDropped
    if (pumped.ownerLost) this.#loseAll()
    this.#becomeOwner(pumped.owner)
    // A bell that rang meanwhile may have told of an earlier due time.
    if (this.#rings === pumped.rings) this.#nextDueMs = pumped.nextDueMs
    for (const { consumer, claims, exhausted } of pumped.claims) {
      consumer.claimed(exhausted && this.#rings === pumped.rings)
      const deliveries = claims.flatMap((claim) => this.#toDeliveries(claim))
      if (deliveries.length === 0) continue
      for (const delivery of deliveries) consumer.held.add(delivery)
      if (consumer.isCancelled || this.#closing !== undefined) for (const delivery of deliveries) delivery.release()
      else consumer.onDeliveries(deliveries)
    }
    if (this.#closing !== undefined) return
    this.#armDueTimer()
    if (this.#settlements.length > 0) this.claimSoon()
    for (const consumer of this.#consumers) if (consumer.wanted > 0) this.claimSoon()
  }

  #toDeliveries({ consumer, queue, rows }: Claim): SqliteDelivery[] {
    const deliveries: SqliteDelivery[] = []
    for (const row of rows) {
      try {
        deliveries.push(this.#toDelivery(consumer, queue, row))
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        this.#settlements.push({ kind: 'reject', id: row.id, reason })
        consumer.onRefused?.(queue, reason)
      }
    }
    return deliveries
  }

  #toDelivery(consumer: SqliteConsumer, queue: string, row: ClaimedRow): SqliteDelivery {
    const { message, to } = decodeStored(row)
    return new SqliteDelivery(
      { id: row.id, queue, message, to, deliveries: row.deliveries, redelivered: row.redelivered === 1 },
      (delivery, settlement) => this.#onSettled(consumer, delivery, settlement),
    )
  }

  #onSettled(consumer: SqliteConsumer, delivery: SqliteDelivery, settlement: Settlement): void {
    if (!consumer.held.delete(delivery)) {
      this.#counters.lateSettlements += 1
      return
    }
    if (consumer.isCancelled && consumer.held.size === 0) this.#consumers.delete(consumer)
    this.#settlements.push(settlement)
    if (settlement.kind !== 'ack' || !consumer.holdsPlenty) return this.claimSoon()
    this.#ackTimer ??= this.#clock.setTimer(ackPatienceMs, () => this.claimSoon(), { keepAlive: true })
  }

  #onRing(what: ReadonlySet<string> | undefined): void {
    if (what === undefined && !this.#seesWork()) return
    this.#rings += 1
    if (what === undefined || what.has(delayedMark)) this.#nextDueMs = Number.NEGATIVE_INFINITY
    for (const consumer of this.#consumers) {
      if (what === undefined || what.has(delayedMark) || consumer.queues.some((queue) => what.has(queue))) consumer.wake()
    }
  }

  /** After a bell of another process: a look that takes no lock, so that workers of other queues do not queue up for one. */
  #seesWork(): boolean {
    try {
      const next = this.#database.first<{ due: number | null }>('SELECT min(due) AS due FROM delayed')
      if (next?.due !== null && next?.due !== undefined && (this.#nextDueMs === undefined || next.due < this.#nextDueMs)) return true
      for (const consumer of this.#consumers) {
        for (const queue of consumer.queues)
          if (this.#database.all('SELECT 1 FROM waiting WHERE queue = ? LIMIT 1', [queue]).length > 0) return true
      }
      return false
    } catch {
      // Locked, or worse: the claim finds out.
      return true
    }
  }

  #armDueTimer(): void {
    this.#dueTimer?.cancel()
    this.#dueTimer = undefined
    if (this.#nextDueMs === undefined || this.#consumers.size === 0) return
    const waitMs = Math.max(0, Math.min(longestDueWaitMs, this.#nextDueMs - this.#clock.now()))
    this.#dueTimer = this.#clock.setTimer(waitMs, () => {
      this.#dueTimer = undefined
      if (this.#nextDueMs !== undefined && this.#nextDueMs > this.#clock.now()) return this.#armDueTimer()
      for (const consumer of this.#consumers) consumer.wake()
    })
  }

  // ── ownership ──────────────────────────────────────────────────────────────

  /** Inside a transaction: the owner that this connection is, or becomes because it is none yet or was found dead. */
  #ensureOwner(sql: Sql): { readonly owner: number; readonly ownerLost: boolean } {
    const owner = ensureOwner(sql, this.#token, this.#identity, this.#location.leaseTtlMs)
    if (owner === this.#owner) return { owner, ownerLost: false }
    for (const topology of this.#privateQueues.values()) declareTopology(sql, topology, { owner, nowMs: this.#clock.now() })
    for (const consumer of this.#consumers) for (const queue of consumer.queues) addConsumer(sql, { owner, consumer: consumer.id }, queue)
    return { owner, ownerLost: this.#owner !== undefined }
  }

  #becomeOwner(owner: number): void {
    if (this.#owner === owner) return
    if (this.#owner !== undefined) this.#loseAll()
    this.#owner = owner
    this.#refreshTimer ??= this.#refreshLater()
  }

  #loseAll(): void {
    for (const consumer of this.#consumers) {
      const held = [...consumer.held]
      consumer.held.clear()
      for (const delivery of held) delivery.lose()
      consumer.hungry = true
      if (consumer.isCancelled) this.#consumers.delete(consumer)
    }
  }

  #enroll(sql: Sql, owner: number, consumer: SqliteConsumer, queue: string): void {
    const [row] = sql.all<{ owner: number | null }>('SELECT owner FROM queues WHERE name = ?', [queue])
    if (row === undefined || (row.owner !== null && row.owner !== owner)) throw new QueueMissingError(queue)
    addConsumer(sql, { owner, consumer: consumer.id }, queue)
  }

  #refreshLater(): Timer {
    return this.#clock.setTimer(this.#location.leaseTtlMs / 6, () => {
      const owner = this.#owner
      if (this.#closing !== undefined || owner === undefined) return
      this.#refreshTimer = this.#refreshLater()
      this.#database
        .write((sql) => refreshOwner(sql, owner), { essential: true })
        .then(
          // The pump finds out that the owner is gone, and becomes a new one.
          (isAlive) => (isAlive || this.#owner !== owner ? undefined : this.claimSoon()),
          (error) => this.#fail(error),
        )
    })
  }

  /** Looks for workers that are gone, and gives their messages back. */
  #lookLater(): Timer {
    return this.#clock.setTimer(Math.min(longestLookMs, this.#location.sweepIntervalMs), () => {
      if (this.#closing !== undefined) return
      this.#look().then(
        () => {
          if (this.#closing === undefined) this.#lookTimer = this.#lookLater()
        },
        (error) => this.#fail(error),
      )
    })
  }

  async #look(): Promise<void> {
    const nowMs = this.#clock.monotonic()
    const dead = await this.#database.read((sql) => this.#watch.look(sql, nowMs, this.#owner))
    const isSweepDue = nowMs - this.#sweptMs >= this.#location.sweepIntervalMs
    if (isSweepDue) this.#sweptMs = nowMs
    if (dead.length === 0 && !(isSweepDue && (await this.#database.read((sql) => this.#hasRubbish(sql))))) return
    const dropped = await this.#database.write(
      (sql) => {
        const wallMs = this.#clock.now()
        for (const { id, beat } of dead) {
          // It may have come back since it was looked at.
          if (sql.all('SELECT 1 FROM owners WHERE id = ? AND beat = ?', [id, beat]).length > 0) removeOwner(sql, id, wallMs)
        }
        deleteExpiredQueues(sql, wallMs)
        deleteExpiredMessages(sql, wallMs)
        return requeueOrphans(sql, this.#limits())
      },
      { essential: true },
    )
    this.#counters.deadLettersDropped += dropped
  }

  #hasRubbish(sql: Sql): boolean {
    const nowMs = this.#clock.now()
    return (
      sql.all('SELECT 1 FROM messages WHERE expires <= ? LIMIT 1', [nowMs]).length > 0 ||
      sql.all('SELECT 1 FROM queues WHERE expires_ms IS NOT NULL AND used_at + expires_ms <= ? LIMIT 1', [nowMs]).length > 0 ||
      sql.all('SELECT 1 FROM leases WHERE owner NOT IN (SELECT id FROM owners) LIMIT 1').length > 0
    )
  }

  #limits(): SettleLimits {
    return { deliveryLimit: this.#location.deliveryLimit, deadLetterLimit, nowMs: this.#clock.now() }
  }

  // ── the end ────────────────────────────────────────────────────────────────

  #refuseWhenClosed(): void {
    if (this.#closing !== undefined) throw new ConnectionError('the connection to the embedded database is closed')
  }

  async #close(): Promise<void> {
    // Set before anything is awaited, so that nothing new begins.
    await Promise.resolve()
    const owner = this.#owner
    const settlements = this.#settlements
    this.#settlements = []
    this.#loseAll()
    try {
      if (owner !== undefined) {
        await this.#database.write(
          (sql) => {
            if (!isOwner(sql, owner)) return
            // What a pump of this same transaction settled already is no longer held, and changes nothing here.
            settle(sql, owner, settlements, this.#limits())
            releaseAll(sql, owner)
            removeOwner(sql, owner, this.#clock.now())
          },
          { essential: true, last: true },
        )
      }
    } finally {
      await this.#end(undefined)
    }
  }

  /** The database cannot be used any more: what is held is lost, and the leases run out. */
  #fail(error: unknown): void {
    if (this.#closing !== undefined) return
    this.#closing = Promise.resolve()
    this.#loseAll()
    const reason = error instanceof CeleriacError ? error : new ConnectionError('the embedded database failed', { cause: error })
    void this.#end(reason)
  }

  async #end(reason: Error | undefined): Promise<void> {
    for (const timer of [this.#ackTimer, this.#dueTimer, this.#refreshTimer, this.#lookTimer]) timer?.cancel()
    this.#unlisten?.()
    try {
      await this.#database.close()
    } finally {
      this.#resolveClosed(reason)
    }
  }
}
