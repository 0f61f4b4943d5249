/** States of one tick are written together: one look for what is there, one statement for each group of rows. */
import type { Clock } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { SqlValue } from '../../internal/sqlite/engine.js'
import { insertRows } from '../../internal/sqlite/insert-rows.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { taskIdKey } from '../../internal/task-id.js'
import { encodeMeta, isReady, type ResultMeta } from '../../protocol/result.js'

interface Entry {
  readonly taskId: string
  readonly key: number
  readonly ready: boolean
  readonly expires: number | null
  readonly text: string
  readonly resolve: (stored: boolean) => void
  readonly reject: (error: unknown) => void
}

interface Existing {
  readonly seq: number
  readonly task_id: string
  readonly ready: number
  readonly expires: number | null
}

export class ResultWriter {
  readonly #database: SqliteDatabase
  readonly #clock: Clock
  #batch: Entry[] = []

  constructor(database: SqliteDatabase, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  /** False: the task has ended already, and nothing was written. */
  store(meta: ResultMeta, expiresSeconds: number | null): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const { taskId } = meta
      const expires = expiresSeconds === null ? null : Math.ceil(this.#clock.now() + expiresSeconds * 1000)
      // Written here and not in the transaction: a value that cannot be written rejects this call alone (the promise takes what is thrown).
      this.#batch.push({ taskId, key: taskIdKey(taskId), ready: isReady(meta.status), expires, text: encodeMeta(meta), resolve, reject })
      if (this.#batch.length === 1) this.#queueBatch()
    })
  }

  #queueBatch(): void {
    // The transaction takes the array as it is when the lock is free: later calls of this tick are in it.
    const batch = this.#batch
    const close = (): void => {
      if (batch === this.#batch) this.#batch = []
    }
    this.#database
      .write(
        (sql) => {
          close()
          return storeAll(sql, batch, this.#clock.now())
        },
        { essential: true },
      )
      .then(
        (stored) => {
          for (const entry of batch) entry.resolve(stored.has(entry))
        },
        (error) => {
          close()
          for (const entry of batch) entry.reject(error)
        },
      )
  }
}

/** Those that count: of one task the first end wins, and before it the last state. */
function storeAll(sql: Sql, batch: readonly Entry[], nowMs: number): ReadonlySet<Entry> {
  const existing = new Map<string, Existing>()
  const keys = JSON.stringify(batch.map((entry) => entry.key))
  for (const row of sql.all<Existing>(
    'SELECT r.seq, r.task_id, r.ready, r.expires FROM json_each(?) AS wanted CROSS JOIN results AS r ON r.task_key = wanted.value',
    [keys],
  )) {
    existing.set(row.task_id, row)
  }
  const stored = new Set<Entry>()
  const latest = new Map<string, Entry>()
  const replaced = new Set<number>()
  for (const entry of batch) {
    const old = existing.get(entry.taskId)
    const isLive = old !== undefined && (old.expires === null || old.expires > nowMs)
    if ((isLive && old.ready === 1) || latest.get(entry.taskId)?.ready === true) continue
    if (old !== undefined) replaced.add(old.seq)
    latest.set(entry.taskId, entry)
    stored.add(entry)
  }
  if (replaced.size > 0) sql.run('DELETE FROM results WHERE seq IN (SELECT value FROM json_each(?))', [JSON.stringify([...replaced])])
  const rows: SqlValue[][] = []
  for (const [taskId, entry] of latest) {
    rows.push([entry.key, taskId, entry.ready ? 1 : 0, entry.expires, entry.text])
    sql.ring('results', taskId)
  }
  insertRows(sql, 'results (task_key, task_id, ready, expires, meta)', rows)
  return stored
}
