/** `resultBackendTransportOptions` of `rpc://`. */
import { amqpLinkOptionsIn, amqpLinkTable, refusedAmqpLinkOptions } from '../../internal/amqp/link-options.js'
import { wholeNumber } from '../../internal/option-kinds.js'
import { type OptionsOf, type OptionTable, readOptions } from '../../internal/option-table.js'

export const rpcTable = {
  maxReplies: {
    kind: wholeNumber(1),
    default: 10_000,
    sentence:
      'How many results that came and were not forgotten this process keeps, 64 MiB of them at most: the oldest go first, and waiting for one of those is refused.',
  },
  ...amqpLinkTable,
} satisfies OptionTable

export type RpcOptions = OptionsOf<typeof rpcTable>

/** `brokers`: the broker's options, of which those of the connection hold here, too. Throws OptionUnknownError, OptionInvalidError and NotSupportedError. */
export function readRpcOptions(given: Readonly<Record<string, unknown>>, brokers: Readonly<Record<string, unknown>>): RpcOptions {
  const own = readOptions(given, 'resultBackendTransportOptions', rpcTable, refusedAmqpLinkOptions)
  const shared = readOptions(amqpLinkOptionsIn(brokers), 'brokerTransportOptions', amqpLinkTable, {})
  const named = amqpLinkOptionsIn(given)
  return { ...own, ...Object.fromEntries(Object.entries(shared).filter(([option]) => !(option in named))) }
}
