/** The queues, exchanges and bindings that a transport is asked to have (kombu's entities). Plain data. */

export type ExchangeType = 'direct' | 'topic' | 'fanout' | 'headers'

export interface Exchange {
  /** Empty: the default exchange, which routes to the queue that the routing key names. */
  readonly name: string
  readonly type: ExchangeType
  readonly durable: boolean
  readonly autoDelete: boolean
}

export interface Binding {
  readonly exchange: string
  readonly routingKey: string
  readonly arguments?: Readonly<Record<string, unknown>>
}

export interface Queue {
  readonly name: string
  readonly durable: boolean
  /** Only the connection that declared it may consume it; it goes with that connection. */
  readonly exclusive: boolean
  /** It goes when its last consumer goes. */
  readonly autoDelete: boolean
  /** RabbitMQ's names: `x-max-priority`, `x-expires`, `x-queue-type`. */
  readonly arguments: Readonly<Record<string, unknown>>
  readonly bindings: readonly Binding[]
}

export interface Topology {
  readonly exchanges: readonly Exchange[]
  readonly queues: readonly Queue[]
}

/** Where a message is published: an exchange ('' is the default one) and a routing key. */
export interface Destination {
  readonly exchange: string
  readonly routingKey: string
}
