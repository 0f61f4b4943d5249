/** Chords in Redis, where and as Celery counts them: headers of one chord may run in Python and in Node. */
import type { ChordCounters, ChordPart } from '../../backend.js'
import { bytesOf, listOf, textOf } from '../../internal/redis/link.js'
import { JsonText } from '../../protocol/json-text.js'
import { readPart, writePart } from './chord-part.js'
import { endScript, growScript, startScript, takeBackScript } from './chord-scripts.js'
import type { ResultKeys } from './keys.js'
import type { LinkHolder } from './link-holder.js'
import { type CountedPart, PartCounter } from './part-counter.js'
import { wholeSeconds } from './seconds.js'

interface Expiry {
  readonly expiresSeconds: number | null
}

const partsAtOnce = 2_000
const noBody = '1'

export class RedisChords implements ChordCounters {
  readonly #holder: LinkHolder
  readonly #keys: ResultKeys
  readonly #isOrdered: boolean
  readonly #counter: PartCounter

  /** `isOrdered`: a body gets results in the order of the headers; all programs of a chord must agree. */
  constructor(holder: LinkHolder, keys: ResultKeys, { isOrdered }: { readonly isOrdered: boolean }) {
    this.#holder = holder
    this.#keys = keys
    this.#isOrdered = isOrdered
    this.#counter = new PartCounter(holder, keys, { isOrdered })
  }

  async startChord(
    groupId: string,
    { size, body, expiresSeconds }: Expiry & { readonly size: number; readonly body?: JsonText | undefined },
  ): Promise<void> {
    const { size: sizeKey, claim, ours } = this.#keys.chord(groupId)
    const given = [size, wholeSeconds(expiresSeconds), body?.text ?? noBody]
    await this.#holder.run((link) => startScript.run(link, [sizeKey, claim, ours], given))
  }

  async chordBody(groupId: string): Promise<JsonText | undefined> {
    const kept = await this.#holder.run((link) => link.call('GET', [this.#keys.chord(groupId).ours]))
    const text = kept === null ? noBody : textOf(kept)
    return text === noBody ? undefined : new JsonText(text)
  }

  async growChord(groupId: string, taskIds: readonly string[], { expiresSeconds }: Expiry): Promise<void> {
    const { growth, counted, claim } = this.#keys.chord(groupId)
    await this.#holder.run((link) => growScript.run(link, [growth, counted, claim], [wholeSeconds(expiresSeconds), ...taskIds]))
  }

  async completeChordPart(
    groupId: string,
    part: ChordPart,
    { size, expiresSeconds }: Expiry & { readonly size?: number | undefined },
  ): Promise<'waiting' | 'lost' | readonly ChordPart[]> {
    const { text, head } = writePart(part)
    const score: CountedPart['score'] = part.index ?? '+inf'
    const counted = { groupId, text, head, name: `${part.taskId}:${score}`, score, mustBeKnown: size !== undefined, expiresSeconds }
    for (;;) {
      const count = await this.#counter.count(counted)
      if (count <= 0) return count === 0 ? 'waiting' : 'lost'
      const { parts, claim } = this.#keys.chord(groupId)
      const { found, twice } = await this.#read(parts)
      if (found.length >= count) return found
      // Celery before 5.7 counts a task again when it ends again with another result. When nothing is there twice, the chord has ended meanwhile.
      if (twice.length > 0) await this.#holder.run((link) => takeBackScript.run(link, [parts, claim], [counted.name, ...twice]))
    }
  }

  async endChord(groupId: string, { expiresSeconds }: Expiry): Promise<void> {
    const { claim, parts, growth, size, counted, ours } = this.#keys.chord(groupId)
    await this.#holder.run((link) => endScript.run(link, [claim, parts, growth, size, counted, ours], [wholeSeconds(expiresSeconds)]))
  }

  /** All parts, in their order, and the texts of those that are there already. */
  async #read(key: string): Promise<{ readonly found: readonly ChordPart[]; readonly twice: readonly Buffer[] }> {
    const found: ChordPart[] = []
    const twice: Buffer[] = []
    const seen = new Set<string>()
    for (;;) {
      const page = await this.#page(key, found.length + twice.length)
      for (const { bytes, index } of page) {
        const part = readPart(bytes, index)
        // Without an order nothing tells two headers with one id from one that is there twice.
        const name = this.#isOrdered ? `${part.taskId}:${index}` : `${found.length}`
        if (seen.has(name)) twice.push(bytes)
        else found.push(part)
        seen.add(name)
      }
      if (page.length < partsAtOnce) return { found, twice }
    }
  }

  async #page(key: string, from: number): Promise<readonly { readonly bytes: Buffer; readonly index: number | null }[]> {
    const to = from + partsAtOnce - 1
    if (!this.#isOrdered) {
      const list = listOf(await this.#holder.run((link) => link.call('LRANGE', [key, from, to])))
      return list.map((bytes) => ({ bytes: bytesOf(bytes), index: null }))
    }
    const list = listOf(await this.#holder.run((link) => link.call('ZRANGE', [key, from, to, 'WITHSCORES'])))
    return Array.from({ length: list.length / 2 }, (_, at) => {
      const score = Number(textOf(list[2 * at + 1]))
      return { bytes: bytesOf(list[2 * at]), index: Number.isSafeInteger(score) ? score : null }
    })
  }
}
