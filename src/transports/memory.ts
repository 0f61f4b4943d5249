/** The broker in this process's memory: for tests, and for programs that need no more than their own process. */
import { UrlInvalidError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { redactUrl } from '../internal/url.js'
import { routedExchangeTypes } from '../protocol/routing.js'
import type { Connection, Transport, TransportSupports } from '../transport.js'
import { MemoryBroker } from './memory/broker.js'
import { MemoryConnection } from './memory/connection.js'

// Mutable module state, because two connections that name the same broker must meet, and nothing else of the process knows both. Held by clock, so that
// a test with a clock of its own shares nothing with others, and is forgotten with it.
const brokers = new WeakMap<Clock, Map<string, MemoryBroker>>()

export class MemoryTransport implements Transport {
  readonly name = 'memory'
  readonly supports: TransportSupports = {
    exchangeTypes: routedExchangeTypes,
    priority: 'higher-first',
    nativeDelay: true,
    persistent: false,
    shared: false,
    queueAge: 'all',
  }
  readonly #broker: MemoryBroker

  /** `memory://` is one broker for the process (and clock), `memory://name` another. `?delivery_limit=` as for `sqlite:`. */
  constructor(url: string, { clock }: { readonly clock: Clock }) {
    const parsed = /^memory:(?:\/\/)?([\w.-]*)\/?(?:\?delivery_limit=(\d{1,6}))?$/i.exec(url)
    const name = parsed?.[1]
    const deliveryLimit = Number(parsed?.[2] ?? 20)
    if (name === undefined || deliveryLimit < 1) {
      throw new UrlInvalidError(
        `expected a URL such as "memory://", "memory://name" or "memory://?delivery_limit=5", got: ${JSON.stringify(redactUrl(url))}`,
      )
    }
    const byName = brokers.get(clock) ?? new Map<string, MemoryBroker>()
    brokers.set(clock, byName)
    this.#broker = byName.get(name) ?? new MemoryBroker(clock, { deliveryLimit })
    byName.set(name, this.#broker)
  }

  async connect({ signal }: { readonly signal: AbortSignal }): Promise<Connection> {
    signal.throwIfAborted()
    return new MemoryConnection(this.#broker)
  }
}
