/** What a RabbitMQ broker can be told, by `brokerTransportOptions`. */
export interface AmqpBrokerOptions {
  /** Whether a publish waits for the broker's confirmation. */
  readonly confirmPublish: boolean
  /** Unconfirmed messages at most; more wait here. */
  readonly publishWindow: number
  /** The server's `max_message_size`, which it does not tell. Undefined: its default. */
  readonly maxMessageSize: number | undefined
  /** A message whose worker was lost this often goes to the dead letters: the last net, above `taskDeliveryLimit`. */
  readonly deliveryLimit: number
  /** Messages that wait for their eta in the worker, at most; more wait at the broker. */
  readonly etaHeld: number
  /** ms; who waits longer waits at the broker. Below half of the server's consumer_timeout. */
  readonly etaHeldMs: number
  /** Of the queues in which messages wait at the broker. */
  readonly delayedDeliveryQueueType: 'quorum' | 'classic'
}

export const defaultAmqpBrokerOptions: AmqpBrokerOptions = {
  confirmPublish: true,
  publishWindow: 1_000,
  maxMessageSize: undefined,
  deliveryLimit: 20,
  etaHeld: 1_000,
  etaHeldMs: 900_000,
  delayedDeliveryQueueType: 'quorum',
}
