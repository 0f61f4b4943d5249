/** States of one tick are stored by one script call; what comes while calls are under way goes with the next one. */
import { BackendFullError, ConnectionError } from '../../errors.js'
import { integerOf, listOf, type Reply } from '../../internal/redis/link.js'
import { encodeMeta, isReady, type ResultMeta } from '../../protocol/result.js'
import type { ResultKeys } from './keys.js'
import type { LinkHolder } from './link-holder.js'
import { replaceScript, storeOnFullScript, storeScript } from './scripts.js'
import { wholeSeconds } from './seconds.js'

const batchSize = 100
/** The server does nothing else while it runs a script. */
const batchChars = 1024 * 1024
/** About what a message and its lease take: the end of a task that is no longer frees memory. */
export const smallEndChars = 2_000
// Two, so that server and process need not wait for each other; four when whole batches are waiting.
const callsAtOnce = 2
const callsAtOnceWhenFull = 4
/** While a call is under way, fewer than this wait for its end: many calls of a few cost more than they gain. */
const worthSending = 50

interface Entry {
  readonly key: string
  readonly taskId: string
  readonly text: string
  /** It is the end of its task. */
  readonly isEnd: boolean
  readonly resolve: (stored: boolean) => void
  readonly reject: (error: unknown) => void
}

class Batch {
  readonly keys: string[] = []
  readonly entries: Entry[] = []
  /** As the script has them: the texts after two others. */
  readonly args: (string | number)[]
  readonly #known = new Set<string>()
  #chars = 0

  constructor(readonly seconds: number) {
    this.args = [0, seconds]
  }

  /** A task is in a batch once: the answer for the first state says nothing of the second. */
  takes({ key, text }: Entry, seconds: number): boolean {
    return seconds === this.seconds && this.keys.length < batchSize && this.#chars + text.length <= batchChars && !this.#known.has(key)
  }

  add(entry: Entry): void {
    this.keys.push(entry.key)
    this.entries.push(entry)
    this.args.push(entry.text)
    this.#known.add(entry.key)
    this.#chars += entry.text.length
  }
}

export class ResultWriter {
  readonly #holder: LinkHolder
  readonly #keys: ResultKeys
  readonly #queue: Batch[] = []
  #calls = 0
  #pumpQueued = false
  /** Stores that are neither done nor refused. */
  #open = 0
  readonly #onDrained: (() => void)[] = []

  constructor(holder: LinkHolder, keys: ResultKeys) {
    this.#holder = holder
    this.#keys = keys
  }

  /** False: the task has ended already, and nothing was written. */
  store(meta: ResultMeta, expiresSeconds: number | null): Promise<boolean> {
    return new Promise((resolve, reject) => {
      // A value that cannot be written rejects this call alone (the promise takes what is thrown).
      const text = encodeMeta(meta)
      this.#open++
      this.#add(
        { key: this.#keys.task(meta.taskId), taskId: meta.taskId, text, isEnd: isReady(meta.status), resolve, reject },
        wholeSeconds(expiresSeconds),
      )
    })
  }

  /** When all that was to be stored is stored or refused. */
  drained(): Promise<void> {
    if (this.#open === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onDrained.push(resolve))
  }

  #add(entry: Entry, seconds: number): void {
    let batch = this.#queue.at(-1)
    if (batch === undefined || !batch.takes(entry, seconds)) {
      batch = new Batch(seconds)
      this.#queue.push(batch)
      this.#pumpSoon()
    }
    batch.add(entry)
    if (batch.keys.length === worthSending) this.#pumpSoon()
  }

  #pumpSoon(): void {
    if (this.#pumpQueued) return
    this.#pumpQueued = true
    setImmediate(() => {
      this.#pumpQueued = false
      while (this.#calls < (this.#queue.length > 1 ? callsAtOnceWhenFull : callsAtOnce)) {
        const batch = this.#queue[0]
        if (batch === undefined || (this.#calls > 0 && this.#queue.length === 1 && batch.keys.length < worthSending)) return
        this.#queue.shift()
        void this.#send(batch)
      }
    })
  }

  /** Never rejects. */
  async #send(batch: Batch): Promise<void> {
    this.#calls++
    try {
      const exceptions = await this.#holder.run((link, again) => {
        if (again) batch.args[0] = 1
        return storeScript.run(link, batch.keys, batch.args)
      })
      this.#settle(batch, listOf(exceptions))
    } catch (error) {
      if (error instanceof BackendFullError) await this.#sendToFull(batch, error)
      else for (const entry of batch.entries) this.#refuse(entry, error)
    }
    this.#calls--
    if (this.#queue.length > 0) this.#pumpSoon()
  }

  /**
   * A server that is full mostly is the broker's as well, and its memory gets free by acks, each of which waits for the end of its task to be stored: small ends are
   * therefore stored all the same (Redis 7). Never rejects.
   */
  async #sendToFull({ entries, seconds, args }: Batch, full: BackendFullError): Promise<void> {
    const batch = new Batch(seconds)
    batch.args[0] = args[0] ?? 0
    for (const entry of entries) {
      if (entry.isEnd && entry.text.length <= smallEndChars) batch.add(entry)
      else this.#refuse(entry, full)
    }
    if (batch.entries.length === 0) return
    try {
      const exceptions = await this.#holder.run((link, again) => {
        if (again) batch.args[0] = 1
        return storeOnFullScript.run(link, batch.keys, batch.args)
      })
      this.#settle(batch, listOf(exceptions))
    } catch {
      // An older server knows no such script.
      for (const entry of batch.entries) this.#refuse(entry, full)
    }
  }

  #settle({ entries, seconds }: Batch, exceptions: readonly Reply[]): void {
    const reasons = new Map<number, Reply>()
    for (let at = 0; at < exceptions.length; at += 2) reasons.set(integerOf(exceptions[at]) - 1, exceptions[at + 1] ?? null)
    for (const [index, entry] of entries.entries()) {
      const reason = reasons.get(index)
      if (reason === undefined) this.#resolve(entry, true)
      else if (reason === 0) this.#resolve(entry, false)
      else if (reason instanceof Buffer) void this.#replace(entry, reason, seconds)
      else this.#refuse(entry, new ConnectionError(`the Redis key ${JSON.stringify(entry.key)} holds something else than a result`))
    }
  }

  /** What is there was written by somebody who writes metas in another way. Never rejects. */
  async #replace(entry: Entry, old: Buffer, seconds: number): Promise<void> {
    try {
      if (isReady(this.#keys.decode(entry.taskId, old).status)) return this.#resolve(entry, false)
      const replaced = await this.#holder.run((link) => replaceScript.run(link, [entry.key], [entry.text, seconds, old]))
      if (replaced === 1) this.#resolve(entry, true)
      else this.#add(entry, seconds)
    } catch (error) {
      this.#refuse(entry, error)
    }
  }

  #resolve(entry: Entry, stored: boolean): void {
    entry.resolve(stored)
    this.#closeOne()
  }

  #refuse(entry: Entry, error: unknown): void {
    entry.reject(error)
    this.#closeOne()
  }

  #closeOne(): void {
    this.#open--
    if (this.#open === 0) for (const drained of this.#onDrained.splice(0)) drained()
  }
}
