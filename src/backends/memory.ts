/** Results in this process's memory: for tests, and for programs that need no more than their own process. */
import type { BackendSupports, ChordPart, ResultBackend } from '../backend.js'
import { ConnectionError, UrlInvalidError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { redactUrl } from '../internal/url.js'
import type { JsonText } from '../protocol/json-text.js'
import { decodeMeta, encodeMeta, isReady, type ResultMeta, type ResultTuple } from '../protocol/result.js'
import { MemoryChords } from './memory/chords.js'
import { ResultWaits } from './result-waits.js'

interface Stored {
  /** As text, as every other backend keeps it: who gets it shares no object with who stored it. */
  readonly text: string
  readonly ready: boolean
  readonly expiresAtMs: number
}

/** Fewer are not worth a look for what has expired. */
const fewResults = 1_000

/** What backends of one name share. */
class MemoryResults {
  readonly results = new Map<string, Stored>()
  /** With so many results those that have expired are removed: what is kept is at most twice what is of use, and a store costs no more for it. */
  cleanAt = fewResults
  /** Until when each revoked task is remembered. */
  readonly revokes = new Map<string, number>()
  readonly listeners = new Set<(meta: ResultMeta) => void>()
  readonly chords: MemoryChords

  constructor(clock: Clock) {
    this.chords = new MemoryChords(clock)
  }
}

// Mutable module state, because two backends that name the same store must meet, and nothing else of the process knows both. Held by clock, so that a test
// with a clock of its own shares nothing with others, and is forgotten with it.
const stores = new WeakMap<Clock, Map<string, MemoryResults>>()

export class MemoryBackend implements ResultBackend {
  readonly name = 'memory'
  readonly supports: BackendSupports = { push: true, persistent: false, durableRevoke: true, chords: true, results: true }
  readonly #clock: Clock
  readonly #shared: MemoryResults
  readonly #waits: ResultWaits
  #isClosed = false

  /** `memory://` is one store for the process (and clock), `memory://name` another. */
  constructor(url: string, { clock }: { readonly clock: Clock }) {
    const name = /^memory:(?:\/\/)?([\w.-]*)\/?(?:\?.*)?$/i.exec(url)?.[1]
    if (name === undefined)
      throw new UrlInvalidError(`expected a URL such as "memory://" or "memory://name", got: ${JSON.stringify(redactUrl(url))}`)
    const byName = stores.get(clock) ?? new Map<string, MemoryResults>()
    stores.set(clock, byName)
    const shared = byName.get(name) ?? new MemoryResults(clock)
    byName.set(name, shared)
    this.#clock = clock
    this.#shared = shared
    const listener = (meta: ResultMeta): void => this.#waits.deliver(meta)
    this.#waits = new ResultWaits({ open: () => shared.listeners.add(listener), close: () => shared.listeners.delete(listener) })
  }

  async store(meta: ResultMeta, { expiresSeconds }: { readonly expiresSeconds: number | null }): Promise<boolean> {
    this.#refuseWhenClosed()
    if (this.#live(meta.taskId)?.ready === true) return false
    const text = encodeMeta(meta)
    const expiresAtMs = expiresSeconds === null ? Number.POSITIVE_INFINITY : this.#clock.now() + expiresSeconds * 1000
    this.#shared.results.set(meta.taskId, { text, ready: isReady(meta.status), expiresAtMs })
    if (this.#shared.results.size >= this.#shared.cleanAt) {
      this.#removeExpired(this.#clock.now())
      this.#shared.cleanAt = Math.max(fewResults, 2 * this.#shared.results.size)
    }
    if (this.#shared.listeners.size > 0) for (const listener of this.#shared.listeners) listener(decodeMeta(text))
    return true
  }

  async get(taskId: string): Promise<ResultMeta | undefined> {
    this.#refuseWhenClosed()
    const stored = this.#live(taskId)
    return stored === undefined ? undefined : decodeMeta(stored.text)
  }

  async getMany(taskIds: readonly string[]): Promise<ReadonlyMap<string, ResultMeta>> {
    this.#refuseWhenClosed()
    const found = new Map<string, ResultMeta>()
    for (const taskId of taskIds) {
      const stored = this.#live(taskId)
      if (stored !== undefined) found.set(taskId, decodeMeta(stored.text))
    }
    return found
  }

  async *wait(taskIds: readonly string[], { signal }: { readonly signal: AbortSignal }): AsyncIterable<ResultMeta> {
    this.#refuseWhenClosed()
    yield* this.#waits.wait(taskIds, signal, (ids) => this.getMany(ids))
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    this.#refuseWhenClosed()
    for (const taskId of taskIds) this.#shared.results.delete(taskId)
  }

  async revoke(taskIds: readonly string[], { expiresSeconds }: { readonly expiresSeconds: number }): Promise<void> {
    this.#refuseWhenClosed()
    for (const taskId of taskIds) this.#shared.revokes.set(taskId, this.#clock.now() + expiresSeconds * 1000)
  }

  async revoked(taskIds: readonly string[]): Promise<ReadonlySet<string>> {
    this.#refuseWhenClosed()
    const nowMs = this.#clock.now()
    return new Set(taskIds.filter((taskId) => (this.#shared.revokes.get(taskId) ?? 0) > nowMs))
  }

  async startChord(...args: Parameters<ResultBackend['startChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#shared.chords.startChord(...args)
  }

  async growChord(...args: Parameters<ResultBackend['growChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#shared.chords.growChord(...args)
  }

  async completeChordPart(...args: Parameters<ResultBackend['completeChordPart']>): Promise<'waiting' | 'lost' | readonly ChordPart[]> {
    this.#refuseWhenClosed()
    return this.#shared.chords.completeChordPart(...args)
  }

  async chordBody(groupId: string): Promise<JsonText | undefined> {
    this.#refuseWhenClosed()
    return this.#shared.chords.chordBody(groupId)
  }

  async endChord(...args: Parameters<ResultBackend['endChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#shared.chords.endChord(...args)
  }

  async saveGroup(...args: Parameters<ResultBackend['saveGroup']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#shared.chords.saveGroup(...args)
  }

  async group(groupId: string): Promise<ResultTuple | undefined> {
    this.#refuseWhenClosed()
    return this.#shared.chords.group(groupId)
  }

  async forgetGroup(groupId: string): Promise<boolean> {
    this.#refuseWhenClosed()
    return this.#shared.chords.forgetGroup(groupId)
  }

  async cleanup({ nowMs }: { readonly nowMs: number }): Promise<number> {
    this.#refuseWhenClosed()
    return this.#removeExpired(nowMs)
  }

  #removeExpired(nowMs: number): number {
    const { results, revokes, chords } = this.#shared
    chords.removeExpired(nowMs)
    for (const [taskId, expiresAtMs] of revokes) if (expiresAtMs <= nowMs) revokes.delete(taskId)
    let removed = 0
    for (const [taskId, stored] of results) if (stored.expiresAtMs <= nowMs && results.delete(taskId)) removed += 1
    return removed
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waits.fail(closedError())
  }

  #live(taskId: string): Stored | undefined {
    const stored = this.#shared.results.get(taskId)
    return stored === undefined || stored.expiresAtMs <= this.#clock.now() ? undefined : stored
  }

  #refuseWhenClosed(): void {
    if (this.#isClosed) throw closedError()
  }
}

function closedError(): ConnectionError {
  return new ConnectionError('the memory result backend is closed')
}
