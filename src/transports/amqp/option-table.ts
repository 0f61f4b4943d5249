/** `brokerTransportOptions` of RabbitMQ: what a user may write, in seconds and kombu's words, and what the driver is given. */
import { type AmqpLinkOptions, amqpLinkTable, refusedAmqpLinkOptions } from '../../internal/amqp/link-options.js'
import { bool, oneOf, secondsAbove0, wholeNumber } from '../../internal/option-kinds.js'
import { type OptionTable, type RefusedOptions, readOptions } from '../../internal/option-table.js'
import { type AmqpBrokerOptions, defaultAmqpBrokerOptions as defaults } from './options.js'

export const amqpBrokerTable = {
  confirmPublish: {
    kind: bool,
    default: defaults.confirmPublish,
    sentence:
      "Whether a publish waits until the broker has the message. false is Celery's default: a publish is done when it is written, and what the broker loses or cannot route is lost without a word.",
  },
  publishWindow: {
    kind: wholeNumber(1, 60_000),
    default: defaults.publishWindow,
    sentence: 'How many messages may be on their way to the broker unconfirmed; more wait for their turn.',
  },
  maxMessageSize: {
    kind: wholeNumber(1),
    default: defaults.maxMessageSize,
    sentence:
      "The server's `max_message_size` in bytes, where it is not the default of its version (16 MiB since 4.0, 128 MiB before): larger messages are refused before they are sent.",
  },
  deliveryLimit: {
    kind: wholeNumber(1),
    default: defaults.deliveryLimit,
    sentence: 'A message whose worker was lost so often goes to the dead letters, whatever taskDeliveryLimit says.',
  },
  etaHeld: {
    kind: wholeNumber(0, 50_000),
    default: defaults.etaHeld,
    sentence:
      'How many tasks whose eta is not due may wait in a worker, unacknowledged; more wait in the delay queues of the broker. 0: all of them.',
  },
  etaHeldTime: {
    kind: secondsAbove0,
    default: defaults.etaHeldMs / 1000,
    sentence:
      "For how long a task may wait in a worker for its eta: well below the server's `consumer_timeout`. Longer waits are the broker's.",
  },
  consumerTimeout: {
    kind: secondsAbove0,
    default: 1_800,
    sentence:
      "The server's `consumer_timeout`, which it does not tell, where it is not the default: no task waits in a worker for its eta for longer than half of it, and `celeriac doctor` compares time limits with it.",
  },
  nativeDelayedDeliveryQueueType: {
    kind: oneOf('quorum', 'classic'),
    default: defaults.delayedDeliveryQueueType,
    sentence: 'The type of the delay queues, as `broker_native_delayed_delivery_queue_type` says it to Python: the same for all programs.',
  },
  ...amqpLinkTable,
} satisfies OptionTable

/** kombu's, with what there is instead. */
export const refusedAmqpBrokerOptions: RefusedOptions = {
  ...refusedAmqpLinkOptions,
  confirmTimeout: 'use publishTimeout, which is for the whole publish',
  maxRetries: 'use taskPublishRetryPolicy',
  intervalStart: 'use taskPublishRetryPolicy',
  intervalStep: 'use taskPublishRetryPolicy',
  intervalMax: 'use taskPublishRetryPolicy',
}

/** Throws OptionUnknownError, OptionInvalidError and NotSupportedError. */
export function readAmqpBrokerOptions(given: Readonly<Record<string, unknown>>): {
  readonly broker: AmqpBrokerOptions
  readonly link: AmqpLinkOptions
} {
  const { tls, heartbeat, socketConnectTimeout, clientName, etaHeldTime, consumerTimeout, nativeDelayedDeliveryQueueType, ...broker } =
    readOptions(given, 'brokerTransportOptions', amqpBrokerTable, refusedAmqpBrokerOptions)
  return {
    broker: {
      ...broker,
      etaHeldMs: Math.min(etaHeldTime, consumerTimeout / 2) * 1000,
      delayedDeliveryQueueType: nativeDelayedDeliveryQueueType,
    },
    link: { tls, heartbeat, socketConnectTimeout, clientName },
  }
}
