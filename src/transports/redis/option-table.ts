/** `brokerTransportOptions` of Redis: what a user may write, in seconds and kombu's words, and what the driver is given. */

import { formatDuration, parseDuration } from '../../internal/duration.js'
import { bool, kind, oneOf, secondsAbove0, text, wholeNumber } from '../../internal/option-kinds.js'
import { type OptionTable, type RefusedOptions, readOptions } from '../../internal/option-table.js'
import { type LinkOptions, linkOptionTable, refusedLinkOptions } from '../../internal/redis/link-options.js'
import { defaultRedisBrokerOptions as defaults, type RedisBrokerOptions } from './options.js'

const anyText = kind<string, string>('text', (value) => (typeof value === 'string' ? value : undefined))

/** The lists of a queue, most urgent first. */
const steps = kind<readonly number[], readonly number[]>('whole numbers from 0 to 9 in rising order, the first of them 0', (value) => {
  if (!Array.isArray(value) || value[0] !== 0) return undefined
  return value.every((step, index) => Number.isInteger(step) && step <= 9 && (index === 0 || step > value[index - 1])) ? value : undefined
})

/** true is kombu's own prefix, false is none. */
const fanoutPrefix = kind<string | boolean, string>('true, false, or text that starts with "/" and ends with "."', (value) => {
  if (value === true) return defaults.fanoutPrefix
  if (value === false) return ''
  return typeof value === 'string' && (value === '' || /^\/.*\.$/s.test(value)) ? value : undefined
})

/** Three times the wait after which a worker that runs well refreshes its leases, at least. */
const leaseTtl = kind<number | string, number>(
  'a duration of 50ms or longer (seconds, or text such as "30s")',
  (value) => {
    const seconds = parseDuration(value)
    return seconds === undefined || seconds < 0.05 ? undefined : seconds
  },
  { show: formatDuration },
)

export const redisBrokerTable = {
  globalKeyprefix: {
    kind: anyText,
    default: defaults.globalKeyprefix,
    sentence: 'Stands before every key and channel, as it is.',
  },
  visibilityTimeout: {
    kind: secondsAbove0,
    default: defaults.visibilityTimeoutMs / 1000,
    sentence:
      'After how long a message that a Python worker holds counts as lost. Ours are leased: they come back after leaseTtl, however long their task runs.',
  },
  prioritySteps: {
    kind: steps,
    default: defaults.prioritySteps,
    sentence:
      'Where the lists of a queue begin: priority 0 to 9 is rounded down to one of them, and 0 is served first. The same for all programs of a queue.',
  },
  sep: {
    kind: text,
    default: defaults.sep,
    sentence: 'Stands between the name of a queue and the step of its list. The same for all programs of a queue.',
  },
  unackedKey: { kind: text, default: defaults.unackedKey, sentence: 'The hash of messages that a worker holds.' },
  unackedIndexKey: { kind: text, default: defaults.unackedIndexKey, sentence: 'The sorted set of when each of them counts as lost.' },
  fanoutPrefix: {
    kind: fanoutPrefix,
    default: defaults.fanoutPrefix,
    sentence: 'Stands before the exchange in the names of channels; `{db}` is the number of the database. false is none.',
  },
  fanoutPatterns: { kind: bool, default: defaults.fanoutPatterns, sentence: 'Whether the names of channels end with the routing key.' },
  leaseTtl: {
    kind: leaseTtl,
    default: defaults.leaseTtlMs / 1000,
    sentence:
      'A worker that has not been heard of for so long has lost its messages. Shorter: the tasks of a killed worker run again sooner.',
  },
  sweepInterval: {
    kind: secondsAbove0,
    default: defaults.sweepIntervalMs / 1000,
    sentence: 'How often each worker looks for messages of lost workers.',
  },
  waitReplicas: {
    kind: wholeNumber(0),
    default: defaults.waitReplicas,
    sentence: 'A publish is confirmed when so many replicas have the message.',
  },
  deliveryLimit: {
    kind: wholeNumber(1),
    default: defaults.deliveryLimit,
    sentence: 'A message whose worker was lost so often goes to the dead letters, whatever taskDeliveryLimit says.',
  },
  evictionPolicy: {
    kind: oneOf('refuse', 'allow'),
    default: defaults.evictionPolicy,
    sentence:
      'Whether a server is refused that throws messages away when its memory is full (`maxmemory-policy allkeys-lru` and the like).',
  },
  ...linkOptionTable,
} satisfies OptionTable

/** kombu's, with what there is instead. */
export const refusedBrokerOptions: RefusedOptions = {
  ...refusedLinkOptions,
  queueOrderStrategy: 'start a worker of its own for a queue that must not wait for others',
  pollingInterval: 'workers are woken when a message arrives',
  ackEmulation: 'messages that a worker holds are always kept by the server until they are acknowledged',
  unackedMutexKey: 'lost messages are given back by a script, which needs no lock',
  unackedMutexExpire: 'lost messages are given back by a script, which needs no lock',
  unackedRestoreLimit: 'lost messages are given back in small portions; sweepInterval says how often they are looked for',
  unackedRestoreInterval: 'use sweepInterval',
  unackedRestoreThrottle: 'use sweepInterval',
  keyprefixQueue: 'bindings are where kombu keeps them by default; globalKeyprefix moves them',
  keyprefixFanout: 'use fanoutPrefix',
  deadletterQueue: 'a message for one queue that finds none is refused (ERR_NOT_PUBLISHED), not put aside',
  bodyEncoding: "bodies are written as base64, kombu's default; messages with plain bodies are read",
  confirmPublish: 'a publish is always confirmed',
  maxRetries: 'use taskPublishRetryPolicy',
  intervalStart: 'use taskPublishRetryPolicy',
  intervalStep: 'use taskPublishRetryPolicy',
  intervalMax: 'use taskPublishRetryPolicy',
}

/** Throws OptionUnknownError, OptionInvalidError and NotSupportedError. */
export function readRedisBrokerOptions(given: Readonly<Record<string, unknown>>): {
  readonly broker: RedisBrokerOptions
  readonly link: LinkOptions
} {
  const {
    visibilityTimeout,
    leaseTtl,
    sweepInterval,
    masterName,
    sentinelKwargs,
    tls,
    socketTimeout,
    socketConnectTimeout,
    clientName,
    ...broker
  } = readOptions(given, 'brokerTransportOptions', redisBrokerTable, refusedBrokerOptions)
  return {
    broker: {
      ...broker,
      visibilityTimeoutMs: visibilityTimeout * 1000,
      leaseTtlMs: leaseTtl * 1000,
      sweepIntervalMs: sweepInterval * 1000,
    },
    link: { masterName, sentinelKwargs, tls, socketTimeout, socketConnectTimeout, clientName },
  }
}
