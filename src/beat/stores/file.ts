/**
 * Schedules in a JSON file that people can read, for small ones on one host: each write writes it all anew, beside it and then over it. Who leads is in a second
 * file, and a third one is there while one of the two is written.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { ConnectionError, DatabaseUnusableError, UrlInvalidError } from '../../errors.js'
import type { Clock } from '../../internal/clock.js'
import type { Logger } from '../../internal/logger.js'
import { identifyThisProcess, isGone, type ProcessIdentity } from '../../internal/process-identity.js'
import { prepareDatabaseFile } from '../../internal/sqlite/file-safety.js'
import type { HistoryRow, Leadership, ScheduleStore, StoreChange, StoredEntry, WriteOutcome } from '../../schedule-store.js'
import { type LeaseRecord, LeaseWatch, noLease } from './lease-watch.js'
import { newestOf } from './memory.js'
import { emptyContent, type StoreContent, writeTo } from './store-content.js'

const format = 1
const lockDeadlineMs = 5_000
/** A lock is held for some ms; one that is older is that of a process on another host, or of one that hangs. */
const lockAgeMs = 10_000

type FileContent = Omit<StoreContent, 'lease'>

export interface FileStoreOptions {
  readonly app: string
  readonly clock: Clock
  readonly log: Logger
  readonly cwd: string
}

export class FileScheduleStore implements ScheduleStore {
  readonly name = 'file'
  readonly #path: string
  readonly #log: Logger
  readonly #watch: LeaseWatch
  readonly #identity: ProcessIdentity = identifyThisProcess()
  #read: { readonly stamp: string; readonly content: FileContent } | undefined
  #isClosed = false

  static async open(url: string, { app, clock, log, cwd }: FileStoreOptions): Promise<FileScheduleStore> {
    const path = resolve(cwd, pathOf(url, app))
    prepareDatabaseFile(path, { allowNetwork: true })
    prepareDatabaseFile(`${path}.lease`, { allowNetwork: true })
    const store = new FileScheduleStore(path, clock, log)
    await store.#locked(() => store.#repair())
    return store
  }

  private constructor(path: string, clock: Clock, log: Logger) {
    this.#path = path
    this.#log = log
    this.#watch = new LeaseWatch(clock)
  }

  get id(): string {
    return this.#content().id
  }

  async entries(since: number): Promise<readonly StoredEntry[]> {
    return this.#content().entries.filter((entry) => entry.revision > since)
  }

  async revision(): Promise<number> {
    return this.#content().revision
  }

  write(change: StoreChange): Promise<WriteOutcome> {
    return this.#locked(() => {
      const { content, outcome } = writeTo({ ...this.#content(), lease: this.#lease() }, change)
      if (outcome.status === 'written') {
        const { lease: _, ...rest } = content
        this.#replace(this.#path, { format, ...rest })
      }
      return outcome
    })
  }

  async history({ entry, limit }: { readonly entry?: string; readonly limit: number }): Promise<readonly HistoryRow[]> {
    return newestOf({ ...this.#content(), lease: noLease }, entry, limit)
  }

  async lead(owner: string, leaseMs: number): Promise<Leadership> {
    const { revision } = this.#content()
    const seen = this.#lease()
    const wanted = this.#watch.ask(seen, owner, leaseMs)
    // Who waits only reads.
    if (wanted.owner !== owner) return { leads: false, token: seen.token, owner: seen.owner, revision }
    return this.#locked(() => {
      const now = this.#lease()
      const isSame = now.owner === seen.owner && now.token === seen.token && now.beat === seen.beat
      if (isSame) this.#replace(`${this.#path}.lease`, wanted)
      const lease = isSame ? wanted : now
      return { leads: isSame, token: lease.token, owner: lease.owner, revision }
    })
  }

  async resign(owner: string): Promise<void> {
    await this.#locked(() => {
      const lease = this.#lease()
      if (lease.owner === owner) this.#replace(`${this.#path}.lease`, { ...lease, owner: '' })
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  /** Parsed again only when the file is another one. */
  #content(): FileContent {
    if (this.#isClosed) throw new ConnectionError('the store of schedules is closed')
    const { ino, mtimeMs, size } = statSync(this.#path)
    const stamp = `${ino} ${mtimeMs} ${size}`
    if (this.#read?.stamp !== stamp) this.#read = { stamp, content: readContent(readFileSync(this.#path, 'utf8'), this.#path) }
    return this.#read.content
  }

  #lease(): LeaseRecord {
    const text = readFileSync(`${this.#path}.lease`, 'utf8')
    try {
      // Written by this class, or damaged: then nobody leads, and the token is found again from the highest there can be.
      return text === '' ? noLease : (JSON.parse(text) as LeaseRecord)
    } catch {
      return { owner: '', token: Math.floor(Date.now() / 1000), beat: 0 }
    }
  }

  /** Under the lock: an empty file becomes a store; a damaged one is put aside. One of a newer version is refused. */
  #repair(): void {
    const text = readFileSync(this.#path, 'utf8')
    if (text !== '') {
      try {
        readContent(text, this.#path)
        return
      } catch (error) {
        if (error instanceof DatabaseUnusableError) throw error
        const aside = `${this.#path}.damaged-${new Date().toISOString().replaceAll(':', '')}`
        renameSync(this.#path, aside)
        this.#log.error(
          { err: error, aside },
          `the file of schedules ${this.#path} is damaged: it was moved to ${aside}, and a new one was made`,
        )
      }
    }
    const { lease: _, ...content } = emptyContent(randomUUID())
    this.#replace(this.#path, { format, ...content })
  }

  #replace(path: string, value: unknown): void {
    const fresh = `${path}.new`
    rmSync(fresh, { force: true })
    const descriptor = openSync(fresh, 'wx', 0o600)
    try {
      writeSync(descriptor, JSON.stringify(value, undefined, 1))
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(fresh, path)
  }

  async #locked<T>(work: () => T): Promise<T> {
    if (this.#isClosed) throw new ConnectionError('the store of schedules is closed')
    const lock = `${this.#path}.lock`
    const startedMs = performance.now()
    while (!this.#takeLock(lock)) {
      if (performance.now() - startedMs > lockDeadlineMs)
        throw new ConnectionError(`the file of schedules ${this.#path} was locked by another process for ${lockDeadlineMs / 1000} s`)
      await new Promise((done) => setTimeout(done, 1 + Math.random() * 4))
    }
    try {
      return work()
    } finally {
      rmSync(lock, { force: true })
    }
  }

  #takeLock(lock: string): boolean {
    try {
      writeFileSync(lock, JSON.stringify(this.#identity), { flag: 'wx', mode: 0o600 })
      return true
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
    }
    this.#breakLock(lock)
    return false
  }

  /** Takes away the lock of a process that is gone. */
  #breakLock(lock: string): void {
    const mine = `${lock}.${randomUUID()}`
    try {
      const text = readFileSync(lock, 'utf8')
      if (!isAbandoned(text, statSync(lock).mtimeMs, this.#identity)) return
      renameSync(lock, mine)
      // Another process may have done the same, and a third one may have locked since: then this is its lock, and goes back.
      if (readFileSync(mine, 'utf8') !== text) linkSync(mine, lock)
      rmSync(mine, { force: true })
    } catch (error) {
      if (!isCode(error, 'ENOENT') && !isCode(error, 'EEXIST')) throw error
      rmSync(mine, { force: true })
    }
  }
}

function isAbandoned(text: string, lockedAtMs: number, own: ProcessIdentity): boolean {
  if (Date.now() - lockedAtMs > lockAgeMs) return true
  try {
    // Written by this class; while it is written, it may be empty.
    return isGone(JSON.parse(text) as ProcessIdentity, own)
  } catch {
    return false
  }
}

function readContent(text: string, path: string): FileContent {
  const parsed: unknown = JSON.parse(text)
  const value: Partial<FileContent> & { format?: unknown } = typeof parsed === 'object' && parsed !== null ? parsed : {}
  if (typeof value.format === 'number' && value.format > format) {
    throw new DatabaseUnusableError(
      `the file of schedules ${path} was written by a newer celeriac (format ${value.format}, this one knows ${format}). Update celeriac, or use another file.`,
    )
  }
  const { id, revision, entries, history } = value
  if (value.format !== format || id === undefined || revision === undefined || !Array.isArray(entries) || !Array.isArray(history))
    throw new SyntaxError('it holds something else than schedules')
  return { id, revision, entries, history }
}

function pathOf(url: string, app: string): string {
  const match = /^file:(?:\/\/)?([^?#]*)$/i.exec(url)
  if (match?.[1] === undefined)
    throw new UrlInvalidError(
      `expected a URL such as "file://./schedules.json" or "file:///var/lib/app/schedules.json", got: ${JSON.stringify(url)}`,
    )
  return match[1] === '' ? `.celeriac/schedules-${encodeURIComponent(app)}.json` : decodeURIComponent(match[1])
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
