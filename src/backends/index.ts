/** From a result backend's address to its driver, which is loaded only then. */
import { randomUUID } from 'node:crypto'
import type { ResultBackend } from '../backend.js'
import { UrlInvalidError } from '../errors.js'
import type { Address } from '../internal/address.js'
import type { Clock } from '../internal/clock.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { refuseOptions } from '../internal/option-table.js'
import { redisSchemes } from '../internal/redis/schemes.js'
import { redactUrl, urlScheme } from '../internal/url.js'

export interface OpenBackendOptions {
  readonly clock: Clock
  /** `resultBackendTransportOptions`. Default: none. */
  readonly transportOptions?: Readonly<Record<string, unknown>>
  /** Those of the broker, when it is the same server: what they say of the connection holds here, too. Default: none. */
  readonly brokerTransportOptions?: Readonly<Record<string, unknown>>
  /** `brokerUrl`: where `rpc:` sends results through. Default: none. */
  readonly brokers?: readonly Address[]
  /** The inbox's name, where the backend has one. Default: one of its own. */
  readonly replyTo?: string
  /** `resultPersistent`. Default: false. */
  readonly persistent?: boolean
  /** What relative paths of the URL start from. Default: the working directory. */
  readonly cwd?: string
}

type OpenDriver<Where> = (where: Where, options: Required<OpenBackendOptions>) => Promise<ResultBackend>

const redis: OpenDriver<Address> = async (address, { clock, transportOptions, brokerTransportOptions }) => {
  const [{ RedisBackend }, { readRedisBackendOptions }, { targetOf }, { targetOptions }] = await Promise.all([
    import('./redis.js'),
    import('./redis/option-table.js'),
    import('../internal/redis/target.js'),
    import('../internal/redis/link-options.js'),
  ])
  const { globalKeyprefix, resultChordOrdered, ...link } = readRedisBackendOptions(transportOptions, brokerTransportOptions)
  return new RedisBackend(targetOf(address, { ...targetOptions(link), clock }), { globalKeyprefix, resultChordOrdered }, { clock })
}

const drivers: Readonly<Record<string, OpenDriver<string>>> = {
  memory: async (url, { clock, transportOptions }) => {
    refuseOptions(transportOptions, 'resultBackendTransportOptions', 'memory:')
    const { MemoryBackend } = await import('./memory.js')
    return new MemoryBackend(url, { clock })
  },
  sqlite: async (url, { clock, cwd, transportOptions }) => {
    refuseOptions(transportOptions, 'resultBackendTransportOptions', 'sqlite:')
    const { SqliteBackend } = await import('./sqlite.js')
    return SqliteBackend.open(url, { clock, cwd })
  },
  rpc: async (url, { clock, transportOptions, brokerTransportOptions, brokers, persistent, replyTo }) => {
    const [{ RpcBackend }, { readRpcOptions }, { brokersOfRpc }] = await Promise.all([
      import('./rpc.js'),
      import('./rpc/option-table.js'),
      import('./rpc/brokers.js'),
    ])
    const { maxReplies, ...link } = readRpcOptions(transportOptions, brokerTransportOptions)
    return new RpcBackend(brokersOfRpc(url, brokers, link), { maxReplies, persistent, replyTo }, { clock })
  },
  disabled: async (_, { transportOptions }) => {
    refuseOptions(transportOptions, 'resultBackendTransportOptions', 'disabled')
    const { DisabledBackend } = await import('./disabled.js')
    return new DisabledBackend()
  },
  ...Object.fromEntries(redisSchemes.map((scheme) => [scheme, redis])),
}

/**
 * Opens the backend of an address: a URL, a user's own client, or `disabled`. Throws UrlInvalidError, which never shows a password,
 * DriverNotInstalledError, ConnectionError, or what is wrong with the options.
 */
export async function openBackend(address: Address, options: OpenBackendOptions): Promise<ResultBackend> {
  const {
    clock,
    cwd = process.cwd(),
    transportOptions = {},
    brokerTransportOptions = {},
    brokers = [],
    persistent = false,
    replyTo = randomUUID(),
  } = options
  const all = { clock, cwd, transportOptions, brokerTransportOptions, brokers, persistent, replyTo }
  if (typeof address !== 'string') return redis(address, all)
  const scheme = address === 'disabled' ? 'disabled' : urlScheme(address)
  const open = scheme === undefined || !Object.hasOwn(drivers, scheme) ? undefined : drivers[scheme]
  if (open === undefined) throw unknownScheme(address, scheme)
  return open(address, all)
}

/** Whether results come as messages to the process that asks: the address says so before anything is opened. */
export function hasInbox(address: Address): boolean {
  return typeof address === 'string' && urlScheme(address) === 'rpc'
}

function unknownScheme(url: string, scheme: string | undefined): UrlInvalidError {
  const known = Object.keys(drivers)
  const suggestion = scheme === undefined ? undefined : didYouMean(scheme, known)
  const hint = suggestion === undefined ? '' : ` Did you mean "${suggestion}:"?`
  return new UrlInvalidError(
    `expected a result backend URL that starts with one of ${known.map((name) => `"${name}:"`).join(', ')}, got: ${JSON.stringify(redactUrl(url))}.${hint}`,
  )
}
