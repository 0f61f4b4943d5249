/** States of one tick are written together: one look for what is there, one statement for each group of rows. */
import type { Clock } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import { type ResultRow, resultRow, storeResults } from '../../internal/sqlite/result-rows.js'
import { encodeMeta, isReady, type ResultMeta } from '../../protocol/result.js'

interface Entry extends ResultRow {
  readonly resolve: (stored: boolean) => void
  readonly reject: (error: unknown) => void
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
      // Written here and not in the transaction: a value that cannot be written rejects this call alone (the promise takes what is thrown).
      const row = resultRow(meta.taskId, { ready: isReady(meta.status), text: encodeMeta(meta), expiresSeconds, nowMs: this.#clock.now() })
      this.#batch.push({ ...row, resolve, reject })
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
          return storeResults(sql, batch, this.#clock.now())
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
