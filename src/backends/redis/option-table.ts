/** `resultBackendTransportOptions` of Redis. */
import { bool, kind } from '../../internal/option-kinds.js'
import { type OptionsOf, type OptionTable, type RefusedOptions, readOptions } from '../../internal/option-table.js'
import { linkOptionsIn, linkOptionTable, refusedLinkOptions } from '../../internal/redis/link-options.js'

export const redisBackendTable = {
  globalKeyprefix: {
    kind: kind<string, string>('text', (value) => (typeof value === 'string' ? value : undefined)),
    default: '',
    sentence: 'Stands before every key and channel, with `_` after it unless it ends in one of `:`, `_`, `-` and `.`, as in Celery.',
  },
  resultChordOrdered: {
    kind: bool,
    default: true,
    sentence: 'Whether the body of a chord gets the results in the order of the headers. The same for all programs of a chord.',
  },
  ...linkOptionTable,
} satisfies OptionTable

const refused: RefusedOptions = {
  ...refusedLinkOptions,
  visibilityTimeout: 'it belongs into brokerTransportOptions: results are not given back',
}

export type RedisBackendOptions = OptionsOf<typeof redisBackendTable>

/**
 * `brokers`: the broker's options, when the results are kept where the messages are; those of the connection hold for both. Throws OptionUnknownError,
 * OptionInvalidError and NotSupportedError.
 */
export function readRedisBackendOptions(
  given: Readonly<Record<string, unknown>>,
  brokers: Readonly<Record<string, unknown>> = {},
): RedisBackendOptions {
  const own = readOptions(given, 'resultBackendTransportOptions', redisBackendTable, refused)
  const shared = readOptions(linkOptionsIn(brokers), 'brokerTransportOptions', linkOptionTable, {})
  const named = linkOptionsIn(given)
  return { ...own, ...Object.fromEntries(Object.entries(shared).filter(([option]) => !(option in named))) }
}
