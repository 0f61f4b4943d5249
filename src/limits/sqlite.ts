/** Limits in the embedded database, beside the broker's tables when both URLs name one file. */
import { ConnectionError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { machineTime } from '../internal/machine-time.js'
import type { SqliteDatabase } from '../internal/sqlite/database.js'
import { parseSqliteUrl } from '../internal/sqlite/location.js'
import { openDatabase } from '../internal/sqlite/open-database.js'
import type { Sql } from '../internal/sqlite/sql.js'
import { RecordStore } from './record-store.js'
import type { Records } from './start-rule.js'

const schemaSteps: readonly string[] = [
  `CREATE TABLE limits (name TEXT PRIMARY KEY, data TEXT NOT NULL, until_ms REAL NOT NULL) WITHOUT ROWID;
   CREATE INDEX limits_by_time ON limits (until_ms)`,
]

/** How often what is over is removed: what is read says itself until when it holds. */
const sweepEveryMs = 10_000

export class SqliteLimitStore extends RecordStore {
  readonly name = 'sqlite'
  readonly ended: Promise<Error>
  readonly #database: SqliteDatabase
  readonly #clock: Clock
  #sweptMs = Number.NEGATIVE_INFINITY
  #isClosed = false

  static async open(url: string, { clock, cwd }: { readonly clock: Clock; readonly cwd: string }): Promise<SqliteLimitStore> {
    const database = await openDatabase(parseSqliteUrl(url, cwd), { clock })
    try {
      await database.migrate('limits', schemaSteps)
      return new SqliteLimitStore(database, clock)
    } catch (error) {
      await database.close()
      throw error
    }
  }

  private constructor(database: SqliteDatabase, clock: Clock) {
    super()
    this.#database = database
    this.#clock = clock
    this.ended = database.gone
  }

  protected change<T>(time: 'steady' | 'wall', work: (records: Records, nowMs: number) => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(new ConnectionError('the store of limits is closed'))
    // What is taken is given back again: it needs no more room than it frees.
    return this.#database.write(
      (sql) => {
        const wallMs = this.#clock.now()
        this.#sweep(sql, wallMs)
        return work(recordsIn(sql, wallMs), time === 'wall' ? wallMs : machineTime(this.#clock))
      },
      { essential: true },
    )
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#database.close()
  }

  #sweep(sql: Sql, wallMs: number): void {
    const steadyMs = this.#clock.monotonic()
    if (steadyMs - this.#sweptMs < sweepEveryMs) return
    this.#sweptMs = steadyMs
    sql.run('DELETE FROM limits WHERE until_ms <= ?', [wallMs])
  }
}

function recordsIn(sql: Sql, wallMs: number): Records {
  return {
    read: (name) => sql.first<{ data: string }>('SELECT data FROM limits WHERE name = ?', [name])?.data,
    write: (name, text, forMs) =>
      sql.run(
        'INSERT INTO limits (name, data, until_ms) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data, until_ms = excluded.until_ms',
        [name, text, wallMs + forMs],
      ),
    remove: (name) => sql.run('DELETE FROM limits WHERE name = ?', [name]),
  }
}
