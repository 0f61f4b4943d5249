/** Results in Redis, where and as Celery keeps them: Python and Node read and await each other's. */
import type { BackendSupports, ChordPart, ResultBackend, StoreOptions } from '../backend.js'
import { ConnectionError } from '../errors.js'
import { atMost } from '../internal/at-most.js'
import type { Clock } from '../internal/clock.js'
import type { Examination } from '../internal/examination.js'
import { listOf, type RedisLink, type RedisTarget, type Reply } from '../internal/redis/link.js'
import { askServer, evictionOfResults } from '../internal/redis/server-facts.js'
import { JsonText } from '../protocol/json-text.js'
import { encodeMeta, type PlacedEnd, type ResultMeta, type ResultTuple } from '../protocol/result.js'
import { RedisChords } from './redis/chords.js'
import { GroupStore } from './redis/groups.js'
import { ResultKeys } from './redis/keys.js'
import { closedError, LinkHolder } from './redis/link-holder.js'
import { ResultSubscriber } from './redis/result-subscriber.js'
import { ResultWriter, smallEndChars } from './redis/result-writer.js'
import { RevokedTasks } from './redis/revoked-tasks.js'
import { wholeSeconds } from './redis/seconds.js'
import { ResultWaits } from './result-waits.js'

const keysAtOnce = 1_000
/** What cannot be stored in this time is refused when the backend is closed. */
const closingMs = 5_000

export interface RedisBackendOptions {
  /** Before the names of all keys and channels; Python peers have it as `result_backend_transport_options["global_keyprefix"]`. */
  readonly globalKeyprefix: string
  /** Whether the body of a chord gets the results in the order of the headers; Python peers have it under `result_chord_ordered`. Default: true. */
  readonly resultChordOrdered?: boolean | undefined
}

export class RedisBackend implements ResultBackend {
  readonly name = 'redis'
  readonly supports: BackendSupports = { push: true, persistent: true, durableRevoke: true, chords: true, results: true }
  readonly place: string | undefined
  readonly #clock: Clock
  readonly #keys: ResultKeys
  readonly #holder: LinkHolder
  readonly #writer: ResultWriter
  readonly #chords: RedisChords
  readonly #groups: GroupStore
  readonly #subscriber: ResultSubscriber
  readonly #waits: ResultWaits
  readonly #revoked: RevokedTasks
  #closing: Promise<void> | undefined

  /** Connects when it is first used. */
  constructor(
    target: RedisTarget,
    { globalKeyprefix, resultChordOrdered = true }: RedisBackendOptions,
    { clock }: { readonly clock: Clock },
  ) {
    this.#clock = clock
    this.place = target.place
    this.#keys = new ResultKeys(globalKeyprefix)
    this.#holder = new LinkHolder(target, { clock, name: 'celeriac:results' })
    this.#writer = new ResultWriter(this.#holder, this.#keys)
    this.#chords = new RedisChords(this.#holder, this.#keys, { isOrdered: resultChordOrdered })
    this.#groups = new GroupStore(this.#holder, this.#keys)
    this.#waits = new ResultWaits({
      open: () => this.#subscriber.open(),
      close: () => this.#subscriber.rest(),
      leave: (taskIds) => this.#subscriber.unlisten(this.#channels(taskIds)),
    })
    this.#revoked = new RevokedTasks(target, { keys: this.#keys, holder: this.#holder, clock })
    this.#subscriber = new ResultSubscriber(target, {
      name: 'celeriac:results:waits',
      clock,
      onMessage: (channel, payload) => this.#hear(channel, payload),
      wanted: () => this.#channels(this.#waits.openTasks()),
      isWanted: (channel) => this.#waits.isAwaited(this.#keys.taskId(channel)),
      reread: () => this.#reread(),
    })
  }

  examine(): Promise<Examination> {
    return this.#holder.run(async (link) => {
      const server = await askServer(link)
      const unknown = { about: 'settings', level: 'unknown', evidence: 'Redis does not let this user read INFO' } as const
      return {
        server: `Redis ${server?.versionText ?? ''}`.trim(),
        findings: server === undefined ? [unknown] : [evictionOfResults(server)],
        clockAheadMs: undefined,
      }
    })
  }

  store(meta: ResultMeta, { expiresSeconds }: { readonly expiresSeconds: number | null }): Promise<boolean> {
    if (this.#closing !== undefined) return Promise.reject(closedError())
    return this.#writer.store(meta, expiresSeconds)
  }

  /** Small ends: a broker stores them on a full server as well, as this does. */
  placed(meta: ResultMeta, { expiresSeconds }: StoreOptions): PlacedEnd | undefined {
    if (this.#closing !== undefined || !(meta.result instanceof JsonText) || meta.result.text.length > smallEndChars) return undefined
    const text = encodeMeta(meta)
    return text.length > smallEndChars ? undefined : { key: this.#keys.task(meta.taskId), text, seconds: wholeSeconds(expiresSeconds) }
  }

  async get(taskId: string): Promise<ResultMeta | undefined> {
    return (await this.getMany([taskId])).get(taskId)
  }

  async getMany(taskIds: readonly string[]): Promise<ReadonlyMap<string, ResultMeta>> {
    const found = new Map<string, ResultMeta>()
    for (const [taskId, bytes] of await this.#read(taskIds)) found.set(taskId, this.#keys.decode(taskId, bytes))
    return found
  }

  async *wait(taskIds: readonly string[], { signal }: { readonly signal: AbortSignal }): AsyncIterable<ResultMeta> {
    this.#refuseWhenClosed()
    yield* this.#waits.wait(taskIds, signal, async (ids) => {
      await this.#subscriber.listen(this.#channels(ids))
      return this.#readForWaits(ids)
    })
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    this.#refuseWhenClosed()
    await this.#holder.run((link) => inChunks(link, 'DEL', this.#channels(taskIds)))
  }

  async revoke(taskIds: readonly string[], { expiresSeconds }: { readonly expiresSeconds: number }): Promise<void> {
    this.#refuseWhenClosed()
    await this.#revoked.add(taskIds, expiresSeconds)
  }

  revoked(taskIds: readonly string[]): ReadonlySet<string> | Promise<ReadonlySet<string>> {
    this.#refuseWhenClosed()
    return this.#revoked.among(taskIds)
  }

  async startChord(...args: Parameters<ResultBackend['startChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#chords.startChord(...args)
  }

  async growChord(...args: Parameters<ResultBackend['growChord']>): Promise<void> {
    this.#refuseWhenClosed()
    return this.#chords.growChord(...args)
  }

  completeChordPart(...args: Parameters<ResultBackend['completeChordPart']>): Promise<'waiting' | 'lost' | readonly ChordPart[]> {
    if (this.#closing !== undefined) return Promise.reject(closedError())
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
    return this.#groups.save(...args)
  }

  async group(groupId: string): Promise<ResultTuple | undefined> {
    this.#refuseWhenClosed()
    return this.#groups.restore(groupId)
  }

  async forgetGroup(groupId: string): Promise<boolean> {
    this.#refuseWhenClosed()
    return this.#groups.delete(groupId)
  }

  /** Redis removes what has expired by itself. */
  async cleanup(): Promise<number> {
    this.#refuseWhenClosed()
    return 0
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#waits.fail(closedError())
    await Promise.all([this.#subscriber.close(), this.#revoked.close(), atMost(this.#clock, closingMs, this.#writer.drained())])
    await this.#holder.close()
  }

  async #read(taskIds: readonly string[]): Promise<readonly (readonly [taskId: string, bytes: Buffer])[]> {
    this.#refuseWhenClosed()
    if (taskIds.length === 0) return []
    const values = (await this.#holder.run((link) => inChunks(link, 'MGET', this.#channels(taskIds)))).flatMap(listOf)
    return taskIds.flatMap((taskId, index) => {
      const value = values[index]
      return value instanceof Buffer ? [[taskId, value] as const] : []
    })
  }

  /** A value that cannot be read ends the waits for its task, and no others. */
  async #readForWaits(taskIds: readonly string[]): Promise<ReadonlyMap<string, ResultMeta>> {
    const found = new Map<string, ResultMeta>()
    for (const [taskId, bytes] of await this.#read(taskIds)) {
      const meta = this.#decodeForWaits(taskId, bytes)
      if (meta !== undefined) found.set(taskId, meta)
    }
    return found
  }

  async #reread(): Promise<void> {
    for (const meta of (await this.#readForWaits(this.#waits.openTasks())).values()) this.#waits.deliver(meta)
  }

  #hear(channel: string, payload: Buffer): void {
    const meta = this.#decodeForWaits(this.#keys.taskId(channel), payload)
    if (meta !== undefined) this.#waits.deliver(meta)
  }

  #decodeForWaits(taskId: string, bytes: Buffer): ResultMeta | undefined {
    try {
      return this.#keys.decode(taskId, bytes)
    } catch (error) {
      this.#waits.failTask(taskId, error instanceof Error ? error : new ConnectionError(String(error)))
      return undefined
    }
  }

  #channels(taskIds: readonly string[]): string[] {
    return taskIds.map((taskId) => this.#keys.task(taskId))
  }

  #refuseWhenClosed(): void {
    if (this.#closing !== undefined) throw closedError()
  }
}

function chunks<T>(items: readonly T[]): (readonly T[])[] {
  if (items.length <= keysAtOnce) return items.length === 0 ? [] : [items]
  return Array.from({ length: Math.ceil(items.length / keysAtOnce) }, (_, index) =>
    items.slice(index * keysAtOnce, (index + 1) * keysAtOnce),
  )
}

/** One command for each thousand keys, all of them sent at once. */
function inChunks(link: RedisLink, command: string, keys: readonly string[]): Promise<readonly Reply[]> {
  return Promise.all(chunks(keys).map((some) => link.call(command, some)))
}
