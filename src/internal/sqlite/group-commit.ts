/**
 * The group commit: everything that is written in one tick of the event loop goes into one transaction, in order; promises settle after its COMMIT.
 *
 *   write ─▶ queued ─tick─▶ BEGIN ─▶ each in its turn ─▶ COMMIT ─▶ bells rung, file and reserve looked for, settled
 *               ▲             │             ├─ one throws ─▶ all again, each with a savepoint of its own
 *               └── is locked ┘             └─ disk full ──▶ new ones are refused, the reserve is freed, essential ones again
 *
 * Locking is never SQLite's own busy handler (it starves one of two writers for seconds), but a short blocking back-off and then asynchronous tries.
 */
import { BrokerFullError, ConnectionError } from '../../errors.js'
import { EndOfTurn } from '../end-of-turn.js'
import { failpoint } from '../failpoints.js'
import type { Bells } from './bells.js'
import { type SqlEngine, sqlErrorKind, translateSqlError } from './engine.js'
import type { Reserve } from './reserve.js'
import type { Sql } from './sql.js'

export interface WriteOptions {
  /** Gives room back or is worth the reserve: it is tried even when the disk is full. */
  readonly essential?: boolean
  /** Runs after everything else of its transaction, such as a claim that wants to see what was published in the same tick. */
  readonly last?: boolean
  /** How long it waits for other processes that keep the file locked. */
  readonly patienceMs?: number
}

/** For so long another process may keep the file locked, unless somebody has more patience. */
export const lockDeadlineMs = 5_000
const blockingWaitMs = 3
const healEveryMs = 250

interface Operation {
  readonly work: (sql: Sql) => unknown
  readonly essential: boolean
  readonly queuedAtMs: number
  readonly patienceMs: number
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

interface GroupCommitParts {
  /** Of the database, for errors. */
  readonly path: string
  readonly engine: SqlEngine
  /** What the pieces write through: the engine's statements. */
  readonly sql: Sql
  readonly reserve: Reserve
  readonly bells: Bells
  /** Why what was written is lost, and nothing can be written any more; asked after each COMMIT. */
  readonly loss: () => ConnectionError | undefined
  /** The same, at a time when the disk seems full: the file is looked for at once. */
  readonly lossNow: () => ConnectionError | undefined
}

export class GroupCommit {
  readonly #path: string
  readonly #engine: SqlEngine
  readonly #sql: Sql
  readonly #reserve: Reserve
  readonly #bells: Bells
  readonly #loss: GroupCommitParts['loss']
  readonly #lossNow: GroupCommitParts['lossNow']
  #operations: Operation[] = []
  #lastOperations: Operation[] = []
  readonly #endOfTurn = new EndOfTurn()
  #scheduled = false
  #healTriedMs = Number.NEGATIVE_INFINITY

  constructor({ path, engine, sql, reserve, bells, loss, lossNow }: GroupCommitParts) {
    this.#loss = loss
    this.#lossNow = lossNow
    this.#path = path
    this.#engine = engine
    this.#sql = sql
    this.#reserve = reserve
    this.#bells = bells
  }

  /** Something is queued. */
  get isScheduled(): boolean {
    return this.#scheduled
  }

  /** As `SqliteDatabase.write`. */
  write<T>(work: (sql: Sql) => T, { essential = false, last = false, patienceMs = lockDeadlineMs }: WriteOptions): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const operation: Operation = {
        work,
        essential,
        queuedAtMs: performance.now(),
        patienceMs,
        // Resolved only with what its own `work` gave.
        resolve: resolve as (value: unknown) => void,
        reject,
      }
      if (last) this.#lastOperations.push(operation)
      else this.#operations.push(operation)
      this.#schedule()
    })
  }

  /** The file is closed now: what is still queued is refused. */
  end(error: unknown): void {
    this.#rejectAll(this.#takeOperations(), error)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#endOfTurn.call(() => this.#flush())
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
    const nowMs = performance.now()
    const isLate = ({ queuedAtMs, patienceMs }: Operation): boolean => nowMs - queuedAtMs > patienceMs
    const late = [...this.#operations.filter(isLate), ...this.#lastOperations.filter(isLate)]
    if (late.length > 0) {
      this.#operations = this.#operations.filter((operation) => !isLate(operation))
      this.#lastOperations = this.#lastOperations.filter((operation) => !isLate(operation))
      this.#rejectAll(
        late,
        new ConnectionError(
          `the embedded database ${this.#path} was locked by another process for ${Math.max(...late.map(({ patienceMs }) => patienceMs)) / 1000} s`,
        ),
      )
    }
    setTimeout(() => this.#flush(), 1 + Math.random() * 3)
  }

  /** Inside BEGIN: does all and commits, or undoes all and finds out what can be done. */
  #transact(operations: readonly Operation[]): void {
    const results: unknown[] = []
    try {
      for (const operation of operations) results.push(operation.work(this.#sql))
      failpoint('sqlite.before-commit')
      this.#engine.exec('COMMIT')
    } catch (error) {
      this.#rollback()
      if (sqlErrorKind(error) === 'full') this.#afterDiskFull(operations, error)
      else this.#transactEach(operations)
      return
    }
    failpoint('sqlite.after-commit')
    this.#committed(operations, () => {
      for (const [index, operation] of operations.entries()) operation.resolve(results[index])
    })
  }

  /** Who waits for the news has it first: a look at a file costs as much as a small write. */
  #committed(operations: readonly Operation[], settle: () => void): void {
    this.#bells.ring()
    if (!operations.some(isNew)) {
      settle()
      // What is settled here is lost with the rest, if it is, and its owner learns so by the loss itself.
      setImmediate(this.#loss)
      return
    }
    this.#reserve.lookAgain()
    const loss = this.#loss()
    if (loss === undefined) settle()
    else this.#rejectAll(operations, loss)
  }

  /** One of them failed: each gets a savepoint of its own, so that the others still share one COMMIT. */
  #transactEach(operations: readonly Operation[]): void {
    const done: (() => void)[] = []
    try {
      if (!this.#begin()) return this.#putBack(operations)
      for (const operation of operations) {
        this.#engine.exec('SAVEPOINT operation')
        try {
          const result = operation.work(this.#sql)
          done.push(() => operation.resolve(result))
        } catch (error) {
          if (sqlErrorKind(error) === 'full') throw error
          this.#engine.exec('ROLLBACK TO operation')
          done.push(() => operation.reject(translateSqlError(error, this.#path)))
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
    this.#committed(operations, () => {
      for (const settle of done) settle()
    })
  }

  /** Another process was faster: all of it again, as soon as that one lets go. */
  #putBack(operations: readonly Operation[]): void {
    this.#operations = [...operations, ...this.#operations]
    this.#scheduled = true
    this.#flushLater()
  }

  #afterDiskFull(operations: readonly Operation[], cause: unknown): void {
    const wasThere = this.#reserve.isThere
    this.#reserve.free()
    this.#healTriedMs = performance.now()
    this.#rejectAll(
      operations.filter((operation) => !operation.essential),
      fullError(this.#path, cause),
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
        if (!this.#begin()) throw new ConnectionError(`the embedded database ${this.#path} was locked by another process`)
        const result = operation.work(this.#sql)
        this.#engine.exec('COMMIT')
        this.#committed([operation], () => operation.resolve(result))
      } catch (error) {
        this.#rollback()
        operation.reject(sqlErrorKind(error) === 'full' ? fullError(this.#path, error) : translateSqlError(error, this.#path))
      }
    }
  }

  #refuseNewOnFullDisk(): void {
    if (!this.#operations.some(isNew) && !this.#lastOperations.some(isNew)) return
    if (this.#reserve.isLikelyThere || this.#heal()) return
    // Its room may be missing because the file is.
    const refusal = this.#lossNow() ?? fullError(this.#path)
    this.#rejectAll([...this.#operations.filter(isNew), ...this.#lastOperations.filter(isNew)], refusal)
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
      this.#sql.all('PRAGMA incremental_vacuum(64)')
    } catch {
      // No room even for that, or locked: the next try may find some.
    }
    this.#checkpoint()
    return this.#reserve.create()
  }

  #checkpoint(): void {
    try {
      this.#sql.all('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // What could not be moved stays in the log, which is as safe.
    }
  }

  #rollback(): void {
    this.#bells.forget()
    try {
      this.#engine.exec('ROLLBACK')
    } catch {
      // SQLite rolls back by itself after some errors, such as a full disk.
    }
  }

  #rejectAll(operations: readonly Operation[], error: unknown): void {
    const translated = translateSqlError(error, this.#path)
    for (const operation of operations) operation.reject(translated)
  }
}

function isNew(operation: Operation): boolean {
  return !operation.essential
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
