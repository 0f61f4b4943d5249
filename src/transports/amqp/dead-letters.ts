/**
 * The dead letters of a RabbitMQ broker: one durable queue for all, `celeriac.dead`, of which the broker drops the oldest beyond 10 000. Who looks into it takes the
 * messages out and puts them back: in their order, but for nobody else to be seen meanwhile.
 */
import { randomUUID } from 'node:crypto'
import { NotPublishedError, QueueMissingError } from '../../errors.js'
import type { AmqpChannel, AmqpMessage } from '../../internal/amqp/amqplib.js'
import type { AmqpLink } from '../../internal/amqp/link.js'
import { refusalOf } from '../../internal/amqp/reply.js'
import { isRecord } from '../../protocol/plain.js'
import type { Queue } from '../../protocol/topology.js'
import type { DeadLetter, DeadLetterActions, DeadLetters } from '../../transport.js'
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
/** For putting one there, or back. */
const deadlineMs = 30_000
const askedAtOnce = 20

interface DeadLettersParts {
  readonly control: Control
  readonly publisher: Publisher
  readonly link: () => Promise<AmqpLink>
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
    const note = { id: randomUUID(), queue, reason: reason.slice(0, 4_000), diedAtMs: this.#parts.now(), deliveries }
    const { content, properties } = again(raw, { [deadHeader]: JSON.stringify(note) })
    // Neither the limit of its time nor of its kind is over here; and it outlives the broker.
    const { expiration: _, ...rest } = properties
    const letter = { content, properties: { ...rest, deliveryMode: 2 } }
    await this.#declare()
    try {
      await this.#publish(letter, deadQueue.name)
    } catch (error) {
      if (!isUnroutable(error)) throw error
      // Somebody has deleted it.
      this.#declared = undefined
      await this.#declare()
      await this.#publish(letter, deadQueue.name)
    }
  }

  async list({ queue, limit = 100 }: { readonly queue?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    const letters: DeadLetter[] = []
    if (limit > 0)
      await this.visit((letter) => {
        if (queue === undefined || letter.queue === queue) letters.push(letter)
        return letters.length < limit
      })
    return letters
  }

  /** In one pass, since each pass begins at the head; what was shown is nobody else's until its end. */
  visit(see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>): Promise<void> {
    return this.#alone(async () => {
      // Whether it is there. What it says of its size may be from before the messages that the last look has put back: it answers that out of turn.
      if ((await this.#size()) === undefined) return
      const link = await this.#parts.link()
      const unhold = link.hold()
      try {
        const channel = await link.openChannel()
        try {
          for await (const raw of taken(channel.api)) if (!(await this.#show(raw, channel.api, see))) return
        } finally {
          // A close alone would give them back, too, but a moment after its answer: the next look would not see them.
          if (channel.isOpen) channel.api.nackAll(true)
          await channel.close()
        }
      } finally {
        unhold()
      }
    })
  }

  async replay(id: string): Promise<boolean> {
    return this.#actOn(id, ({ replay }) => replay())
  }

  async drop(id: string): Promise<boolean> {
    return this.#actOn(id, ({ drop }) => drop())
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

  async #show(
    raw: AmqpMessage,
    api: AmqpChannel,
    see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>,
  ): Promise<boolean> {
    let isHere = true
    const gone = (): boolean => {
      isHere = false
      api.ack(raw)
      return true
    }
    const letter = readLetter(raw)
    return see(letter, {
      replay: async () => {
        if (!isHere) return false
        await this.#sendBack(raw, letter.queue)
        return gone()
      },
      drop: async () => isHere && gone(),
    })
  }

  async #sendBack(raw: AmqpMessage, queue: string): Promise<void> {
    try {
      await this.#publish(again(raw, { [deliveriesHeader]: 0 }), queue)
    } catch (error) {
      if (isUnroutable(error)) throw new QueueMissingError(queue)
      throw error
    }
  }

  async #actOn(id: string, act: (actions: DeadLetterActions) => Promise<boolean>): Promise<boolean> {
    let done = false
    await this.visit(async (letter, actions) => {
      if (letter.id !== id) return true
      done = await act(actions)
      return false
    })
    return done
  }
}

function isUnroutable(error: unknown): boolean {
  return error instanceof NotPublishedError && /there is no queue/.test(error.message)
}

/** All that are there now, the oldest first: a few are asked for at a time, and each may be large. */
async function* taken(api: AmqpChannel): AsyncGenerator<AmqpMessage> {
  const oldest = await api.get(deadQueue.name)
  if (oldest === false) return
  yield oldest
  for (let left = oldest.fields.messageCount ?? 0; left > 0; left -= askedAtOnce) {
    const page = await Promise.all(Array.from({ length: Math.min(askedAtOnce, left) }, () => api.get(deadQueue.name)))
    for (const raw of page) {
      // Others may take some of them meanwhile.
      if (raw === false) return
      yield raw
    }
  }
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
