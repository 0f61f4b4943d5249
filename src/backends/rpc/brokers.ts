/** Which servers carry the results of `rpc://`: those of the broker, tried in order. */
import { ConnectionError, NotSupportedError, UrlInvalidError } from '../../errors.js'
import { type Address, showAddress } from '../../internal/address.js'
import type { AmqpLink } from '../../internal/amqp/link.js'
import type { AmqpLinkOptions } from '../../internal/amqp/link-options.js'
import { amqpSchemes } from '../../internal/amqp/schemes.js'
import { AmqpTarget, type OpenAmqpLink } from '../../internal/amqp/target.js'
import { redactUrl, urlScheme } from '../../internal/url.js'

export class RpcBrokers {
  readonly #targets: readonly AmqpTarget[]

  constructor(targets: readonly AmqpTarget[]) {
    this.#targets = targets
  }

  /** A link to the first that answers. Rejects with what the last one said. */
  async open(options: OpenAmqpLink): Promise<AmqpLink> {
    let last: unknown = new ConnectionError('rpc:// has no broker')
    for (const target of this.#targets) {
      try {
        return await target.open(options)
      } catch (error) {
        if (options.signal.aborted) throw error
        last = error
      }
    }
    throw last
  }
}

/** Throws UrlInvalidError for a URL that names a server of its own, NotSupportedError when a broker is none that carries results. */
export function brokersOfRpc(url: string, brokers: readonly Address[], options: AmqpLinkOptions): RpcBrokers {
  if (!/^rpc:(\/\/)?$/i.test(url))
    throw new UrlInvalidError(
      `expected "rpc://" and nothing more, as results go through the broker, got: ${JSON.stringify(redactUrl(url))}`,
    )
  return new RpcBrokers(
    brokers.map((broker) => {
      const scheme = typeof broker === 'string' ? urlScheme(broker) : undefined
      if (typeof broker !== 'string' || !(amqpSchemes as readonly (string | undefined)[]).includes(scheme)) {
        throw new NotSupportedError(
          `rpc:// with the broker ${showAddress(broker)}`,
          'results are sent back through RabbitMQ only; this broker keeps results itself: leave resultBackend out',
        )
      }
      return new AmqpTarget(broker, options)
    }),
  )
}
