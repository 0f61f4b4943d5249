/** Results in the embedded database, beside the broker's tables when both URLs name one file: then a tick's results and acks are one transaction. */
import type { BackendSupports, ChordPart, ResultBackend, StoreOptions } from '../backend.js'
import { ConnectionError, DecodeError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import type { SqliteDatabase } from '../internal/sqlite/database.js'
import { parseSqliteUrl } from '../internal/sqlite/location.js'
import { openDatabase } from '../internal/sqlite/open-database.js'
import type { Sql } from '../internal/sqlite/sql.js'
import { taskIdKey } from '../internal/task-id.js'
import { JsonText } from '../protocol/json-text.js'
import { decodeMeta, encodeMeta, type PlacedEnd, type ResultMeta, type ResultTuple } from '../protocol/result.js'
import { ResultWaits } from './result-waits.js'
import { chordBodySchema, chordSchema, SqliteChords } from './sqlite/chords.js'
import { ResultWriter } from './sqlite/result-writer.js'

// `seq` rises with each state that is stored, in any process: whoever waits reads what is new since the last one it saw.
const schemaSteps: readonly string[] = [
  `CREATE TABLE results (
     seq INTEGER PRIMARY KEY AUTOINCREMENT,
     task_key INTEGER NOT NULL,
     task_id TEXT NOT NULL,
     ready INTEGER NOT NULL,
     expires INTEGER,
     meta TEXT NOT NULL
   );
   CREATE INDEX results_by_task ON results (task_key);
   CREATE TABLE revokes (task_id TEXT PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID`,
  chordSchema,
  chordBodySchema,
]

const noIds: ReadonlySet<string> = new Set()

// Each store pays for a look at two old results, so that what expires goes as fast as new ones come.
const cleanupEvery = 500
const cleanupWindow = 1_000

export class SqliteBackend implements ResultBackend {
  readonly name = 'sqlite'
  readonly ended: Promise<Error>
  readonly supports: BackendSupports = { push: true, persistent: true, durableRevoke: true, chords: true, results: true }
  readonly place: string
  readonly #database: SqliteDatabase
  readonly #clock: Clock
  readonly #waits: ResultWaits
  readonly #writer: ResultWriter
  readonly #chords: SqliteChords
  #unlisten: (() => void) | undefined
  #seenSeq = 0
  #readQueued = false
  #storesUntilCleanup = cleanupEvery
  #cleanedSeq = 0
  #isClosed = false

  static async open(url: string, { clock, cwd }: { readonly clock: Clock; readonly cwd: string }): Promise<SqliteBackend> {
    const database = await openDatabase(parseSqliteUrl(url, cwd), { clock })
    try {
      await database.migrate('backend', schemaSteps)
      return new SqliteBackend(database, clock)
    } catch (error) {
      await database.close()
      throw error
    }
  }

  private constructor(database: SqliteDatabase, clock: Clock) {
    this.#database = database
    this.place = database.path
    this.#clock = clock
    this.#writer = new ResultWriter(database, clock)
    this.#chords = new SqliteChords(database, clock)
    this.#waits = new ResultWaits({ open: () => this.#subscribe(), close: () => this.#unsubscribe() })
    this.ended = database.gone
    void this.ended.then((error) => this.#waits.fail(error))
  }

  store(meta: ResultMeta, { expiresSeconds }: { readonly expiresSeconds: number | null }): Promise<boolean> {
    if (this.#isClosed) return Promise.reject(closedError())
    this.#cleanupNowAndThen()
    return this.#writer.store(meta, expiresSeconds)
  }

  placed(meta: ResultMeta, { expiresSeconds }: StoreOptions): PlacedEnd | undefined {
    // In a file that is gone nothing is stored any more, and 0 seconds mean for ever there.
    if (this.#isClosed || !(meta.result instanceof JsonText) || expiresSeconds === 0) return undefined
    this.#cleanupNowAndThen()
    return { key: meta.taskId, text: encodeMeta(meta), seconds: expiresSeconds ?? 0 }
  }

  async get(taskId: string): Promise<ResultMeta | undefined> {
    this.#refuseWhenClosed()
    const [row] = await this.#database.read((sql) =>
      sql.all<{ meta: string }>('SELECT meta FROM results WHERE task_key = ? AND task_id = ? AND coalesce(expires > ?, 1)', [
        taskIdKey(taskId),
        taskId,
        this.#clock.now(),
      ]),
    )
    return row === undefined ? undefined : decodeMeta(row.meta)
  }

  async getMany(taskIds: readonly string[]): Promise<ReadonlyMap<string, ResultMeta>> {
    this.#refuseWhenClosed()
    const rows = await this.#database.read((sql) => this.#read(sql, taskIds))
    return new Map(rows.map((row) => [row.task_id, decodeMeta(row.meta)]))
  }

  async *wait(taskIds: readonly string[], { signal }: { readonly signal: AbortSignal }): AsyncIterable<ResultMeta> {
    this.#refuseWhenClosed()
    yield* this.#waits.wait(taskIds, signal, (ids) => this.getMany(ids))
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    this.#refuseWhenClosed()
    await this.#database.write(
      (sql) => {
        for (const taskId of taskIds) sql.run('DELETE FROM results WHERE task_key = ? AND task_id = ?', [taskIdKey(taskId), taskId])
      },
      { essential: true },
    )
  }

  async revoke(taskIds: readonly string[], { expiresSeconds }: { readonly expiresSeconds: number }): Promise<void> {
    this.#refuseWhenClosed()
    await this.#database.write(
      (sql) => {
        const expires = Math.ceil(this.#clock.now() + expiresSeconds * 1000)
        for (const taskId of taskIds) {
          sql.run(
            'INSERT INTO revokes (task_id, expires) VALUES (?, ?) ON CONFLICT (task_id) DO UPDATE SET expires = max(expires, excluded.expires)',
            [taskId, expires],
          )
        }
      },
      { essential: true },
    )
  }

  revoked(taskIds: readonly string[]): ReadonlySet<string> | Promise<ReadonlySet<string>> {
    this.#refuseWhenClosed()
    try {
      return this.#revokedAmong(this.#database, taskIds)
    } catch {
      // Locked, or worse.
      return this.#database.read((sql) => this.#revokedAmong(sql, taskIds))
    }
  }

  #revokedAmong(sql: Sql, taskIds: readonly string[]): ReadonlySet<string> {
    // Mostly there are none, and each id would cost as much as the rest of its claim.
    if (sql.first('SELECT 1 FROM revokes LIMIT 1') === undefined) return noIds
    const rows = sql.all<{ task_id: string }>(
      'SELECT task_id FROM revokes WHERE task_id IN (SELECT value FROM json_each(?)) AND expires > ?',
      [JSON.stringify(taskIds), this.#clock.now()],
    )
    return new Set(rows.map((row) => row.task_id))
  }

  async startChord(...args: Parameters<ResultBackend['startChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#chords.startChord(...args)
  }

  async growChord(...args: Parameters<ResultBackend['growChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#chords.growChord(...args)
  }

  async completeChordPart(...args: Parameters<ResultBackend['completeChordPart']>): Promise<'waiting' | 'lost' | readonly ChordPart[]> {
    this.#refuseWhenClosed()
    return this.#chords.completeChordPart(...args)
  }

  async chordBody(groupId: string): Promise<JsonText | undefined> {
    this.#refuseWhenClosed()
    return this.#chords.chordBody(groupId)
  }

  async endChord(...args: Parameters<ResultBackend['endChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#chords.endChord(...args)
  }

  async saveGroup(...args: Parameters<ResultBackend['saveGroup']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#chords.saveGroup(...args)
  }

  async group(groupId: string): Promise<ResultTuple | undefined> {
    this.#refuseWhenClosed()
    return this.#chords.group(groupId)
  }

  async forgetGroup(groupId: string): Promise<boolean> {
    this.#refuseWhenClosed()
    return this.#chords.forgetGroup(groupId)
  }

  async cleanup({ nowMs }: { readonly nowMs: number }): Promise<number> {
    this.#refuseWhenClosed()
    let removed = 0
    let seq = 0
    do {
      // In pieces, so that no transaction is long.
      const cleaned = await this.#database.write((sql) => removeExpired(sql, seq, nowMs), { essential: true })
      removed += cleaned.removed
      seq = cleaned.seq
    } while (seq > 0)
    while (!(await this.#chords.removeExpired(nowMs)));
    return removed
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waits.fail(closedError())
    this.#unsubscribe()
    await this.#database.close()
  }

  #read(sql: Sql, taskIds: readonly string[]): readonly { readonly task_id: string; readonly meta: string }[] {
    return sql.all(
      `SELECT r.task_id, r.meta FROM json_each(?) AS wanted CROSS JOIN results AS r
       ON r.task_key = json_extract(wanted.value, '$[0]') AND r.task_id = json_extract(wanted.value, '$[1]')
       WHERE coalesce(r.expires > ?, 1)`,
      [JSON.stringify(taskIds.map((taskId) => [taskIdKey(taskId), taskId])), this.#clock.now()],
    )
  }

  #subscribe(): void {
    this.#unlisten = this.#database.listen('results', () => this.#readNewSoon())
    this.#seenSeq = this.#database.all<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'results'")[0]?.seq ?? 0
  }

  #unsubscribe(): void {
    this.#unlisten?.()
    this.#unlisten = undefined
  }

  #readNewSoon(): void {
    if (this.#readQueued) return
    this.#readQueued = true
    setImmediate(() => {
      this.#readQueued = false
      if (this.#unlisten === undefined) return
      this.#readNew().catch((error) => this.#waits.fail(error instanceof Error ? error : new ConnectionError(String(error))))
    })
  }

  /** Costs what is new, however many wait: ids first, and only what somebody waits for is read. */
  async #readNew(): Promise<void> {
    const rows = await this.#database.read((sql) => {
      const fresh = sql.all<{ seq: number; task_id: string }>('SELECT seq, task_id FROM results WHERE seq > ? ORDER BY seq', [
        this.#seenSeq,
      ])
      this.#seenSeq = fresh.at(-1)?.seq ?? this.#seenSeq
      const awaited = fresh.map((row) => row.task_id).filter((taskId) => this.#waits.isAwaited(taskId))
      return awaited.length === 0 ? [] : this.#read(sql, awaited)
    })
    for (const row of rows) {
      let meta: ResultMeta
      try {
        meta = decodeMeta(row.meta)
      } catch (error) {
        this.#waits.failTask(row.task_id, error instanceof Error ? error : new DecodeError(String(error)))
        continue
      }
      this.#waits.deliver(meta)
    }
  }

  #cleanupNowAndThen(): void {
    this.#storesUntilCleanup -= 1
    if (this.#storesUntilCleanup > 0) return
    this.#storesUntilCleanup = cleanupEvery
    this.#database
      .write((sql) => removeExpired(sql, this.#cleanedSeq, this.#clock.now()), { essential: true, last: true })
      .then(
        ({ seq }) => {
          this.#cleanedSeq = seq
        },
        // Tried again some stores later; the store that comes with it tells what is wrong.
        () => undefined,
      )
    this.#chords.removeExpired(this.#clock.now()).catch(() => undefined)
  }

  #refuseWhenClosed(): void {
    if (this.#isClosed) throw closedError()
  }
}

/**
 * Removes what has expired of the results after `afterSeq`, some of them at a time; how many, and where to go on: 0 at the end.
 * There is no index by expiry: every result would pay for it.
 */
function removeExpired(sql: Sql, afterSeq: number, nowMs: number): { readonly removed: number; readonly seq: number } {
  // Looked at in there: a row that comes out costs more than ten that do not.
  const last = sql.first<{ seq: number }>('SELECT seq FROM results WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?', [
    afterSeq,
    cleanupWindow - 1,
  ])
  const upTo = last?.seq ?? Number.MAX_SAFE_INTEGER
  const removed = sql.run('DELETE FROM results WHERE seq > ? AND seq <= ? AND expires <= ?', [afterSeq, upTo, nowMs])
  if (last === undefined) sql.run('DELETE FROM revokes WHERE expires <= ?', [nowMs])
  return { removed, seq: last?.seq ?? 0 }
}

function closedError(): ConnectionError {
  return new ConnectionError('the sqlite result backend is closed')
}
