/** The dead letters of a Redis broker: one hash for all queues, and their order by time. */
import type { RedisLink } from '../../internal/redis/link.js'
import { integerOf, listOf, textOf } from '../../internal/redis/link.js'
import type { Message } from '../../protocol/message.js'
import { isRecord } from '../../protocol/plain.js'
import type { DeadLetter, DeadLetterActions, DeadLetters } from '../../transport.js'
import { markRedelivered, readEnvelope } from './envelope.js'
import type { Layout } from './layout.js'
import type { Scripts } from './scripts.js'

const pageSize = 200
/** Those that are shown one after the other are read in pages of so many: each may be large. */
const shownPage = 20

interface Note {
  readonly queue: string
  readonly reason: string
  readonly diedAtMs: number
  readonly deliveries: number
}

export class RedisDeadLetters implements DeadLetters {
  readonly #layout: Layout
  readonly #scripts: Scripts
  readonly #repeat: <T>(work: (link: RedisLink) => Promise<T>) => Promise<T>

  constructor(layout: Layout, scripts: Scripts, repeat: <T>(work: (link: RedisLink) => Promise<T>) => Promise<T>) {
    this.#layout = layout
    this.#scripts = scripts
    this.#repeat = repeat
  }

  async list({ queue, limit = 100 }: { readonly queue?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    return this.#repeat(async (link) => {
      const letters: DeadLetter[] = []
      for (let from = 0; letters.length < limit; from += pageSize) {
        const ids = listOf(await link.call('ZRANGE', [this.#layout.deadIndex, from, from + pageSize - 1])).map(textOf)
        if (ids.length === 0) break
        const values = listOf(await link.call('HMGET', [this.#layout.dead, ...ids]))
        for (const [index, value] of values.entries()) {
          if (!(value instanceof Buffer)) continue
          const { note, raw } = readLetter(value)
          if (queue !== undefined && note.queue !== queue) continue
          letters.push({ id: ids[index] ?? '', ...note, message: messageOf(raw) })
        }
      }
      return letters.slice(0, limit)
    })
  }

  async visit(see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>): Promise<void> {
    const ids = await this.#repeat(async (link) => listOf(await link.call('ZRANGE', [this.#layout.deadIndex, 0, -1])).map(textOf))
    for (let from = 0; from < ids.length; from += shownPage) {
      const page = ids.slice(from, from + shownPage)
      const values = await this.#repeat(async (link) => listOf(await link.call('HMGET', [this.#layout.dead, ...page])))
      for (const [index, id] of page.entries()) {
        const value = values[index]
        if (!(value instanceof Buffer)) continue
        const { note, raw } = readLetter(value)
        const letter = { id, ...note, message: messageOf(raw) }
        if (!(await see(letter, { replay: () => this.replay(id), drop: () => this.drop(id) }))) return
      }
    }
  }

  async replay(id: string): Promise<boolean> {
    return this.#repeat(async (link) => {
      const value = await link.call('HGET', [this.#layout.dead, id])
      if (!(value instanceof Buffer)) return false
      const { note, raw } = readLetter(value)
      const { priority, envelope } = anew(raw)
      const keys = [this.#layout.dead, this.#layout.deadIndex, this.#layout.listFor(note.queue, priority)]
      return integerOf(await this.#scripts.replay.run(link, keys, [id, envelope])) === 1
    })
  }

  async drop(id: string): Promise<boolean> {
    return this.#repeat(async (link) => {
      const [dropped] = await Promise.all([link.call('HDEL', [this.#layout.dead, id]), link.call('ZREM', [this.#layout.deadIndex, id])])
      return integerOf(dropped) === 1
    })
  }

  async count(): Promise<number> {
    return this.#repeat(async (link) => integerOf(await link.call('HLEN', [this.#layout.dead])))
  }
}

function readLetter(value: Buffer): { readonly note: Note; readonly raw: Buffer } {
  const lineEnd = value.indexOf(0x0a)
  const raw = value.subarray(lineEnd + 1)
  try {
    const note: unknown = JSON.parse(value.subarray(0, lineEnd).toString('utf8'))
    if (isRecord(note)) {
      const { queue, reason, diedAtMs, deliveries } = note
      return {
        note: {
          queue: typeof queue === 'string' ? queue : '',
          reason: typeof reason === 'string' ? reason : '',
          diedAtMs: typeof diedAtMs === 'number' ? diedAtMs : 0,
          deliveries: typeof deliveries === 'number' ? deliveries : 0,
        },
        raw,
      }
    }
  } catch {
    // Somebody else wrote it.
  }
  return { note: { queue: '', reason: 'its note is damaged', diedAtMs: 0, deliveries: 0 }, raw: value }
}

/** A message may lie here because it is no envelope: then its bytes are all that there is to show. */
function messageOf(raw: Buffer): Message {
  try {
    return readEnvelope(raw).message
  } catch {
    return { body: raw, contentType: 'application/octet-stream', contentEncoding: 'binary', headers: {}, properties: {} }
  }
}

function anew(raw: Buffer): { readonly priority: number | undefined; readonly envelope: Buffer | string } {
  try {
    const opened = readEnvelope(raw)
    return { priority: opened.message.properties.priority, envelope: markRedelivered(raw, 0, opened) }
  } catch {
    return { priority: undefined, envelope: raw }
  }
}
