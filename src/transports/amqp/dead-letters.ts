/**
 * The dead letters of a RabbitMQ broker: one durable queue for all, `celeriac.dead`, of which the broker drops the oldest beyond 10 000. Who looks into it takes the
 * messages out and puts them back by closing the channel: in their order, but for nobody else to be seen meanwhile.
 */
import { randomUUID } from 'node:crypto'
import { NotPublishedError, QueueMissingError } from '../../errors.js'
import type { AmqpMessage } from '../../internal/amqp/amqplib.js'
import type { AmqpLink, OpenChannel } from '../../internal/amqp/link.js'
import { refusalOf } from '../../internal/amqp/reply.js'
import { isRecord } from '../../protocol/plain.js'
import type { Queue } from '../../protocol/topology.js'
import type { DeadLetter, DeadLetters } from '../../transport.js'
import type { Control } from './control.js'
import type { Publisher } from './publisher.js'
import { again, deadHeader, deliveriesHeader, readMessage } from './wire.js'

const deadQueue: Queue = {
  name: 'celeriac.dead',
  durable: true,
  exclusive: false,
  autoDelete: false,
  arguments: { 'x-max-length': 10_000, 'x-overflow': 'drop-head' },
  bindings: [],
}
/** For putting one there, and for finding the next of those that are there. */
const deadlineMs = 30_000
const silenceMs = 2_000

interface DeadLettersParts {
  readonly control: Control
  readonly publisher: Publisher
  readonly link: () => AmqpLink
  readonly declare: (queue: Queue) => Promise<void>
  readonly now: () => number
}

export interface Burial {
  readonly raw: AmqpMessage
  readonly queue: string
  readonly reason: string
  readonly deliveries: number
}

export class AmqpDeadLetters implements DeadLetters {
  readonly #parts: DeadLettersParts
  #declared: Promise<void> | undefined
  /** One look after the other: each hides the messages from the others. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(parts: DeadLettersParts) {
    this.#parts = parts
  }

  /** Settles when the broker has it. */
  async bury({ raw, queue, reason, deliveries }: Burial): Promise<void> {
    await this.#declare()
    const note = { id: randomUUID(), queue, reason: reason.slice(0, 4_000), diedAtMs: this.#parts.now(), deliveries }
    const { content, properties } = again(raw, { [deadHeader]: JSON.stringify(note) })
    // Neither the limit of its time nor of its kind is over here; and it outlives the broker.
    const { expiration: _, ...rest } = properties
    await this.#publish({ content, properties: { ...rest, deliveryMode: 2 } }, deadQueue.name)
  }

  list({ queue, limit = 100 }: { readonly queue?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    return this.#alone(async () => {
      const letters: DeadLetter[] = []
      await this.#look((raw) => {
        const letter = readLetter(raw)
        if (queue !== undefined && letter.queue !== queue) return
        letters.push(letter)
        // The newest come last.
        if (letters.length > limit) letters.shift()
      })
      return letters.reverse()
    })
  }

  replay(id: string): Promise<boolean> {
    return this.#alone(() =>
      this.#look(undefined, id, async (raw) => {
        const { queue } = readLetter(raw)
        try {
          await this.#publish(again(raw, { [deliveriesHeader]: 0 }), queue)
        } catch (error) {
          if (error instanceof NotPublishedError && /there is no queue/.test(error.message)) throw new QueueMissingError(queue)
          throw error
        }
      }),
    )
  }

  drop(id: string): Promise<boolean> {
    return this.#alone(() => this.#look(undefined, id, async () => {}))
  }

  count(): Promise<number> {
    return this.#alone(async () => (await this.#size()) ?? 0)
  }

  #publish(outgoing: ReturnType<typeof again>, queue: string): Promise<void> {
    return this.#parts.publisher.publish(outgoing, { exchange: '', routingKey: queue }, { deadlineMs, mandatory: true })
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => {})
    return done
  }

  #declare(): Promise<void> {
    this.#declared ??= this.#parts.declare(deadQueue).catch((error: unknown) => {
      this.#declared = undefined
      throw error
    })
    return this.#declared
  }

  /** Undefined: nothing has ever died here. */
  async #size(): Promise<number | undefined> {
    try {
      return (await this.#parts.control.ask((api) => api.checkQueue(deadQueue.name))).messageCount
    } catch (error) {
      if (refusalOf(error)?.code === 404) return undefined
      throw error
    }
  }

  /** Shows the messages, oldest first; or does something with the one of this id and removes it. False: there is no such one. */
  async #look(see?: (raw: AmqpMessage) => void, id?: string, work?: (raw: AmqpMessage) => Promise<void>): Promise<boolean> {
    const count = (await this.#size()) ?? 0
    if (count === 0) return false
    const link = this.#parts.link()
    const unhold = link.hold()
    try {
      const channel = await link.openChannel()
      try {
        const found = await take(channel, count, (raw) => {
          see?.(raw)
          return id !== undefined && readLetter(raw).id === id
        })
        if (found === undefined) return false
        await work?.(found)
        channel.api.ack(found)
        return true
      } finally {
        // Which gives all others back, in their order.
        await channel.close()
      }
    } finally {
      unhold()
    }
  }
}

/** So many messages, or those up to the one that is looked for. */
function take({ api, ended }: OpenChannel, count: number, isFound: (raw: AmqpMessage) => boolean): Promise<AmqpMessage | undefined> {
  return new Promise((resolve, reject) => {
    let left = count
    const settle = (found: AmqpMessage | undefined): void => {
      clearTimeout(silence)
      left = 0
      resolve(found)
    }
    // Others may take some of them meanwhile.
    let silence = setTimeout(() => settle(undefined), silenceMs)
    api
      .consume(deadQueue.name, (raw) => {
        if (left === 0) return
        if (raw === null) return settle(undefined)
        clearTimeout(silence)
        silence = setTimeout(() => settle(undefined), silenceMs)
        if (isFound(raw)) return settle(raw)
        if (--left === 0) settle(undefined)
      })
      .catch(reject)
    void ended.then((reason) => {
      clearTimeout(silence)
      reject(reason ?? new Error('the channel was closed'))
    })
  })
}

function readLetter(raw: AmqpMessage): DeadLetter {
  const { message } = readMessage(raw)
  const given = raw.properties.headers?.[deadHeader]
  try {
    const note: unknown = JSON.parse(String(given))
    if (isRecord(note)) {
      const { id, queue, reason, diedAtMs, deliveries } = note
      return {
        id: String(id),
        queue: String(queue),
        reason: String(reason),
        diedAtMs: Number(diedAtMs) || 0,
        deliveries: Number(deliveries) || 0,
        message,
      }
    }
  } catch {
    // Somebody else put it there.
  }
  return { id: '', queue: '', reason: 'its note is damaged', diedAtMs: 0, deliveries: 0, message }
}
