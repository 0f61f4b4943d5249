/** Declares queues and exchanges as Python does, and remembers them: what was deleted is made again. */
import { ConnectionError, DeclarationMismatchError, NotSupportedError } from '../../errors.js'
import type { AmqpChannel } from '../../internal/amqp/amqplib.js'
import { type AmqpRefusal, refusalOf } from '../../internal/amqp/reply.js'
import type { Binding, Exchange, ExchangeType, Queue, Topology } from '../../protocol/topology.js'

export class AmqpTopology {
  readonly #exchanges = new Map<string, Exchange>()
  readonly #queues = new Map<string, Queue>()

  /** Rejects with DeclarationMismatchError, which names the argument and both values, and ConnectionError. */
  async declare(api: AmqpChannel, { exchanges, queues }: Topology): Promise<void> {
    for (const exchange of exchanges) {
      if (exchange.name !== '') await declareExchange(api, exchange)
      this.#exchanges.set(exchange.name, exchange)
    }
    for (const queue of queues) {
      await declareQueue(api, queue)
      const before = this.#queues.get(queue.name)?.bindings ?? []
      const bindings = [...before.filter((one) => !queue.bindings.some((other) => isSameBinding(one, other))), ...queue.bindings]
      this.#queues.set(queue.name, { ...queue, bindings })
    }
  }

  /** A queue that was deleted, with all that leads to it. */
  async declareAgain(api: AmqpChannel, name: string): Promise<void> {
    const queue = this.#queues.get(name)
    if (queue === undefined) return
    const exchanges = [...new Set(queue.bindings.map(({ exchange }) => exchange))].flatMap(
      (exchange) => this.#exchanges.get(exchange) ?? [],
    )
    await this.declare(api, { exchanges, queues: [queue] })
  }

  queue(name: string): Queue | undefined {
    return this.#queues.get(name)
  }

  isQuorum(name: string): boolean {
    return this.#queues.get(name)?.arguments['x-queue-type'] === 'quorum'
  }

  /** Undefined: this connection did not declare it. */
  typeOf(exchange: string): ExchangeType | undefined {
    return this.#exchanges.get(exchange)?.type
  }

  /** The queues of this connection that are bound to an exchange. */
  queuesOf(exchange: string): readonly string[] {
    return [...this.#queues.values()]
      .filter(({ bindings }) => bindings.some((binding) => binding.exchange === exchange))
      .map(({ name }) => name)
  }

  /** The queues of this connection that a direct exchange gives messages of this key to. */
  queuesAt(exchange: string, routingKey: string): readonly string[] {
    return [...this.#queues.values()]
      .filter(({ bindings }) => bindings.some((binding) => binding.exchange === exchange && binding.routingKey === routingKey))
      .map(({ name }) => name)
  }
}

async function declareExchange(api: AmqpChannel, { name, type, durable, autoDelete }: Exchange): Promise<void> {
  try {
    await api.assertExchange(name, type, { durable, autoDelete })
  } catch (error) {
    throw mismatch(error, 'exchange', name)
  }
}

async function declareQueue(api: AmqpChannel, { name, durable, exclusive, autoDelete, arguments: given, bindings }: Queue): Promise<void> {
  if (given['x-queue-type'] === 'stream')
    throw new NotSupportedError(
      `the queue ${JSON.stringify(name)} of type stream`,
      'a stream keeps what is done with: use quorum or classic',
    )
  try {
    await api.assertQueue(name, { durable, exclusive, autoDelete, arguments: given })
    for (const { exchange, routingKey, arguments: more } of bindings)
      if (exchange !== '') await api.bindQueue(name, exchange, routingKey, more ?? {})
  } catch (error) {
    throw mismatch(error, 'queue', name)
  }
}

/** `inequivalent arg 'x-max-priority' for queue 'q' in vhost '/': received the value '3' of type 'byte' but current is none` */
const inequivalent = /inequivalent arg '([^']*)' for (queue|exchange) '([\s\S]*)' in vhost '.*': received (.+?) but current is (.+)$/

function mismatch(error: unknown, kind: 'queue' | 'exchange', name: string): unknown {
  const refusal = refusalOf(error)
  if (refusal === undefined) return error
  const found = inequivalent.exec(refusal.text)
  if (found !== null) {
    const [, argument = '', of = kind, entity = name, declared = '', existing = ''] = found
    return new DeclarationMismatchError(
      of === 'exchange' ? 'exchange' : 'queue',
      entity,
      `${argument}: ${valueIn(existing)}`,
      `${argument}: ${valueIn(declared)}`,
    )
  }
  if (refusal.code === 405)
    return new DeclarationMismatchError(kind, name, 'the exclusive one of another connection', 'one for this connection')
  // What is declared is wrong by itself: `invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue`
  if (refusal.code === 406)
    return new NotSupportedError(`the declaration of ${kind} ${JSON.stringify(name)}`, `RabbitMQ says ${JSON.stringify(refusal.text)}`)
  return refused(refusal, `the declaration of ${kind} ${JSON.stringify(name)}`)
}

export function refused({ text }: AmqpRefusal, what: string): ConnectionError {
  return new ConnectionError(`RabbitMQ refuses ${what}: ${text}`)
}

/** Of the server's words: `the value '10' of type 'byte'`, `'true'`, `none`. */
function valueIn(words: string): string {
  return /^the value '([\s\S]*)' of type '[a-z]+'$/.exec(words)?.[1] ?? /^'([\s\S]*)'$/.exec(words)?.[1] ?? words
}

function isSameBinding(one: Binding, other: Binding): boolean {
  return (
    one.exchange === other.exchange &&
    one.routingKey === other.routingKey &&
    JSON.stringify(one.arguments ?? {}) === JSON.stringify(other.arguments ?? {})
  )
}
