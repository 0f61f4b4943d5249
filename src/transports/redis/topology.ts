/**
 * What this connection has declared. Redis keeps bindings, but neither queues nor the types of exchanges: each process knows those that it declared itself, and
 * takes every other exchange for a direct one, as kombu does.
 */
import { NotSupportedError } from '../../errors.js'
import type { RedisLink } from '../../internal/redis/link.js'
import { listOf, textOf } from '../../internal/redis/link.js'
import { checkTopology } from '../../protocol/routing.js'
import type { ExchangeType, Queue, Topology } from '../../protocol/topology.js'
import { type Layout, matchesTopicPattern, topicPattern } from './layout.js'

export class RedisTopology {
  readonly #layout: Layout
  readonly #exchangeTypes = new Map<string, ExchangeType>()
  readonly #queues = new Map<string, Queue>()

  constructor(layout: Layout) {
    this.#layout = layout
  }

  async declare(link: RedisLink, topology: Topology): Promise<void> {
    checkTopology(topology)
    for (const queue of topology.queues) checkArguments(queue)
    for (const { name, type } of topology.exchanges) this.#exchangeTypes.set(name, type)
    await this.#write(link, topology.queues)
    for (const queue of topology.queues) {
      const known = this.#queues.get(queue.name)
      this.#queues.set(queue.name, known === undefined ? queue : { ...queue, bindings: [...known.bindings, ...queue.bindings] })
    }
  }

  /** Writes all bindings once more: on a new link, since the server may have been emptied. */
  async declareAgain(link: RedisLink): Promise<void> {
    await this.#write(link, [...this.#queues.values()])
  }

  /** As it was declared here; otherwise what every list is: a queue without bindings. */
  queue(name: string): Queue {
    return this.#queues.get(name) ?? { name, durable: true, exclusive: false, autoDelete: false, arguments: {}, bindings: [] }
  }

  typeOf(exchange: string): ExchangeType {
    return this.#exchangeTypes.get(exchange) ?? 'direct'
  }

  /** The channel patterns that a queue listens to. */
  fanoutPatterns(queue: Queue): readonly string[] {
    return queue.bindings
      .filter(({ exchange }) => this.typeOf(exchange) === 'fanout')
      .map(({ exchange, routingKey }) => this.#layout.channelPattern(exchange, routingKey))
  }

  /** The queues that a message goes to, by the bindings that stand in Redis. */
  async route(link: RedisLink, exchange: string, routingKey: string): Promise<readonly string[]> {
    if (exchange === '') return [routingKey]
    const type = this.typeOf(exchange)
    const members = listOf(await link.call('SMEMBERS', [this.#layout.bindings(exchange)]))
    const queues = new Set<string>()
    for (const member of members) {
      const binding = this.#layout.readBinding(textOf(member))
      if (binding === undefined) continue
      const takes = type === 'topic' ? matchesTopicPattern(binding.pattern, routingKey) : binding.routingKey === routingKey
      if (takes) queues.add(binding.queue)
    }
    return [...queues]
  }

  /** Takes the queues away that go with this connection: what is exclusive or deletes itself. */
  async dropPrivate(link: RedisLink): Promise<void> {
    const mine = [...this.#queues.values()].filter(({ exclusive, autoDelete }) => exclusive || autoDelete)
    await Promise.all(
      mine.flatMap((queue) => [
        ...this.#members(queue).map(({ keys, member }) => Promise.all(keys.map((key) => link.call('SREM', [key, member])))),
        link.call('DEL', [...this.#layout.lists(queue.name)]),
      ]),
    )
  }

  async #write(link: RedisLink, queues: readonly Queue[]): Promise<void> {
    const calls = queues.flatMap((queue) =>
      this.#members(queue).flatMap(({ keys, member }) => keys.map((key) => link.call('SADD', [key, member]))),
    )
    await Promise.all(calls)
  }

  #members(queue: Queue): readonly { readonly keys: readonly string[]; readonly member: string }[] {
    const isPrivate = queue.exclusive || queue.autoDelete
    return queue.bindings
      .filter(({ exchange }) => exchange !== '')
      .map(({ exchange, routingKey }) => {
        const pattern = this.typeOf(exchange) === 'topic' ? topicPattern(routingKey) : ''
        const bindings = this.#layout.bindings(exchange)
        // A private queue goes with its connection, as those that expire in kombu: it must not keep the set for ever, should nobody take it out.
        const keys = isPrivate ? [bindings] : [this.#layout.permanentBindings(exchange), bindings]
        return { keys, member: this.#layout.binding(routingKey, pattern, queue.name) }
      })
  }
}

/** Nothing is accepted and ignored. Priorities every queue has here. */
function checkArguments({ name, arguments: given }: Queue): void {
  const [unknown] = Object.keys(given).filter((argument) => argument !== 'x-max-priority')
  if (unknown === undefined) return
  throw new NotSupportedError(
    `the argument ${unknown} of queue ${JSON.stringify(name)}`,
    'a queue in Redis is a list, which has no properties. Leave it out of taskQueues for this broker',
  )
}
