/** Publishes of one tick are one insert each in one transaction, and one statement that puts them all in line. */
import { NotPublishedError, TimeoutError } from '../../errors.js'
import type { Clock, Timer } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { SqlValue } from '../../internal/sqlite/engine.js'
import { insertRows } from '../../internal/sqlite/insert-rows.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { taskIdKey } from '../../internal/task-id.js'
import type { Message } from '../../protocol/message.js'
import { encodeHead, taskIdOf } from '../../protocol/message-head.js'
import { effectivePriority, messageExpiryMs, type QueueLimits, queueLimits } from '../../protocol/routing.js'
import type { Destination } from '../../protocol/topology.js'
import type { Fence, PublishOptions } from '../../transport.js'
import { passFences } from './fences.js'
import { Overflow } from './overflow.js'
import { TopologyCache } from './topology.js'

/** Rung beside the queues' names when a message was published for later, so that consumers look when the next one is due. */
export const delayedMark = ''

interface Entry {
  readonly head: string
  readonly key: number
  readonly message: Message
  readonly to: Destination
  readonly notBeforeMs: number | undefined
  readonly fences: readonly Fence[] | undefined
  readonly deadlineAtMs: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  /** Its deadline passed before the database was free: it must not be written any more. */
  abandoned: boolean
}

interface Row {
  readonly entry: Entry
  readonly body: string | Uint8Array
  readonly queue: string
  readonly limits: QueueLimits
}

const unlimited = queueLimits({})

export class Publisher {
  readonly #database: SqliteDatabase
  readonly #topology: TopologyCache
  readonly #clock: Clock
  readonly #overflow = new Overflow()
  #batch: Entry[] = []

  constructor(database: SqliteDatabase, topology: TopologyCache, clock: Clock) {
    this.#database = database
    this.#topology = topology
    this.#clock = clock
  }

  publish(message: Message, to: Destination, { deadlineMs, notBefore, fences }: PublishOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      // Written here and not in the transaction: a header that cannot be written rejects this call alone (the promise takes what is thrown).
      const head = encodeHead(message, to)
      const key = taskIdKey(taskIdOf(message))
      const deadlineAtMs = this.#clock.monotonic() + deadlineMs
      this.#batch.push({ head, key, message, to, notBeforeMs: notBefore, fences, deadlineAtMs, resolve, reject, abandoned: false })
      if (this.#batch.length === 1) this.#queueBatch()
    })
  }

  #queueBatch(): void {
    // The transaction takes the array as it is when the lock is free: later publishes of this tick are in it.
    const batch = this.#batch
    const timer = this.#watchDeadlines(batch)
    this.#database
      .write((sql) => {
        this.#batch = batch === this.#batch ? [] : this.#batch
        return this.#insert(sql, batch)
      })
      .then(
        (failures) => {
          for (const entry of batch) {
            const failure = failures.get(entry)
            if (failure === undefined) entry.resolve()
            else entry.reject(failure)
          }
        },
        (error) => {
          if (batch === this.#batch) this.#batch = []
          for (const entry of batch) entry.reject(error)
        },
      )
      .finally(() => timer.cancel())
  }

  /** One timer for the batch: it rejects what is late, and waits again for the rest. */
  #watchDeadlines(batch: readonly Entry[]): Timer {
    let timer: Timer
    let isOver = false
    const arm = (): void => {
      let earliestMs = Number.POSITIVE_INFINITY
      for (const entry of batch) if (!entry.abandoned) earliestMs = Math.min(earliestMs, entry.deadlineAtMs)
      // One turn later: where this process itself was busy until the deadline, the database was not asked yet, and is now.
      timer = this.#clock.setTimer(Math.min(earliestMs - this.#clock.monotonic(), 60_000), () => setImmediate(check))
    }
    const check = (): void => {
      if (isOver) return
      const nowMs = this.#clock.monotonic()
      for (const entry of batch) {
        if (entry.abandoned || entry.deadlineAtMs > nowMs) continue
        entry.abandoned = true
        entry.reject(
          new NotPublishedError('the message was not published: the embedded database stayed locked until the deadline', {
            cause: new TimeoutError('the deadline of the publish is over'),
          }),
        )
      }
      if (batch.some((entry) => !entry.abandoned)) arm()
    }
    arm()
    return {
      cancel: () => {
        isOver = true
        timer.cancel()
      },
    }
  }

  /** What could not be routed, by entry. */
  #insert(sql: Sql, batch: readonly Entry[]): ReadonlyMap<Entry, unknown> {
    const failures = new Map<Entry, unknown>()
    const state = sql.first<{ version: number; id: number | null }>(
      `SELECT ${TopologyCache.versionColumn} AS version, (SELECT max(id) FROM messages) AS id`,
    )
    this.#topology.refresh(sql, state?.version ?? 0)
    const now = this.#clock.now()
    const ready: Row[] = []
    const delayed: Row[] = []
    const room = this.#overflow.room(sql)
    for (const entry of batch) {
      if (entry.abandoned) continue
      try {
        const rows = entry.notBeforeMs !== undefined && entry.notBeforeMs > now ? delayed : ready
        const { body } = entry.message
        const found: Row[] = []
        for (const queue of this.#topology.route(entry.to))
          found.push({ entry, body, queue, limits: this.#topology.limits(queue) ?? unlimited })
        for (const { queue, limits } of found) room.refuse(queue, limits, body)
        if (entry.fences !== undefined) passFences(sql, entry.fences, now)
        rows.push(...found)
      } catch (error) {
        failures.set(entry, error)
      }
    }
    if (ready.length + delayed.length === 0) return failures
    // Ids are given here, so that the two statements below know theirs: this transaction is the only writer.
    const first = (state?.id ?? 0) + 1
    const firstDelayed = first + ready.length
    const inserts = ready.map((row, index) => messageRow(first + index, row, now))
    for (const [index, row] of delayed.entries())
      inserts.push(messageRow(firstDelayed + index, row, Math.ceil(row.entry.notBeforeMs ?? now)))
    insertRows(sql, 'messages (id, task_key, queue, priority, at, expires, head, body)', inserts)
    if (ready.length > 0) {
      sql.run('INSERT INTO waiting (queue, rank, at, id) SELECT queue, -priority, at, id FROM messages WHERE id >= ? AND id < ?', [
        first,
        firstDelayed,
      ])
    }
    if (delayed.length > 0) {
      sql.run('INSERT INTO delayed (due, id, queue) SELECT at, id, queue FROM messages WHERE id >= ?', [firstDelayed])
      sql.ring('tasks', delayedMark)
    }
    this.#overflow.keep(sql, ready)
    let rung: string | undefined
    for (const { queue } of ready) {
      if (queue === rung) continue
      rung = queue
      sql.ring('tasks', queue)
    }
    return failures
  }
}

function messageRow(id: number, { entry, body, queue, limits }: Row, availableMs: number): SqlValue[] {
  const { properties } = entry.message
  return [
    id,
    entry.key,
    queue,
    effectivePriority(properties.priority, limits),
    availableMs,
    messageExpiryMs(limits, availableMs) ?? null,
    entry.head,
    body,
  ]
}
