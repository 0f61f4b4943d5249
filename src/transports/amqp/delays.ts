/**
 * Messages that wait at the broker, in the queues that Celery has for it (celery-wire: "Native delayed delivery"): 28 levels, one for each bit of the seconds to
 * wait. At a level whose bit is 1 the message lies 2^level seconds and falls to the next; where it is 0 it passes through.
 */
import type { AmqpChannel } from '../../internal/amqp/amqplib.js'
import { matchesTopic } from '../../protocol/routing.js'
import type { Destination, ExchangeType, Queue } from '../../protocol/topology.js'
import type { Control } from './control.js'
import type { AmqpTopology } from './topology.js'
import { ownDelayKey } from './wire.js'

const levels = 28
const mostSeconds = 2 ** levels - 1
const firstExchange = `celery_delayed_${levels - 1}`
const lastExchange = 'celery_delayed_delivery'
/** A binding of a queue to the last exchange itself, by its name. */
const itself = ''

interface DelaysParts {
  readonly control: Control
  readonly topology: AmqpTopology
  readonly queueType: 'quorum' | 'classic'
}

export class Delays {
  readonly #parts: DelaysParts
  #levels: Promise<void> | undefined
  /** By queue: what leads to it from the last exchange. */
  readonly #bound = new Map<string, Map<string, Promise<void>>>()

  constructor(parts: DelaysParts) {
    this.#parts = parts
  }

  /** What Python's workers declare when one of their queues is a quorum queue: the levels, and their end at the exchange of each queue. */
  async declareFor(queues: readonly string[]): Promise<void> {
    await this.#declareLevels()
    for (const name of queues) {
      const queue = this.#parts.topology.queue(name)
      if (queue !== undefined) await this.#bindExchanges(queue)
    }
  }

  /** Where a message must be published to that reaches `to` in so many seconds; undefined: it can only go there at once. */
  async to(to: Destination, seconds: number): Promise<Destination | undefined> {
    const { topology } = this.#parts
    if (to.exchange === '') return topology.isQuorum(to.routingKey) ? this.toQueue(to.routingKey, seconds) : undefined
    const type = topology.typeOf(to.exchange)
    const queues = topology.queuesOf(to.exchange)
    if (type === undefined || !queues.some((name) => topology.isQuorum(name))) return undefined
    if (type === 'direct') {
      const [queue, ...others] = topology.queuesAt(to.exchange, to.routingKey)
      return queue !== undefined && others.length === 0 && topology.isQuorum(queue) ? this.toQueue(queue, seconds) : undefined
    }
    // It comes back with a longer routing key, which finds only what is bound for that: the queues that are known here, and no others.
    if (!queues.some((name) => this.#takes(name, type, to))) return undefined
    await this.declareFor(queues)
    return at(seconds, to.routingKey)
  }

  /** The same for one queue, whatever its type and exchange are. */
  async toQueue(queue: string, seconds: number): Promise<Destination> {
    await this.#declareLevels()
    await this.#bindItself(queue)
    return at(seconds, ownDelayKey(queue))
  }

  /** After a queue was deleted and made anew: what waits for it comes to it all the same, whoever has sent it. */
  async bindAgain(name: string): Promise<void> {
    const isQuorum = this.#parts.topology.isQuorum(name)
    const before = this.#bound.get(name)
    this.#bound.delete(name)
    if (isQuorum || before !== undefined) await this.declareFor([name])
    if (isQuorum || before?.has(itself) === true) await this.#bindItself(name)
  }

  #takes(name: string, type: ExchangeType, { exchange, routingKey }: Destination): boolean {
    const bindings = this.#parts.topology.queue(name)?.bindings ?? []
    const leadsBack = (key: string): boolean => matchesTopic(type === 'topic' ? key : delayedKey(key), routingKey)
    return bindings.some((binding) => binding.exchange === exchange && leadsBack(binding.routingKey))
  }

  #bindItself(queue: string): Promise<void> {
    return this.#once(queue, itself, (api) => api.bindQueue(queue, lastExchange, `#.${ownDelayKey(queue)}`))
  }

  #declareLevels(): Promise<void> {
    this.#levels ??= this.#parts.control
      .ask((api) => this.#declareAll(api))
      .catch((error: unknown) => {
        this.#levels = undefined
        throw error
      })
    return this.#levels
  }

  async #declareAll(api: AmqpChannel): Promise<void> {
    const { topology, queueType } = this.#parts
    const exchange = (name: string) => ({ name, type: 'topic' as const, durable: true, autoDelete: false })
    await topology.declare(api, { exchanges: [exchange(lastExchange)], queues: [] })
    for (let level = 0; level < levels; level++) {
      const next = level === 0 ? lastExchange : `celery_delayed_${level - 1}`
      const name = `celery_delayed_${level}`
      // One more word for each level that was passed.
      const passed = '*.'.repeat(levels - 1 - level)
      await topology.declare(api, {
        exchanges: [exchange(name)],
        queues: [
          {
            name,
            durable: true,
            exclusive: false,
            autoDelete: false,
            arguments: {
              'x-queue-type': queueType,
              'x-overflow': 'reject-publish',
              'x-message-ttl': 2 ** level * 1000,
              'x-dead-letter-exchange': next,
              ...(queueType === 'quorum' ? { 'x-dead-letter-strategy': 'at-least-once' } : {}),
            },
            bindings: [{ exchange: name, routingKey: `${passed}1.#` }],
          },
        ],
      })
      await api.bindExchange(next, name, `${passed}0.#`)
    }
  }

  async #bindExchanges(queue: Queue): Promise<void> {
    for (const { exchange, routingKey, arguments: given } of queue.bindings) {
      const type: ExchangeType | undefined = this.#parts.topology.typeOf(exchange)
      // Python, too: on a direct exchange the bits of the routing key would find no queue.
      if (exchange === '' || type === undefined || type === 'direct') continue
      const key = delayedKey(routingKey)
      await this.#once(queue.name, `${exchange} ${key}`, async (api) => {
        await api.bindExchange(exchange, lastExchange, key)
        // Without what it asks of headers it would take every message.
        await api.bindQueue(queue.name, exchange, key, type === 'headers' ? given : {})
      })
    }
  }

  #once(queue: string, what: string, work: (api: AmqpChannel) => Promise<unknown>): Promise<void> {
    const bound = this.#bound.get(queue) ?? new Map<string, Promise<void>>()
    this.#bound.set(queue, bound)
    const known = bound.get(what)
    if (known !== undefined) return known
    const done = this.#parts.control
      .ask(work)
      .then(() => {})
      .catch((error: unknown) => {
        bound.delete(what)
        throw error
      })
    bound.set(what, done)
    return done
  }
}

/** Takes a routing key with the bits before it, too. */
function delayedKey(routingKey: string): string {
  return routingKey.startsWith('#') ? routingKey : `#.${routingKey}`
}

function at(seconds: number, routingKey: string): Destination {
  const bits = Math.min(mostSeconds, Math.max(0, Math.floor(seconds)))
    .toString(2)
    .padStart(levels, '0')
  return { exchange: firstExchange, routingKey: `${[...bits].join('.')}.${routingKey}` }
}
