/**
 * A connection to the embedded broker: puts its parts together, and names queues and consumers to the tables.
 *
 *   publish ─▶ publisher ──────────────┐
 *   consumers, deliveries ─▶ pump ─────┼─▶ one transaction a tick
 *   ownership (its leases), sweeper ───┘
 */
import { CeleriacError, ConnectionError, NotPublishedError, QueueMissingError } from '../../errors.js'
import type { Clock } from '../../internal/clock.js'
import type { Examination } from '../../internal/examination.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { SqliteLocation } from '../../internal/sqlite/location.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { taskIdKey } from '../../internal/task-id.js'
import type { Message } from '../../protocol/message.js'
import { checkTopology } from '../../protocol/routing.js'
import type { Destination, Topology } from '../../protocol/topology.js'
import type { Connection, ConnectionCounters, ConsumeOptions, Consumer, Fence, PublishOptions } from '../../transport.js'
import { type ConsumerHost, SqliteConsumer } from './consumer.js'
import { SqliteDeadLetters } from './dead-letters.js'
import { examineFile } from './examine.js'
import { forgetOldFences, passFences } from './fences.js'
import { isOwner } from './owners.js'
import { Ownership } from './ownership.js'
import { Publisher } from './publisher.js'
import { Pump } from './pump.js'
import { SqliteQueues } from './queues.js'
import { releaseAll, type Settled, settle, settleLimits } from './settle.js'
import { Sweeper } from './sweeper.js'
import { addConsumer, declareTopology, removeConsumers, removeOwner, TopologyCache } from './topology.js'

export class SqliteConnection implements Connection, ConsumerHost {
  readonly closed: Promise<Error | undefined>
  readonly deadLetters: SqliteDeadLetters
  readonly queues: SqliteQueues
  readonly #database: SqliteDatabase
  readonly #location: SqliteLocation
  readonly #clock: Clock
  readonly #publisher: Publisher
  readonly #ownership: Ownership
  readonly #pump: Pump
  readonly #sweeper: Sweeper
  readonly #consumers = new Set<SqliteConsumer>()
  readonly #counters = { lateSettlements: 0, deadLettersDropped: 0 }
  #nextConsumerId = 1
  #unlisten: (() => void) | undefined
  #closing: Promise<void> | undefined
  #resolveClosed: (reason: Error | undefined) => void = () => undefined

  constructor(database: SqliteDatabase, location: SqliteLocation, clock: Clock) {
    this.#database = database
    this.#location = location
    this.#clock = clock
    const topology = new TopologyCache()
    this.#publisher = new Publisher(database, topology, clock)
    const shared = {
      database,
      location,
      clock,
      consumers: this.#consumers,
      isClosing: () => this.#closing !== undefined,
      onFailed: (error: unknown) => this.#fail(error),
    }
    this.#ownership = new Ownership({ ...shared, onLost: () => this.#pump.loseAll(), onGone: () => this.#pump.soon() })
    this.#pump = new Pump({ ...shared, ownership: this.#ownership, counters: this.#counters })
    this.#sweeper = new Sweeper({
      ...shared,
      ownership: this.#ownership,
      onDropped: (count) => {
        this.#counters.deadLettersDropped += count
      },
    })
    this.deadLetters = new SqliteDeadLetters(database, clock)
    this.queues = new SqliteQueues(database)
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    void database.gone.then((error) => this.#fail(error))
  }

  get place(): string {
    return this.#database.path
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
      const declaring = isPrivate ? this.#ownership.ensure(sql).owner : null
      declareTopology(sql, topology, { owner: declaring ?? this.#ownership.owner ?? null, nowMs: this.#clock.now() })
      return declaring
    })
    if (owner !== null) this.#ownership.become(owner)
    this.#ownership.keep(topology)
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
        const { owner: consuming } = this.#ownership.ensure(sql)
        for (const queue of consumer.queues) this.#enroll(sql, consuming, consumer, queue)
        return consuming
      },
      { essential: true },
    )
    this.#refuseWhenClosed()
    this.#ownership.become(owner)
    this.#consumers.add(consumer)
    this.#unlisten ??= this.#database.listen('tasks', (what) => this.#pump.hear(what))
    this.#sweeper.start()
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
    this.#pump.soon()
  }

  async addQueue(consumer: SqliteConsumer, queue: string): Promise<void> {
    this.#refuseWhenClosed()
    const owner = await this.#database.write(
      (sql) => {
        const { owner: consuming } = this.#ownership.ensure(sql)
        this.#enroll(sql, consuming, consumer, queue)
        return consuming
      },
      { essential: true },
    )
    this.#ownership.become(owner)
  }

  async removeQueue(consumer: SqliteConsumer, queue: string): Promise<void> {
    const { owner } = this.#ownership
    if (this.#closing !== undefined || owner === undefined) return
    await this.#database.write((sql) => removeConsumers(sql, this.#clock.now(), { owner, consumer: consumer.id, queue }), {
      essential: true,
    })
  }

  async removeConsumer(consumer: SqliteConsumer): Promise<void> {
    const { owner } = this.#ownership
    if (this.#closing !== undefined || owner === undefined) return
    // A claim of the transaction that runs now is given back by the pump, which sees the cancellation.
    await this.#database.write((sql) => removeConsumers(sql, this.#clock.now(), { owner, consumer: consumer.id }), {
      essential: true,
      last: true,
    })
    if (consumer.held.size === 0) this.#consumers.delete(consumer)
  }

  #enroll(sql: Sql, owner: number, consumer: SqliteConsumer, queue: string): void {
    const [row] = sql.all<{ owner: number | null }>('SELECT owner FROM queues WHERE name = ?', [queue])
    if (row === undefined || (row.owner !== null && row.owner !== owner)) throw new QueueMissingError(queue)
    addConsumer(sql, { owner, consumer: consumer.id }, queue)
  }

  // ── the end ────────────────────────────────────────────────────────────────

  #refuseWhenClosed(): void {
    if (this.#closing !== undefined) throw new ConnectionError('the connection to the embedded database is closed')
  }

  async #close(): Promise<void> {
    // Set before anything is awaited, so that nothing new begins.
    await Promise.resolve()
    const { owner } = this.#ownership
    const settlements = this.#pump.takeSettlements()
    this.#pump.loseAll()
    let stored: Settled['stored'] | undefined
    try {
      if (owner !== undefined) {
        stored = await this.#database.write(
          (sql) => {
            if (!isOwner(sql, owner)) return undefined
            // What a pump of this same transaction settled already is no longer held, and changes nothing here.
            const settled = settle(sql, owner, settlements, settleLimits(this.#location, this.#clock.now()))
            releaseAll(sql, owner)
            removeOwner(sql, owner, this.#clock.now())
            return settled.stored
          },
          { essential: true, last: true },
        )
      }
    } finally {
      for (const settlement of settlements) if (settlement.kind === 'end') settlement.ended(stored?.has(settlement))
      await this.#end(undefined)
    }
  }

  /** The database cannot be used any more: what is held is lost, and the leases run out. */
  #fail(error: unknown): void {
    if (this.#closing !== undefined) return
    this.#closing = Promise.resolve()
    this.#pump.loseAll()
    for (const settlement of this.#pump.takeSettlements()) if (settlement.kind === 'end') settlement.ended(undefined)
    const reason = error instanceof CeleriacError ? error : new ConnectionError('the embedded database failed', { cause: error })
    void this.#end(reason)
  }

  async #end(reason: Error | undefined): Promise<void> {
    for (const part of [this.#pump, this.#ownership, this.#sweeper]) part.stop()
    this.#unlisten?.()
    try {
      await this.#database.close()
    } finally {
      this.#resolveClosed(reason)
    }
  }
}
