/** From the address of a store of limits to its driver, which is loaded only then. */
import { NotSupportedError, UrlInvalidError } from '../errors.js'
import type { Address } from '../internal/address.js'
import type { Clock } from '../internal/clock.js'
import { readOptions } from '../internal/option-table.js'
import { linkOptionsIn, linkOptionTable, targetOptions } from '../internal/redis/link-options.js'
import { redisSchemes } from '../internal/redis/schemes.js'
import { redactUrl, urlScheme } from '../internal/url.js'
import type { LimitStore } from '../limit-store.js'

export interface OpenLimitStoreOptions {
  readonly clock: Clock
  /** Those of the broker, when it is the same server: what they say of the connection holds here, too. Default: none. */
  readonly transportOptions?: Readonly<Record<string, unknown>>
  /** What relative paths of the URL start from. Default: the working directory. */
  readonly cwd?: string
}

const schemes: readonly string[] = ['memory', 'sqlite', ...redisSchemes]

/** Whether limits can be kept there. */
export function keepsLimits(address: Address): boolean {
  return typeof address !== 'string' || schemes.includes(urlScheme(address) ?? '')
}

/** Throws UrlInvalidError, which never shows a password, DriverNotInstalledError or ConnectionError; NotSupportedError when there is no place to keep limits. */
export async function openLimitStore(
  address: Address | undefined,
  { clock, transportOptions = {}, cwd = process.cwd() }: OpenLimitStoreOptions,
): Promise<LimitStore> {
  if (address === undefined)
    throw new NotSupportedError(
      'a limit or lock for the whole cluster',
      'neither the broker nor the result backend can keep one. Set limitStore to "redis://..." (or "sqlite://" on one machine), or let the limit count on each worker by itself: scope: "worker"',
    )
  const scheme = typeof address === 'string' ? urlScheme(address) : undefined
  if (typeof address === 'string' && scheme === 'memory') {
    const { MemoryLimitStore } = await import('./memory.js')
    return new MemoryLimitStore(address, clock)
  }
  if (typeof address === 'string' && scheme === 'sqlite') {
    const { SqliteLimitStore } = await import('./sqlite.js')
    return SqliteLimitStore.open(address, { clock, cwd })
  }
  if (!keepsLimits(address))
    throw new UrlInvalidError(
      `expected the URL of a store of limits to start with one of ${schemes.map((name) => `"${name}:"`).join(', ')}, got: ${JSON.stringify(redactUrl(String(address)))}`,
    )
  const [{ RedisLimitStore }, { targetOf }] = await Promise.all([import('./redis.js'), import('../internal/redis/target.js')])
  const link = readOptions(linkOptionsIn(transportOptions), 'brokerTransportOptions', linkOptionTable, {})
  const { globalKeyprefix, global_keyprefix } = transportOptions
  const keyPrefix = String(globalKeyprefix ?? global_keyprefix ?? '')
  return new RedisLimitStore(targetOf(address, { ...targetOptions(link), clock }), { clock, keyPrefix })
}
