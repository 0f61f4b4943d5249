import { ConnectionError, OptionInvalidError } from '../errors.js'
import { amqpSchemes } from '../internal/amqp/schemes.js'
import { redisSchemes } from '../internal/redis/schemes.js'
import { urlScheme } from '../internal/url.js'
import type { Connection, Transport } from '../transport.js'
import { openTransport } from '../transports/index.js'
import type { AppCore } from './core.js'

export interface OpenBroker {
  readonly transport: Transport
  readonly connection: Connection
}

/**
 * A connection to another broker than the app's own. `transportOptions` are those of the app, when its broker is of the same kind and no others are given.
 * Throws ConnectionError and what is wrong with the URL or the options.
 */
export async function brokerAt(
  { config, clock, log }: AppCore,
  url: string,
  transportOptions?: Readonly<Record<string, unknown>>,
): Promise<OpenBroker> {
  const [own] = config.brokerUrl
  const isAlike = typeof own === 'string' && kindOf(own) === kindOf(url)
  const options = transportOptions ?? (isAlike ? config.brokerTransportOptions : {})
  if (kindOf(url) === 'memory') throw new OptionInvalidError('the broker', 'one that other processes have, too', url)
  const transport = await openTransport(url, { clock, log, transportOptions: options })
  const deadline = new AbortController()
  const seconds = config.brokerConnectionTimeout
  const timer = clock.setTimer(seconds * 1000, () =>
    deadline.abort(new ConnectionError(`the ${transport.name} broker did not answer within ${seconds} s`)),
  )
  try {
    return { transport, connection: await transport.connect({ signal: deadline.signal }) }
  } finally {
    timer.cancel()
  }
}

function kindOf(url: string): string {
  const scheme = urlScheme(url) ?? ''
  if (redisSchemes.some((one) => one === scheme)) return 'redis'
  return amqpSchemes.some((one) => one === scheme) ? 'amqp' : scheme
}
