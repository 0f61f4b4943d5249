/** One consumer of a connection: which queues it reads and how many deliveries it may hold. The connection claims for it. */
import type { Sql } from '../../internal/sqlite/sql.js'
import type { ConsumeOptions, Consumer } from '../../transport.js'
import type { SqliteDelivery } from './delivery.js'
import { deleteMessages } from './settle.js'

/** What a consumer asks of its connection. */
export interface ConsumerHost {
  claimSoon(): void
  addQueue(consumer: SqliteConsumer, queue: string): Promise<void>
  removeQueue(consumer: SqliteConsumer, queue: string): Promise<void>
  removeConsumer(consumer: SqliteConsumer): Promise<void>
}

export interface ClaimedRow {
  readonly rank: number
  readonly at: number
  readonly id: number
  readonly expires: number | null
  readonly deliveries: number
  readonly redelivered: number
  readonly head: string
  readonly body: string | Uint8Array | ArrayBuffer
}

export interface Claim {
  readonly consumer: SqliteConsumer
  readonly queue: string
  readonly rows: readonly ClaimedRow[]
}

// A claim of a large prefetch is split, so that one transaction stays short for the other processes.
const largestClaim = 1_000

export class SqliteConsumer implements Consumer {
  readonly id: number
  readonly onDeliveries: ConsumeOptions['onDeliveries']
  readonly onRefused: ConsumeOptions['onRefused']
  readonly held = new Set<SqliteDelivery>()
  readonly #host: ConsumerHost
  #queues: readonly string[]
  #prefetch: number
  #cancelled: Promise<void> | undefined
  /** Where the next claim begins, so that a full queue does not starve the others. */
  #turn = 0
  /** Whether a claim may find something: the last one was full, or something rang since. */
  hungry = true

  constructor(id: number, { queues, prefetch, onDeliveries, onRefused }: ConsumeOptions, host: ConsumerHost) {
    this.id = id
    this.onDeliveries = onDeliveries
    this.onRefused = onRefused
    this.#host = host
    this.#queues = [...new Set(queues)]
    this.#prefetch = prefetch
  }

  get queues(): readonly string[] {
    return this.#queues
  }

  get isCancelled(): boolean {
    return this.#cancelled !== undefined
  }

  /** How many deliveries it may get now. */
  get wanted(): number {
    return this.isCancelled || !this.hungry ? 0 : Math.min(largestClaim, this.#prefetch - this.held.size)
  }

  /** It holds more than three quarters of what it may: it can wait for more. */
  get holdsPlenty(): boolean {
    return !this.isCancelled && this.held.size > this.#prefetch * 0.75
  }

  async addQueue(queue: string): Promise<void> {
    if (this.#queues.includes(queue)) return
    await this.#host.addQueue(this, queue)
    this.#queues = [...this.#queues.filter((other) => other !== queue), queue]
    this.wake()
  }

  async cancelQueue(queue: string): Promise<void> {
    if (!this.#queues.includes(queue)) return
    this.#queues = this.#queues.filter((other) => other !== queue)
    await this.#host.removeQueue(this, queue)
  }

  setPrefetch(count: number): void {
    this.#prefetch = count
    this.wake()
  }

  async cancel(): Promise<void> {
    this.#cancelled ??= this.#host.removeConsumer(this)
    await this.#cancelled
  }

  wake(): void {
    this.hungry = true
    if (this.wanted > 0) this.#host.claimSoon()
  }

  /** Takes what is there, inside a transaction. Changes nothing of this object: see `claimed`. */
  claim(sql: Sql, owner: number, nowMs: number): { readonly claims: readonly Claim[]; readonly exhausted: boolean } {
    const claims: Claim[] = []
    let left = this.wanted
    for (let step = 0; step < this.#queues.length && left > 0; step++) {
      const queue = this.#queues[(this.#turn + step) % this.#queues.length]
      if (queue === undefined) break
      const rows = claimFrom(sql, queue, left, { owner, nowMs })
      if (rows.length === 0) continue
      claims.push({ consumer: this, queue, rows })
      left -= rows.length
    }
    return { claims, exhausted: left > 0 }
  }

  /** After the COMMIT of a claim. */
  claimed(exhausted: boolean): void {
    this.hungry = !exhausted
    this.#turn = this.#queues.length === 0 ? 0 : (this.#turn + 1) % this.#queues.length
  }
}

function claimFrom(
  sql: Sql,
  queue: string,
  count: number,
  { owner, nowMs }: { readonly owner: number; readonly nowMs: number },
): readonly ClaimedRow[] {
  for (;;) {
    const rows = sql.all<ClaimedRow>(
      `SELECT w.rank, w.at, m.id, m.expires, m.deliveries, m.redelivered, m.head, m.body
       FROM waiting w CROSS JOIN messages m ON m.id = w.id WHERE w.queue = ? ORDER BY w.rank, w.at, w.id LIMIT ?`,
      [queue, count],
    )
    const last = rows.at(-1)
    if (last === undefined) return rows
    // The rows are the head of the queue, so one range takes them out.
    sql.run('DELETE FROM waiting WHERE queue = ? AND (rank, at, id) <= (?, ?, ?)', [queue, last.rank, last.at, last.id])
    const live = rows.filter((row) => row.expires === null || row.expires > nowMs)
    if (live.length < rows.length) {
      deleteMessages(
        sql,
        rows.filter((row) => !live.includes(row)).map((row) => row.id),
      )
    }
    if (live.length === 0) continue
    sql.run('INSERT INTO leases (id, owner) SELECT value, ? FROM json_each(?)', [owner, JSON.stringify(live.map((row) => row.id))])
    return live
  }
}
