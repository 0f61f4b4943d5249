/** RabbitMQ, with queues and messages as Celery's Python workers have them. */
import type { AmqpTarget } from '../internal/amqp/target.js'
import type { Clock } from '../internal/clock.js'
import type { Logger } from '../internal/logger.js'
import type { Connection, ConnectOptions, Transport, TransportSupports } from '../transport.js'
import { AmqpConnection, amqpExchangeTypes, type ServerMemory } from './amqp/connection.js'
import type { AmqpBrokerOptions } from './amqp/options.js'

export class AmqpTransport implements Transport {
  readonly name = 'amqp'
  readonly supports: TransportSupports = {
    exchangeTypes: amqpExchangeTypes,
    priority: 'higher-first',
    // Only for quorum queues; messages of classic ones wait in the worker.
    nativeDelay: false,
    persistent: true,
    shared: true,
    queueAge: 'none',
  }
  readonly #target: AmqpTarget
  readonly #options: AmqpBrokerOptions
  readonly #clock: Clock
  readonly #log: Logger
  readonly #memory: ServerMemory = { refusesGlobalLimit: false }

  constructor(target: AmqpTarget, options: AmqpBrokerOptions, { clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#target = target
    this.#options = options
    this.#clock = clock
    this.#log = log
  }

  connect({ signal, blocksUpToMs = 0 }: ConnectOptions): Promise<Connection> {
    const parts = { target: this.#target, options: this.#options, memory: this.#memory, clock: this.#clock, log: this.#log, blocksUpToMs }
    return new AmqpConnection(parts).open(signal)
  }
}
