/**
 * Single queues of RabbitMQ, for operators. The server has no place for notes: that a queue is paused is told by another queue, durable and without a consumer,
 * whose one message is the note.
 */
import { ConnectionError } from '../../errors.js'
import type { AmqpChannel } from '../../internal/amqp/amqplib.js'
import { refusalOf } from '../../internal/amqp/reply.js'
import type { Queue } from '../../protocol/topology.js'
import type { QueueFacts, Queues } from '../../transport.js'
import type { Control } from './control.js'
import type { Publisher } from './publisher.js'
import { refused } from './topology.js'

/** Before the name of a queue that is paused. */
const pausePrefix = 'celeriac.paused.'
const deadlineMs = 10_000

interface QueuesParts {
  readonly control: Control
  readonly publisher: Publisher
  /** Messages that wait in this process for their time. */
  readonly heldHere: (queue: string) => number
}

export class AmqpQueues implements Queues {
  readonly #parts: QueuesParts

  constructor(parts: QueuesParts) {
    this.#parts = parts
  }

  async facts(queue: string): Promise<QueueFacts> {
    const state = await this.#state(queue)
    // What is in workers' hands, how old messages are and what waits in the delay queues the server tells only its own management.
    return { waiting: state?.messages ?? 0, delayed: undefined, leased: undefined, consumers: state?.consumers ?? 0, oldestAtMs: undefined }
  }

  /** To look at a message would mean to take it and give it back, which marks it as redelivered. */
  async oldestAtMs(): Promise<undefined> {
    return undefined
  }

  async size(queue: string, { due }: { readonly due: boolean }): Promise<number> {
    return (due ? 0 : this.#parts.heldHere(queue)) + ((await this.#state(queue))?.messages ?? 0)
  }

  async paused(queues: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const notes = new Map<string, string>()
    for (const queue of queues) {
      const state = await this.#state(pausePrefix + queue, { orForbidden: true })
      if (state !== undefined) notes.set(queue, await this.#note(pausePrefix + queue))
    }
    return notes
  }

  async pause(queue: string, note: string): Promise<void> {
    const { name, durable, exclusive, autoDelete, arguments: limits } = markerOf(queue)
    await this.#ask(name, (api) => api.assertQueue(name, { durable, exclusive, autoDelete, arguments: limits }))
    await this.#parts.publisher.publish(
      {
        content: Buffer.from(note),
        properties: { contentType: 'application/json', contentEncoding: 'utf-8', headers: {}, deliveryMode: 2 },
      },
      { exchange: '', routingKey: name },
      { deadlineMs, mandatory: true },
    )
  }

  async resume(queue: string): Promise<boolean> {
    const name = pausePrefix + queue
    if ((await this.#state(name)) === undefined) return false
    await this.#ask(name, (api) => api.deleteQueue(name))
    return true
  }

  /** They come out of the delay queues when their time has come, and not before. */
  async hurry(): Promise<undefined> {
    return undefined
  }

  /** Puts the note back by hand: to give it back would need the end of a channel that others use. */
  async #note(name: string): Promise<string> {
    const found = await this.#ask(name, async (api) => {
      const message = await api.get(name)
      if (message === false) return ''
      api.nack(message, false, true)
      return message.content.toString('utf8')
    })
    return found ?? ''
  }

  /** Undefined: there is no such queue. */
  #state(
    name: string,
    options: { readonly orForbidden?: boolean } = {},
  ): Promise<{ readonly messages: number; readonly consumers: number } | undefined> {
    return this.#ask(
      name,
      async (api) => {
        const { messageCount, consumerCount } = await api.checkQueue(name)
        return { messages: messageCount, consumers: consumerCount }
      },
      options,
    )
  }

  /** Undefined for a queue that is not there. Rejects with ConnectionError. */
  async #ask<T>(
    queue: string,
    work: (api: AmqpChannel) => Promise<T>,
    { orForbidden = false }: { readonly orForbidden?: boolean } = {},
  ): Promise<T | undefined> {
    try {
      return await this.#parts.control.ask(work)
    } catch (error) {
      const refusal = refusalOf(error)
      // A user who may not see pauses works as before there were any.
      if (refusal?.code === 404 || (refusal?.code === 403 && orForbidden)) return undefined
      if (refusal === undefined) throw error
      throw error instanceof ConnectionError ? error : refused(refusal, `a question about queue ${JSON.stringify(queue)}`)
    }
  }
}

/** The last note counts. */
function markerOf(queue: string): Queue {
  return {
    name: pausePrefix + queue,
    durable: true,
    exclusive: false,
    autoDelete: false,
    arguments: { 'x-max-length': 1, 'x-overflow': 'drop-head' },
    bindings: [],
  }
}
