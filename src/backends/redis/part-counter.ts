/** Parts of one chord that end in one tick are counted by one script call. */
import { chordClaimSeconds } from '../../backend.js'
import { BackendFullError } from '../../errors.js'
import { type Argument, integerOf, listOf } from '../../internal/redis/link.js'
import type { Script } from '../../internal/redis/script.js'
import { completeOnFullScript, completeScript } from './chord-scripts.js'
import type { ResultKeys } from './keys.js'
import type { LinkHolder } from './link-holder.js'
import { wholeSeconds } from './seconds.js'

const batchSize = 100
/** The server does nothing else while it runs a script. */
const batchChars = 1024 * 1024
/** About what a message and its lease take: the part of a task that is done frees memory, when it is no longer than that. */
const smallPartChars = 2_000

export interface CountedPart {
  readonly groupId: string
  /** As it is kept, and what it begins with. */
  readonly text: string
  readonly head: string
  /** Among those that are counted. */
  readonly name: string
  readonly score: number | '+inf'
  readonly mustBeKnown: boolean
  readonly expiresSeconds: number | null
}

interface Entry {
  readonly part: CountedPart
  readonly resolve: (count: number) => void
  readonly reject: (error: unknown) => void
}

export class PartCounter {
  readonly #holder: LinkHolder
  readonly #keys: ResultKeys
  readonly #isOrdered: boolean
  /** Of this tick, by group and expiry. */
  readonly #queued = new Map<string, Entry[]>()

  constructor(holder: LinkHolder, keys: ResultKeys, { isOrdered }: { readonly isOrdered: boolean }) {
    this.#holder = holder
    this.#keys = keys
    this.#isOrdered = isOrdered
  }

  /** How many parts there are to read when this one closes its chord, else 0; -1: the chord is lost. */
  count(part: CountedPart): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#queued.size === 0) setImmediate(() => this.#send())
      const key = `${part.expiresSeconds} ${part.groupId}`
      const batch = this.#queued.get(key)
      const entry = { part, resolve, reject }
      if (batch === undefined) this.#queued.set(key, [entry])
      else batch.push(entry)
    })
  }

  #send(): void {
    const groups = [...this.#queued.values()]
    this.#queued.clear()
    for (const entries of groups) for (const batch of batches(entries)) void this.#complete(batch)
  }

  /** Never rejects. */
  async #complete(batch: readonly Entry[]): Promise<void> {
    try {
      await this.#run(completeScript, batch)
    } catch (error) {
      if (!(error instanceof BackendFullError)) return reject(batch, error)
      const small = batch.filter(({ part }) => part.text.length <= smallPartChars)
      reject(
        batch.filter((entry) => !small.includes(entry)),
        error,
      )
      // An older server knows no such script: then it is full, as it says.
      if (small.length > 0) await this.#run(completeOnFullScript, small).catch(() => reject(small, error))
    }
  }

  async #run(script: Script, batch: readonly Entry[]): Promise<void> {
    const [first] = batch
    if (first === undefined) return
    const { groupId, expiresSeconds } = first.part
    const { parts, growth, size, counted, claim, ours } = this.#keys.chord(groupId)
    const keys = [parts, growth, size, counted, claim, ours, this.#keys.group(groupId)]
    const args: Argument[] = [this.#isOrdered ? 1 : 0, wholeSeconds(expiresSeconds), chordClaimSeconds]
    for (const { text, head, name, score, mustBeKnown } of batch.map(({ part }) => part))
      args.push(text, head, name, score, mustBeKnown ? 1 : 0)
    const counts = listOf(await this.#holder.run((link) => script.run(link, keys, args)))
    for (const [index, entry] of batch.entries()) entry.resolve(integerOf(counts[index]))
  }
}

function* batches(entries: readonly Entry[]): Generator<readonly Entry[]> {
  let batch: Entry[] = []
  let chars = 0
  for (const entry of entries) {
    if (batch.length === batchSize || (batch.length > 0 && chars + entry.part.text.length > batchChars)) {
      yield batch
      batch = []
      chars = 0
    }
    batch.push(entry)
    chars += entry.part.text.length
  }
  yield batch
}

function reject(entries: readonly Entry[], error: unknown): void {
  for (const entry of entries) entry.reject(error)
}
