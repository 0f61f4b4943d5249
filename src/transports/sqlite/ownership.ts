import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../../internal/clock.js'
import { identifyThisProcess } from '../../internal/process-identity.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { SqliteLocation } from '../../internal/sqlite/location.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import type { Topology } from '../../protocol/topology.js'
import type { SqliteConsumer } from './consumer.js'
import { ensureOwner, leasePatienceMs, refreshOwner } from './owners.js'
import { addConsumer, declareTopology } from './topology.js'

interface OwnershipParts {
  readonly database: SqliteDatabase
  readonly location: SqliteLocation
  readonly clock: Clock
  readonly consumers: ReadonlySet<SqliteConsumer>
  readonly isClosing: () => boolean
  /** The owner before was found dead by somebody: its deliveries are theirs. */
  readonly onLost: () => void
  /** It was found dead, and nobody of this connection knows yet. */
  readonly onGone: () => void
  readonly onFailed: (error: unknown) => void
}

/** Which of the owners of leases (owners.ts) a connection is: none until it needs to be one, and another one after it was found dead. */
export class Ownership {
  readonly identity = identifyThisProcess()
  readonly #parts: OwnershipParts
  /** Names this connection among the owners: operations of one tick that each need to be an owner become the same one. */
  readonly #token = randomUUID()
  /** Exclusive and auto-delete queues: declared again when this connection has to become a new owner. */
  readonly #privateQueues = new Map<string, Topology>()
  #owner: number | undefined
  #refreshTimer: Timer | undefined

  constructor(parts: OwnershipParts) {
    this.#parts = parts
  }

  get owner(): number | undefined {
    return this.#owner
  }

  /** Inside a transaction: the owner that this connection is, or becomes because it is none yet or was found dead. */
  ensure(sql: Sql): { readonly owner: number; readonly ownerLost: boolean } {
    const { location, clock, consumers } = this.#parts
    const owner = ensureOwner(sql, this.#token, this.identity, location.leaseTtlMs)
    if (owner === this.#owner) return { owner, ownerLost: false }
    for (const topology of this.#privateQueues.values()) declareTopology(sql, topology, { owner, nowMs: clock.now() })
    for (const consumer of consumers) for (const queue of consumer.queues) addConsumer(sql, { owner, consumer: consumer.id }, queue)
    return { owner, ownerLost: this.#owner !== undefined }
  }

  /** After the COMMIT. */
  become(owner: number): void {
    if (this.#owner === owner) return
    if (this.#owner !== undefined) this.#parts.onLost()
    this.#owner = owner
    this.#refreshTimer ??= this.#refreshLater()
  }

  /** Queues that go with their owner or its consumers are to be there again when it is another one. */
  keep({ exchanges, queues }: Topology): void {
    for (const queue of queues) if (queue.exclusive || queue.autoDelete) this.#privateQueues.set(queue.name, { exchanges, queues: [queue] })
  }

  stop(): void {
    this.#refreshTimer?.cancel()
  }

  #refreshLater(): Timer {
    const { database, location, clock, isClosing, onGone, onFailed } = this.#parts
    return clock.setTimer(location.leaseTtlMs / 6, () => {
      const owner = this.#owner
      if (isClosing() || owner === undefined) return
      this.#refreshTimer = this.#refreshLater()
      database
        .write((sql) => refreshOwner(sql, owner), { essential: true, patienceMs: leasePatienceMs(location.leaseTtlMs) })
        .then((isAlive) => (isAlive || this.#owner !== owner ? undefined : onGone()), onFailed)
    })
  }
}
