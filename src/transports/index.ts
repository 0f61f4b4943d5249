/** From a broker's address to its driver, which is loaded only then. */
import { UrlInvalidError } from '../errors.js'
import type { Address } from '../internal/address.js'
import { amqpSchemes } from '../internal/amqp/schemes.js'
import type { Clock } from '../internal/clock.js'
import { didYouMean } from '../internal/did-you-mean.js'
import type { Logger } from '../internal/logger.js'
import { refuseOptions } from '../internal/option-table.js'
import { redisSchemes } from '../internal/redis/schemes.js'
import { redactUrl, urlScheme } from '../internal/url.js'
import type { Transport } from '../transport.js'

export interface OpenTransportOptions {
  readonly clock: Clock
  /** Takes what a driver has to say to people: what it found wrong with the server. Default: nobody. */
  readonly log?: Logger
  /** `brokerTransportOptions`. Default: none. */
  readonly transportOptions?: Readonly<Record<string, unknown>>
  /** What relative paths of the URL start from. Default: the working directory. */
  readonly cwd?: string
}

type OpenDriver<Where> = (where: Where, options: Required<OpenTransportOptions>) => Promise<Transport>

const redis: OpenDriver<Address> = async (address, { clock, log, transportOptions }) => {
  const [{ RedisTransport }, { readRedisBrokerOptions }, { targetOf }, { targetOptions }] = await Promise.all([
    import('./redis.js'),
    import('./redis/option-table.js'),
    import('../internal/redis/target.js'),
    import('../internal/redis/link-options.js'),
  ])
  const { broker, link } = readRedisBrokerOptions(transportOptions)
  return new RedisTransport(targetOf(address, { ...targetOptions(link), clock }), broker, { clock, log })
}

const amqp: OpenDriver<string> = async (url, { clock, log, transportOptions }) => {
  const [{ AmqpTransport }, { readAmqpBrokerOptions }, { AmqpTarget }] = await Promise.all([
    import('./amqp.js'),
    import('./amqp/option-table.js'),
    import('../internal/amqp/target.js'),
  ])
  const { broker, link } = readAmqpBrokerOptions(transportOptions)
  return new AmqpTransport(new AmqpTarget(url, link), broker, { clock, log })
}

const drivers: Readonly<Record<string, OpenDriver<string>>> = {
  memory: async (url, { clock, transportOptions }) => {
    refuseOptions(transportOptions, 'brokerTransportOptions', 'memory:')
    const { MemoryTransport } = await import('./memory.js')
    return new MemoryTransport(url, { clock })
  },
  sqlite: async (url, { clock, cwd, transportOptions }) => {
    refuseOptions(transportOptions, 'brokerTransportOptions', 'sqlite:')
    const { SqliteTransport } = await import('./sqlite.js')
    return new SqliteTransport(url, { clock, cwd })
  },
  ...Object.fromEntries(amqpSchemes.map((scheme) => [scheme, amqp])),
  ...Object.fromEntries(redisSchemes.map((scheme) => [scheme, redis])),
}

/**
 * The transport of a broker; nothing is connected yet. Throws UrlInvalidError, which never shows a password, DriverNotInstalledError, or what is wrong
 * with the options.
 */
export async function openTransport(address: Address, options: OpenTransportOptions): Promise<Transport> {
  const { clock, cwd = process.cwd(), transportOptions = {}, log = silent } = options
  const all = { clock, cwd, transportOptions, log }
  return typeof address === 'string' ? driverOf(address)(address, all) : redis(address, all)
}

/** Throws UrlInvalidError when no driver is for the URL. Loads none. */
export function checkBroker(address: Address): void {
  if (typeof address === 'string') driverOf(address)
}

function driverOf(url: string): OpenDriver<string> {
  const scheme = urlScheme(url)
  const open = scheme === undefined || !Object.hasOwn(drivers, scheme) ? undefined : drivers[scheme]
  if (open === undefined) throw unknownScheme(url, scheme)
  return open
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

function unknownScheme(url: string, scheme: string | undefined): UrlInvalidError {
  const known = Object.keys(drivers)
  const suggestion = scheme === undefined ? undefined : didYouMean(scheme, known)
  const hint = suggestion === undefined ? '' : ` Did you mean "${suggestion}:"?`
  return new UrlInvalidError(
    `expected a broker URL that starts with one of ${known.map((name) => `"${name}:"`).join(', ')}, got: ${JSON.stringify(redactUrl(url))}.${hint}`,
  )
}
