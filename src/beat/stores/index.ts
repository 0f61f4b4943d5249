/** From the address of a store of schedules to its driver, which is loaded only then. */
import { NotSupportedError, UrlInvalidError } from '../../errors.js'
import type { Address } from '../../internal/address.js'
import type { Clock } from '../../internal/clock.js'
import { didYouMean } from '../../internal/did-you-mean.js'
import type { Logger } from '../../internal/logger.js'
import { readOptions } from '../../internal/option-table.js'
import { linkOptionsIn, linkOptionTable, targetOptions } from '../../internal/redis/link-options.js'
import { redisSchemes } from '../../internal/redis/schemes.js'
import { redactUrl, urlScheme } from '../../internal/url.js'
import type { ScheduleStore } from '../../schedule-store.js'

export interface OpenStoreOptions {
  /** The app whose schedules these are: several may share a store. */
  readonly app: string
  readonly clock: Clock
  readonly log: Logger
  /** Those of the broker, when it is the same server: what they say of the connection holds here, too. Default: none. */
  readonly transportOptions?: Readonly<Record<string, unknown>>
  /** What relative paths of the URL start from. Default: the working directory. */
  readonly cwd?: string
}

type OpenDriver<Where> = (where: Where, options: Required<OpenStoreOptions>) => Promise<ScheduleStore>

const redis: OpenDriver<Address> = async (address, { app, clock, transportOptions }) => {
  const [{ RedisScheduleStore }, { targetOf }] = await Promise.all([import('./redis.js'), import('../../internal/redis/target.js')])
  const link = readOptions(linkOptionsIn(transportOptions), 'brokerTransportOptions', linkOptionTable, {})
  const { globalKeyprefix, global_keyprefix } = transportOptions
  const keyPrefix = String(globalKeyprefix ?? global_keyprefix ?? '')
  return RedisScheduleStore.open(targetOf(address, { ...targetOptions(link), clock }), { app, clock, keyPrefix })
}

const drivers: Readonly<Record<string, OpenDriver<string>>> = {
  memory: async (_, { app, clock }) => {
    const { MemoryScheduleStore } = await import('./memory.js')
    return new MemoryScheduleStore(app, clock)
  },
  sqlite: async (url, options) => {
    const { SqliteScheduleStore } = await import('./sqlite.js')
    return SqliteScheduleStore.open(url, options)
  },
  file: async (url, options) => {
    const { FileScheduleStore } = await import('./file.js')
    return FileScheduleStore.open(url, options)
  },
  ...Object.fromEntries(redisSchemes.map((scheme) => [scheme, redis])),
}

/** Throws UrlInvalidError, which never shows a password, NotSupportedError, DriverNotInstalledError or ConnectionError. */
export async function openScheduleStore(address: Address, options: OpenStoreOptions): Promise<ScheduleStore> {
  const { cwd = process.cwd(), transportOptions = {} } = options
  const all = { ...options, cwd, transportOptions }
  if (typeof address !== 'string') return redis(address, all)
  const scheme = urlScheme(address)
  const open = scheme === undefined || !Object.hasOwn(drivers, scheme) ? undefined : drivers[scheme]
  if (open !== undefined) return open(address, all)
  if (scheme === 'postgres' || scheme === 'postgresql')
    throw new NotSupportedError('a store of schedules in PostgreSQL', 'use sqlite:, redis: or file:')
  const known = Object.keys(drivers)
  const near = scheme === undefined ? undefined : didYouMean(scheme, known)
  throw new UrlInvalidError(
    `expected the URL of a store of schedules to start with one of ${known.map((name) => `"${name}:"`).join(', ')}, got: ${JSON.stringify(redactUrl(address))}.${near === undefined ? '' : ` Did you mean "${near}:"?`}`,
  )
}
