/** A Redis or Valkey broker in kombu's own layout: Python workers and clients take part in it. */
import type { Clock } from '../internal/clock.js'
import type { Logger } from '../internal/logger.js'
import type { RedisTarget } from '../internal/redis/link.js'
import { routedExchangeTypes } from '../protocol/routing.js'
import type { Connection, Transport, TransportSupports } from '../transport.js'
import { RedisConnection } from './redis/connection.js'
import type { RedisBrokerOptions } from './redis/options.js'

export class RedisTransport implements Transport {
  readonly name = 'redis'
  readonly supports: TransportSupports = {
    exchangeTypes: routedExchangeTypes,
    priority: 'lower-first',
    nativeDelay: false,
    persistent: true,
    shared: true,
    queueAge: 'ours',
  }
  readonly #target: RedisTarget
  readonly #options: RedisBrokerOptions
  readonly #clock: Clock
  readonly #log: Logger
  /** What was said of this server's settings: once in a process, however many connections it has. */
  readonly #told = new Set<string>()

  constructor(target: RedisTarget, options: RedisBrokerOptions, { clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#target = target
    this.#options = options
    this.#clock = clock
    this.#log = log
  }

  connect({ signal }: { readonly signal: AbortSignal }): Promise<Connection> {
    return new RedisConnection({ target: this.#target, options: this.#options, clock: this.#clock, log: this.#log, told: this.#told }).open(
      signal,
    )
  }
}
