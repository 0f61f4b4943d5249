/**
 * The embedded database as one process sees it: one handle for a file, shared by all who opened it here (open-database.ts). It writes by a group commit
 * (group-commit.ts), and tells who listens of changes (bells.ts).
 */
import { ConnectionError, DatabaseUnusableError } from '../../errors.js'
import type { Clock } from '../clock.js'
import { Deferred } from '../deferred.js'
import { type BellListener, type BellName, Bells } from './bells.js'
import { type SqlEngine, type SqlStatement, type SqlValue, sqlErrorKind, translateSqlError } from './engine.js'
import { GroupCommit, lockDeadlineMs, type WriteOptions } from './group-commit.js'
import type { SqliteLocation } from './location.js'
import { OpenedFile } from './opened-file.js'
import { Reserve } from './reserve.js'
import type { Sql } from './sql.js'

const noParams: readonly SqlValue[] = []

export class SqliteDatabase implements Sql {
  readonly path: string
  readonly #engine: SqlEngine
  readonly #onClosed: () => void
  readonly #statements = new Map<string, SqlStatement>()
  readonly #bells: Bells
  readonly #commit: GroupCommit
  readonly #file: OpenedFile
  readonly #gone = new Deferred<ConnectionError>()
  #loss: ConnectionError | undefined
  #shares = 0
  #synchronous: 'normal' | 'full' | undefined
  #closing: Promise<void> | undefined

  /** Use openDatabase. */
  constructor(engine: SqlEngine, location: SqliteLocation, clock: Clock, onClosed: () => void) {
    this.path = location.path
    this.#engine = engine
    this.#onClosed = onClosed
    this.#file = new OpenedFile(location.path)
    const reserve = new Reserve(location.path)
    // Before the first table, or it has no effect: lets a full database shrink again.
    if (this.all<{ page_count: number }>('PRAGMA page_count')[0]?.page_count === 0) engine.exec('PRAGMA auto_vacuum = INCREMENTAL')
    const [mode] = this.all<{ journal_mode: string }>('PRAGMA journal_mode = WAL')
    if (mode?.journal_mode !== 'wal')
      throw new ConnectionError(`the embedded database ${this.path} cannot use a write-ahead log on this file system`)
    this.all('PRAGMA cache_size = -16000')
    this.all('PRAGMA temp_store = MEMORY')
    this.all(`PRAGMA wal_autocheckpoint = ${Math.floor(reserve.bytes / 4096)}`)
    engine.exec('CREATE TABLE IF NOT EXISTS celeriac_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID')
    this.#bells = new Bells(location.path, {
      clock,
      pollMs: location.safetyPollMs,
      onPoll: () => this.#lookForLoss(),
      dataVersion: () => this.first<{ data_version: number }>('PRAGMA data_version')?.data_version ?? 0,
    })
    reserve.create()
    this.#commit = new GroupCommit({
      path: location.path,
      engine,
      sql: this,
      reserve,
      bells: this.#bells,
      loss: () => this.#lookForLoss(),
      lossNow: () => this.#lookForLoss(this.#file.isGoneNow),
    })
  }

  /** One more owner of this handle, unless it is closing. The stricter durability of all owners holds. */
  share(location: SqliteLocation): boolean {
    if (this.#closing !== undefined || this.#lookForLoss() !== undefined) return false
    this.#shares += 1
    if (this.#synchronous !== 'full' && this.#synchronous !== location.synchronous) {
      this.#synchronous = location.synchronous
      this.#engine.exec(`PRAGMA synchronous = ${location.synchronous === 'full' ? 'FULL' : 'NORMAL'}`)
    }
    return true
  }

  /** Settles when the file was removed or replaced: whoever shares this handle is to close it and open another. */
  get gone(): Promise<ConnectionError> {
    return this.#gone.promise
  }

  /**
   * Brings the tables of one part to the newest version: `steps[n]` leads from version n to n + 1, and never back.
   * A file that a newer celeriac wrote is refused with DatabaseUnusableError.
   */
  async migrate(part: string, steps: readonly string[]): Promise<void> {
    const [newest] = await this.read((sql) => sql.all<{ version: number }>('SELECT version FROM celeriac_schema WHERE part = ?', [part]))
    if (newest?.version === steps.length) return
    await this.write((sql) => {
      const version = sql.all<{ version: number }>('SELECT version FROM celeriac_schema WHERE part = ?', [part])[0]?.version ?? 0
      if (version > steps.length) {
        throw new DatabaseUnusableError(
          `the embedded database ${this.path} was written by a newer celeriac (${part} has version ${version}, this one knows ${steps.length}). Update celeriac, or use another file.`,
        )
      }
      for (const step of steps.slice(version)) for (const statement of step.split(';\n')) if (statement.trim() !== '') sql.run(statement)
      sql.run('INSERT INTO celeriac_schema (part, version) VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET version = excluded.version', [
        part,
        steps.length,
      ])
    })
  }

  /**
   * Queues a piece of a transaction; settles with what it gave, after the COMMIT. If it throws, it alone is undone and rejected.
   * It may run more than once, so it touches nothing but the database: effects belong after the promise.
   */
  write<T>(work: (sql: Sql) => T, options: WriteOptions = {}): Promise<T> {
    const refusal = this.#closing === undefined ? this.#loss : closedError(this.path)
    return refusal === undefined ? this.#commit.write(work, options) : Promise.reject(refusal)
  }

  /** Reads what is committed. */
  async read<T>(work: (sql: Sql) => T): Promise<T> {
    const startedMs = performance.now()
    for (;;) {
      const refusal = this.#shares === 0 ? closedError(this.path) : this.#lookForLoss()
      if (refusal !== undefined) throw refusal
      try {
        return work(this)
      } catch (error) {
        if (sqlErrorKind(error) !== 'busy' || performance.now() - startedMs > lockDeadlineMs) throw translateSqlError(error, this.path)
        await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 4))
      }
    }
  }

  /** Calls back after changes, by any process, until the function that it gives is called. Keeps the process alive that long. */
  listen(bell: BellName, listener: BellListener): () => void {
    return this.#bells.listen(bell, listener)
  }

  run(sql: string, params: readonly SqlValue[] = noParams): number {
    return this.#statement(sql).run(params)
  }

  all<Row>(sql: string, params: readonly SqlValue[] = noParams): Row[] {
    return this.#statement(sql).all<Row>(params)
  }

  first<Row>(sql: string, params: readonly SqlValue[] = noParams): Row | undefined {
    return this.#statement(sql).first<Row>(params)
  }

  ring(bell: BellName, what: string): void {
    this.#bells.note(bell, what)
  }

  /** Writes what is queued; the last owner closes the file. */
  async close(): Promise<void> {
    if (this.#shares > 1) {
      this.#shares -= 1
      // What this owner queued is settled before its close is.
      if (this.#commit.isScheduled) await this.write(() => undefined, { essential: true, last: true }).catch(this.#unlessLost)
      return
    }
    if (this.#closing === undefined) {
      const flushed = this.#commit.isScheduled ? this.write(() => undefined, { essential: true, last: true }) : Promise.resolve()
      this.#closing = flushed.then(
        () => this.#closeFile(),
        () => this.#closeFile(),
      )
      // From here on, openDatabase makes a new handle.
      this.#onClosed()
    }
    await this.#closing
  }

  readonly #unlessLost = (error: unknown): void => {
    if (this.#loss === undefined) throw error
  }

  /** Why nothing may be written here any more: nobody else would see it. */
  #lookForLoss(isGone = this.#file.isGone): ConnectionError | undefined {
    if (this.#loss === undefined && isGone) {
      this.#loss = new ConnectionError(`the embedded database ${this.path} was removed or replaced, with all that was in it`)
      // From here on, openDatabase makes a new handle.
      this.#onClosed()
      this.#gone.resolve(this.#loss)
    }
    return this.#loss
  }

  #closeFile(): void {
    this.#shares = 0
    this.#bells.close()
    this.#commit.end(this.#loss ?? closedError(this.path))
    this.#engine.close()
  }

  #statement(sql: string): SqlStatement {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#engine.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}

function closedError(path: string): ConnectionError {
  return new ConnectionError(`the embedded database ${path} is closed`)
}
