/** Schedules in the embedded database, beside the broker's tables when both URLs name one file. */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import { parseSqliteUrl } from '../../internal/sqlite/location.js'
import { openDatabase } from '../../internal/sqlite/open-database.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import type { HistoryRow, Leadership, ScheduleStore, StoreChange, StoredEntry, WriteOutcome } from '../../schedule-store.js'
import { type LeaseRecord, LeaseWatch } from './lease-watch.js'

const schemaSteps: readonly string[] = [
  `CREATE TABLE beats (
     app TEXT PRIMARY KEY,
     id TEXT NOT NULL,
     revision INTEGER NOT NULL,
     owner TEXT NOT NULL,
     token INTEGER NOT NULL,
     beat INTEGER NOT NULL
   ) WITHOUT ROWID;
   CREATE TABLE beat_entries (app TEXT, name TEXT, revision INTEGER NOT NULL, data TEXT, PRIMARY KEY (app, name)) WITHOUT ROWID;
   CREATE INDEX beat_entries_by_revision ON beat_entries (app, revision);
   CREATE TABLE beat_history (seq INTEGER PRIMARY KEY, app TEXT NOT NULL, entry TEXT NOT NULL, data TEXT NOT NULL);
   CREATE INDEX beat_history_by_entry ON beat_history (app, entry, seq)`,
]

interface BeatRow extends LeaseRecord {
  readonly id: string
  readonly revision: number
}

export class SqliteScheduleStore implements ScheduleStore {
  readonly name = 'sqlite'
  readonly id: string
  readonly ended: Promise<Error>
  readonly #database: SqliteDatabase
  readonly #app: string
  readonly #watch: LeaseWatch
  #isClosed = false

  static async open(
    url: string,
    { app, clock, cwd }: { readonly app: string; readonly clock: Clock; readonly cwd: string },
  ): Promise<SqliteScheduleStore> {
    const database = await openDatabase(parseSqliteUrl(url, cwd), { clock })
    try {
      await database.migrate('beat', schemaSteps)
      const id = await database.write((sql) => {
        sql.run("INSERT OR IGNORE INTO beats (app, id, revision, owner, token, beat) VALUES (?, ?, 0, '', 0, 0)", [app, randomUUID()])
        return rowOf(sql, app).id
      })
      return new SqliteScheduleStore(database, app, clock, id)
    } catch (error) {
      await database.close()
      throw error
    }
  }

  private constructor(database: SqliteDatabase, app: string, clock: Clock, id: string) {
    this.#database = database
    this.#app = app
    this.id = id
    this.ended = database.gone
    this.#watch = new LeaseWatch(clock)
  }

  entries(since: number): Promise<readonly StoredEntry[]> {
    return this.#database.read((sql) =>
      sql.all<StoredEntry>('SELECT name, revision, data FROM beat_entries WHERE app = ? AND revision > ?', [this.#app, since]),
    )
  }

  revision(): Promise<number> {
    return this.#database.read((sql) => rowOf(sql, this.#app).revision)
  }

  write(change: StoreChange): Promise<WriteOutcome> {
    return this.#database.write((sql) => this.#write(sql, change), { essential: true })
  }

  async history({ entry, limit }: { readonly entry?: string; readonly limit: number }): Promise<readonly HistoryRow[]> {
    const rows = await this.#database.read((sql) =>
      sql.all<{ data: string }>(
        `SELECT data FROM beat_history WHERE app = ? ${entry === undefined ? '' : 'AND entry = ?'} ORDER BY seq DESC LIMIT ?`,
        entry === undefined ? [this.#app, limit] : [this.#app, entry, limit],
      ),
    )
    // Written by this class.
    return rows.map(({ data }) => JSON.parse(data) as HistoryRow)
  }

  async lead(owner: string, leaseMs: number): Promise<Leadership> {
    const seen = await this.#database.read((sql) => rowOf(sql, this.#app))
    // Who waits only reads.
    const wanted = this.#watch.ask(seen, owner, leaseMs)
    if (wanted.owner !== owner) return { leads: false, token: seen.token, owner: seen.owner, revision: seen.revision }
    return this.#database.write(
      (sql) => {
        const now = rowOf(sql, this.#app)
        const isSame = now.owner === seen.owner && now.token === seen.token && now.beat === seen.beat
        const { token } = isSame ? wanted : now
        if (isSame) sql.run('UPDATE beats SET owner = ?, token = ?, beat = ? WHERE app = ?', [owner, token, wanted.beat, this.#app])
        return { leads: isSame, token, owner: isSame ? owner : now.owner, revision: now.revision }
      },
      { essential: true },
    )
  }

  async resign(owner: string): Promise<void> {
    await this.#database.write((sql) => sql.run("UPDATE beats SET owner = '' WHERE app = ? AND owner = ?", [this.#app, owner]), {
      essential: true,
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#database.close()
  }

  #write(sql: Sql, { token, entries, history = [], historyKept = 100 }: StoreChange): WriteOutcome {
    const row = rowOf(sql, this.#app)
    if (token !== undefined && token !== row.token) return { status: 'deposed' }
    const names = entries.filter(({ name, from }) => {
      const found = sql.first<StoredEntry>('SELECT name, revision, data FROM beat_entries WHERE app = ? AND name = ?', [this.#app, name])
      return (found === undefined || found.data === null ? 0 : found.revision) !== from
    })
    if (names.length > 0) return { status: 'changed', names: names.map(({ name }) => name) }
    const revision = row.revision + 1
    sql.run('UPDATE beats SET revision = ? WHERE app = ?', [revision, this.#app])
    for (const { name, data } of entries) {
      sql.run(
        'INSERT INTO beat_entries (app, name, revision, data) VALUES (?, ?, ?, ?) ON CONFLICT (app, name) DO UPDATE SET revision = excluded.revision, data = excluded.data',
        [this.#app, name, revision, data],
      )
    }
    for (const each of history)
      sql.run('INSERT INTO beat_history (app, entry, data) VALUES (?, ?, ?)', [this.#app, each.entry, JSON.stringify(each)])
    for (const entry of new Set(history.map((each) => each.entry))) {
      sql.run(
        `DELETE FROM beat_history WHERE app = ?1 AND entry = ?2 AND seq <=
           (SELECT seq FROM beat_history WHERE app = ?1 AND entry = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)`,
        [this.#app, entry, historyKept],
      )
    }
    // Readers of changes are never so far behind.
    sql.run('DELETE FROM beat_entries WHERE app = ? AND revision < ? AND data IS NULL', [this.#app, revision - 1_000])
    return { status: 'written', revision }
  }
}

function rowOf(sql: Sql, app: string): BeatRow {
  const row = sql.first<BeatRow>('SELECT id, revision, owner, token, beat FROM beats WHERE app = ?', [app])
  return row ?? { id: '', revision: 0, owner: '', token: 0, beat: 0 }
}
