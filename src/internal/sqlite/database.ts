/**
 * The embedded database as one process sees it: one handle per file, shared by the transport, the backend and the schedules.
 *
 * - Group commit: everything that is written in one tick of the event loop goes into one transaction, in order; promises settle after its COMMIT.
 * - Locking: never SQLite's own busy handler (it starves one of two writers for seconds), but a short blocking back-off and then asynchronous tries.
 * - Bells tell other processes of changes, see bell.ts.
 */
import { BrokerFullError, CeleriacError, ConnectionError, DatabaseUnusableError } from '../../errors.js'
import type { Clock, Timer } from '../clock.js'
import { failpoint } from '../failpoints.js'
import { Bell } from './bell.js'
import { loadEngine, type SqlEngine, type SqlStatement, type SqlValue, sqlErrorKind, translateSqlError } from './engine.js'
import { prepareDatabaseFile } from './file-safety.js'
import type { SqliteLocation } from './location.js'
import { Reserve } from './reserve.js'

/** What changed: `tasks` for messages and queues, `results` for what tasks returned. */
export type BellName = 'tasks' | 'results'

/** Inside a read or a write. */
export interface Sql {
  run(sql: string, params?: readonly SqlValue[]): number
  all<Row>(sql: string, params?: readonly SqlValue[]): Row[]
  first<Row>(sql: string, params?: readonly SqlValue[]): Row | undefined
  /** After the COMMIT: wakes the listeners of this process, with `what` changed, and other processes. */
  ring(bell: BellName, what: string): void
}

export interface WriteOptions {
  /** Gives room back or is worth the reserve: it is tried even when the disk is full. */
  readonly essential?: boolean
  /** Runs after everything else of its transaction, such as a claim that wants to see what was published in the same tick. */
  readonly last?: boolean
}

/** `what` changed, or undefined when another process rang and nobody knows. */
export type BellListener = (what: ReadonlySet<string> | undefined) => void

const noParams: readonly SqlValue[] = []
const lockDeadlineMs = 5_000
const blockingWaitMs = 3
const pollWithoutWatchMs = 50
const healEveryMs = 250

interface Operation {
  readonly work: (sql: Sql) => unknown
  readonly essential: boolean
  readonly queuedAtMs: number
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Opens the database, or shares the handle that this process has already. Close it as often as it was opened. */
export async function openDatabase(location: SqliteLocation, { clock }: { readonly clock: Clock }): Promise<SqliteDatabase> {
  const byPath = openDatabases.get(clock) ?? new Map<string, Promise<SqliteDatabase>>()
  openDatabases.set(clock, byPath)
  for (;;) {
    let opening = byPath.get(location.path)
    if (opening === undefined) {
      const fresh = openFresh(location, clock, () => forget())
      const forget = (): void => {
        if (byPath.get(location.path) === fresh) byPath.delete(location.path)
      }
      fresh.catch(forget)
      byPath.set(location.path, fresh)
      opening = fresh
    }
    const database = await opening
    // Its last owner may have closed it since: then there is a new one to open.
    if (database.share(location)) return database
  }
}

// Mutable module state, because the drivers that share a file know neither each other nor who else opened it. Held by clock, so that a test with a
// clock of its own shares nothing with others.
const openDatabases = new WeakMap<Clock, Map<string, Promise<SqliteDatabase>>>()

async function openFresh(location: SqliteLocation, clock: Clock, onClosed: () => void): Promise<SqliteDatabase> {
  const openEngine = await loadEngine()
  prepareDatabaseFile(location.path, location)
  const startedMs = performance.now()
  for (;;) {
    let engine: SqlEngine | undefined
    try {
      engine = openEngine(location.path)
      return new SqliteDatabase(engine, location, clock, onClosed)
    } catch (error) {
      engine?.close()
      // Several processes that start together take turns at making the file.
      if (sqlErrorKind(error) !== 'busy' || performance.now() - startedMs > lockDeadlineMs) {
        const translated = translateSqlError(error, location.path)
        throw translated instanceof CeleriacError
          ? translated
          : new ConnectionError(`the embedded database ${location.path} cannot be opened`, { cause: error })
      }
      await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 10))
    }
  }
}

export class SqliteDatabase implements Sql {
  readonly path: string
  readonly #engine: SqlEngine
  readonly #clock: Clock
  readonly #onClosed: () => void
  readonly #reserve: Reserve
  readonly #statements = new Map<string, SqlStatement>()
  readonly #bells: Readonly<Record<BellName, Bell>>
  readonly #listeners: Readonly<Record<BellName, Set<BellListener>>> = { tasks: new Set(), results: new Set() }
  /** PRAGMA data_version when a bell's listeners last looked: it moves only when another connection commits. */
  readonly #seenVersion: Record<BellName, number> = { tasks: 0, results: 0 }
  readonly #toRing = new Map<BellName, Set<string>>()
  #operations: Operation[] = []
  #lastOperations: Operation[] = []
  #scheduled = false
  #healTriedMs = Number.NEGATIVE_INFINITY
  #pollMs: number
  #poll: Timer | undefined
  #shares = 0
  #synchronous: 'normal' | 'full' | undefined
  #closing: Promise<void> | undefined

  /** Use openDatabase. */
  constructor(engine: SqlEngine, location: SqliteLocation, clock: Clock, onClosed: () => void) {
    this.path = location.path
    this.#engine = engine
    this.#clock = clock
    this.#onClosed = onClosed
    this.#pollMs = location.safetyPollMs
    this.#reserve = new Reserve(location.path)
    // Before the first table, or it has no effect: lets a full database shrink again.
    if (this.all<{ page_count: number }>('PRAGMA page_count')[0]?.page_count === 0) engine.exec('PRAGMA auto_vacuum = INCREMENTAL')
    const [mode] = this.all<{ journal_mode: string }>('PRAGMA journal_mode = WAL')
    if (mode?.journal_mode !== 'wal')
      throw new ConnectionError(`the embedded database ${this.path} cannot use a write-ahead log on this file system`)
    this.all('PRAGMA cache_size = -16000')
    this.all('PRAGMA temp_store = MEMORY')
    this.all(`PRAGMA wal_autocheckpoint = ${Math.floor(this.#reserve.bytes / 4096)}`)
    engine.exec('CREATE TABLE IF NOT EXISTS celeriac_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID')
    this.#bells = { tasks: new Bell(`${this.path}-tasks.bell`), results: new Bell(`${this.path}-results.bell`) }
    this.#reserve.create()
  }

  /** One more owner of this handle, unless it is closing. The stricter durability of all owners holds. */
  share(location: SqliteLocation): boolean {
    if (this.#closing !== undefined) return false
    this.#shares += 1
    if (this.#synchronous !== 'full' && this.#synchronous !== location.synchronous) {
      this.#synchronous = location.synchronous
      this.#engine.exec(`PRAGMA synchronous = ${location.synchronous === 'full' ? 'FULL' : 'NORMAL'}`)
    }
    return true
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
  write<T>(work: (sql: Sql) => T, { essential = false, last = false }: WriteOptions = {}): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(closedError(this.path))
    return new Promise<T>((resolve, reject) => {
      const operation: Operation = {
        work,
        essential,
        queuedAtMs: performance.now(),
        // Resolved only with what its own `work` gave.
        resolve: resolve as (value: unknown) => void,
        reject,
      }
      if (last) this.#lastOperations.push(operation)
      else this.#operations.push(operation)
      this.#schedule()
    })
  }

  /** Reads what is committed. */
  async read<T>(work: (sql: Sql) => T): Promise<T> {
    const startedMs = performance.now()
    for (;;) {
      if (this.#shares === 0) throw closedError(this.path)
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
    const listeners = this.#listeners[bell]
    listeners.add(listener)
    if (listeners.size === 1) {
      this.#seenVersion[bell] = this.#dataVersion()
      if (!this.#bells[bell].watch(() => this.#look(bell)))
        this.#pollMs = this.#pollMs === 0 ? 0 : Math.min(this.#pollMs, pollWithoutWatchMs)
    }
    this.#armPoll()
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return
      this.#bells[bell].unwatch()
      if (this.#listeners.tasks.size + this.#listeners.results.size === 0) {
        this.#poll?.cancel()
        this.#poll = undefined
      }
    }
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
    let changed = this.#toRing.get(bell)
    if (changed === undefined) {
      changed = new Set()
      this.#toRing.set(bell, changed)
    }
    changed.add(what)
  }

  /** Writes what is queued; the last owner closes the file. */
  async close(): Promise<void> {
    if (this.#shares > 1) {
      this.#shares -= 1
      // What this owner queued is settled before its close is.
      if (this.#scheduled) await this.write(() => undefined, { essential: true, last: true })
      return
    }
    if (this.#closing === undefined) {
      const flushed = this.#scheduled ? this.write(() => undefined, { essential: true, last: true }) : Promise.resolve()
      this.#closing = flushed.then(
        () => this.#closeFile(),
        () => this.#closeFile(),
      )
      // From here on, openDatabase makes a new handle.
      this.#onClosed()
    }
    await this.#closing
  }

  #closeFile(): void {
    this.#shares = 0
    this.#poll?.cancel()
    for (const bell of Object.values(this.#bells)) bell.close()
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

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#refuseNewOnFullDisk()
    if (this.#operations.length + this.#lastOperations.length === 0) {
      this.#scheduled = false
      return
    }
    try {
      if (!this.#begin()) {
        this.#flushLater()
        return
      }
    } catch (error) {
      this.#scheduled = false
      this.#rejectAll(this.#takeOperations(), error)
      return
    }
    this.#scheduled = false
    this.#transact(this.#takeOperations())
  }

  #takeOperations(): readonly Operation[] {
    const operations = this.#lastOperations.length === 0 ? this.#operations : this.#operations.concat(this.#lastOperations)
    this.#operations = []
    this.#lastOperations = []
    return operations
  }

  /** False: another process holds the lock, and a short wait did not help. */
  #begin(): boolean {
    const startedMs = performance.now()
    for (let waitMs = 0.05; ; waitMs = Math.min(1, waitMs * 2)) {
      try {
        this.#engine.exec('BEGIN IMMEDIATE')
        return true
      } catch (error) {
        if (sqlErrorKind(error) !== 'busy') throw error
        if (performance.now() - startedMs > blockingWaitMs) return false
      }
      sleepBlocking(waitMs * (0.5 + Math.random()))
    }
  }

  #flushLater(): void {
    const givenUpMs = performance.now() - lockDeadlineMs
    const isLate = (operation: Operation): boolean => operation.queuedAtMs < givenUpMs
    const late = [...this.#operations.filter(isLate), ...this.#lastOperations.filter(isLate)]
    if (late.length > 0) {
      this.#operations = this.#operations.filter((operation) => !isLate(operation))
      this.#lastOperations = this.#lastOperations.filter((operation) => !isLate(operation))
      this.#rejectAll(
        late,
        new ConnectionError(`the embedded database ${this.path} was locked by another process for ${lockDeadlineMs / 1000} s`),
      )
    }
    setTimeout(() => this.#flush(), 1 + Math.random() * 3)
  }

  /** Inside BEGIN: does all and commits, or undoes all and finds out what can be done. */
  #transact(operations: readonly Operation[]): void {
    const results: unknown[] = []
    try {
      for (const operation of operations) results.push(operation.work(this))
      failpoint('sqlite.before-commit')
      this.#engine.exec('COMMIT')
    } catch (error) {
      this.#rollback()
      if (sqlErrorKind(error) === 'full') this.#afterDiskFull(operations, error)
      else this.#transactEach(operations)
      return
    }
    failpoint('sqlite.after-commit')
    for (const [index, operation] of operations.entries()) operation.resolve(results[index])
    this.#ringBells()
  }

  /** One of them failed: each gets a savepoint of its own, so that the others still share one COMMIT. */
  #transactEach(operations: readonly Operation[]): void {
    const done: (() => void)[] = []
    try {
      if (!this.#begin()) throw new ConnectionError(`the embedded database ${this.path} was locked by another process`)
      for (const operation of operations) {
        this.#engine.exec('SAVEPOINT operation')
        try {
          const result = operation.work(this)
          done.push(() => operation.resolve(result))
        } catch (error) {
          if (sqlErrorKind(error) === 'full') throw error
          this.#engine.exec('ROLLBACK TO operation')
          done.push(() => operation.reject(translateSqlError(error, this.path)))
        }
        this.#engine.exec('RELEASE operation')
      }
      this.#engine.exec('COMMIT')
    } catch (error) {
      this.#rollback()
      if (sqlErrorKind(error) === 'full') this.#afterDiskFull(operations, error)
      else this.#rejectAll(operations, error)
      return
    }
    for (const settle of done) settle()
    this.#ringBells()
  }

  #afterDiskFull(operations: readonly Operation[], cause: unknown): void {
    const wasThere = this.#reserve.isThere
    this.#reserve.free()
    this.#healTriedMs = performance.now()
    this.#rejectAll(
      operations.filter((operation) => !operation.essential),
      fullError(this.path, cause),
    )
    const essential = operations.filter((operation) => operation.essential)
    if (essential.length === 0) return
    this.#checkpoint()
    // Without the reserve there is nothing left to try but the room that the checkpoint made.
    if (wasThere) this.#transactEach(essential)
    else this.#transactOneByOne(essential)
  }

  /** The last try on a full disk: the smallest transactions there are. */
  #transactOneByOne(operations: readonly Operation[]): void {
    for (const operation of operations) {
      try {
        if (!this.#begin()) throw new ConnectionError(`the embedded database ${this.path} was locked by another process`)
        const result = operation.work(this)
        this.#engine.exec('COMMIT')
        operation.resolve(result)
      } catch (error) {
        this.#rollback()
        operation.reject(sqlErrorKind(error) === 'full' ? fullError(this.path, error) : translateSqlError(error, this.path))
      }
    }
    this.#ringBells()
  }

  #refuseNewOnFullDisk(): void {
    if (!this.#operations.some(isNew) && !this.#lastOperations.some(isNew)) return
    if (this.#reserve.isLikelyThere || this.#heal()) return
    this.#rejectAll([...this.#operations.filter(isNew), ...this.#lastOperations.filter(isNew)], fullError(this.path))
    this.#operations = this.#operations.filter((operation) => operation.essential)
    this.#lastOperations = this.#lastOperations.filter((operation) => operation.essential)
  }

  /** Gives free pages back to the file system and tries to write the reserve again. */
  #heal(): boolean {
    const nowMs = performance.now()
    if (nowMs - this.#healTriedMs < healEveryMs) return false
    this.#healTriedMs = nowMs
    if (this.#reserve.create()) return true
    try {
      this.all('PRAGMA incremental_vacuum(64)')
    } catch {
      // No room even for that, or locked: the next try may find some.
    }
    this.#checkpoint()
    return this.#reserve.create()
  }

  #checkpoint(): void {
    try {
      this.all('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // What could not be moved stays in the log, which is as safe.
    }
  }

  #rollback(): void {
    this.#toRing.clear()
    try {
      this.#engine.exec('ROLLBACK')
    } catch {
      // SQLite rolls back by itself after some errors, such as a full disk.
    }
  }

  #rejectAll(operations: readonly Operation[], error: unknown): void {
    const translated = translateSqlError(error, this.path)
    for (const operation of operations) operation.reject(translated)
  }

  #ringBells(): void {
    if (this.#toRing.size === 0) return
    const rung = [...this.#toRing]
    this.#toRing.clear()
    for (const [name, what] of rung) {
      this.#bells[name].ring()
      for (const listener of [...this.#listeners[name]]) listener(what)
    }
  }

  /** A bell rang, or the safety poll asks: listeners are called only when another process committed since they last looked. */
  #look(name: BellName): void {
    if (this.#closing !== undefined || this.#listeners[name].size === 0) return
    let version: number
    try {
      version = this.#dataVersion()
    } catch {
      // The next look or the next write tells what is wrong with the file.
      return
    }
    if (version === this.#seenVersion[name]) return
    this.#seenVersion[name] = version
    for (const listener of [...this.#listeners[name]]) listener(undefined)
  }

  #dataVersion(): number {
    return this.first<{ data_version: number }>('PRAGMA data_version')?.data_version ?? 0
  }

  #armPoll(): void {
    if (this.#poll !== undefined || this.#pollMs === 0) return
    this.#poll = this.#clock.setTimer(this.#pollMs, () => {
      this.#poll = undefined
      this.#look('tasks')
      this.#look('results')
      if (this.#listeners.tasks.size + this.#listeners.results.size > 0) this.#armPoll()
    })
  }
}

function isNew(operation: Operation): boolean {
  return !operation.essential
}

function closedError(path: string): ConnectionError {
  return new ConnectionError(`the embedded database ${path} is closed`)
}

function fullError(path: string, cause?: unknown): BrokerFullError {
  return new BrokerFullError(
    `the disk of the embedded database ${path} is full: nothing was taken. Free some space; tasks that are there already go on.`,
    { cause },
  )
}

const sleepCell = new Int32Array(new SharedArrayBuffer(4))

/** Stops this thread: SQLite's lock is held for fractions of a millisecond, far less than a timer's resolution. */
function sleepBlocking(ms: number): void {
  Atomics.wait(sleepCell, 0, 0, ms)
}
