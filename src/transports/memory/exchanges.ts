import { DeclarationMismatchError, NotPublishedError, show } from '../../errors.js'
import { exchangeDefinition, mustRoute, routes } from '../../protocol/routing.js'
import type { Destination, Exchange, ExchangeType, Queue } from '../../protocol/topology.js'

interface MemoryExchange {
  readonly type: ExchangeType
  readonly definition: string
  readonly autoDelete: boolean
  readonly bindings: Map<string, { readonly routingKey: string; readonly queue: string }>
}

/** The exchanges of the memory broker, and what is bound to them. */
export class MemoryExchanges {
  readonly #exchanges = new Map<string, MemoryExchange>()

  /** Throws DeclarationMismatchError for one that is there and is another. */
  declare(exchange: Exchange): void {
    const { name, type, autoDelete } = exchange
    const declared = exchangeDefinition(exchange)
    const existing = this.#exchanges.get(name)
    if (existing === undefined) this.#exchanges.set(name, { type, definition: declared, autoDelete, bindings: new Map() })
    else if (existing.definition !== declared) throw new DeclarationMismatchError('exchange', name, existing.definition, declared)
  }

  bind({ name, bindings }: Queue): void {
    for (const { exchange, routingKey } of bindings)
      this.#exchanges.get(exchange)?.bindings.set(JSON.stringify([name, routingKey]), { routingKey, queue: name })
  }

  /** A queue is gone; so are the auto-delete exchanges that nothing is bound to any more. */
  unbind(queue: string): void {
    for (const [name, exchange] of this.#exchanges) {
      let unbound = 0
      for (const [key, binding] of exchange.bindings) if (binding.queue === queue && exchange.bindings.delete(key)) unbound += 1
      if (unbound > 0 && exchange.autoDelete && exchange.bindings.size === 0) this.#exchanges.delete(name)
    }
  }

  /** Names of the queues that a named exchange leads to. Throws NotPublishedError. */
  route(to: Destination): Iterable<string> {
    const exchange = this.#exchanges.get(to.exchange)
    if (exchange === undefined) throw new NotPublishedError(`there is no exchange ${show(to.exchange)}: declare it before publishing to it`)
    const queues = new Set<string>()
    for (const binding of exchange.bindings.values())
      if (routes(exchange.type, binding.routingKey, to.routingKey)) queues.add(binding.queue)
    if (queues.size === 0 && mustRoute(to, exchange.type)) {
      throw new NotPublishedError(`no queue is bound to the exchange ${show(to.exchange)} with the routing key ${show(to.routingKey)}`)
    }
    return queues
  }
}
