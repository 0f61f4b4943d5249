/** From a Redis URL or a user's client to where links go: one server, a Unix socket, or the primary that Sentinels name. */
import { OptionInvalidError } from '../../errors.js'
import type { Address, OwnClient } from '../address.js'
import { requirePeer } from '../import-peer.js'
import { readTls, type TlsOptions } from '../tls.js'
import { redactUrl } from '../url.js'
import type { LinkSettings } from './client-link.js'
import { explainConnectError } from './connect-error.js'
import { type IoredisClient, ioredisLinkOptions, openIoredisLink } from './ioredis-link.js'
import type { OpenLink, RedisLink, RedisTarget } from './link.js'
import { nodeRedisLinkOptions, openNodeRedisLink } from './node-redis-link.js'
import { classOf, databaseOf, describeRedisClient, recognizeRedisClient } from './own-client.js'
import { parseRedisUrl, type RedisAddress } from './redis-url.js'

export interface TargetOptions extends LinkSettings {
  /** How long a network connection to one address may take, TLS included. Default 1500. */
  readonly connectTimeoutMs?: number | undefined
  /** The name under which the Sentinels know the primary. */
  readonly masterName?: string | undefined
  readonly sentinel?: SentinelAccess | undefined
  /** Shown by CLIENT LIST instead of the name that a link is opened with. */
  readonly clientName?: string | undefined
  readonly tls?: TlsOptions | undefined
}

/** How the Sentinels themselves are spoken to. */
export interface SentinelAccess {
  readonly username?: string
  readonly password?: string
  readonly tls?: TlsOptions
}

interface IoredisModule {
  /** Early versions of 5 do not export it by its name. */
  readonly default: new (
    options: Readonly<Record<string, unknown>>,
  ) => IoredisClient
}

/** Short, so that the next broker of a list is tried in time: a packet that was lost once still gets through. */
const defaultConnectTimeoutMs = 1_500

/** The target of either; for what it throws see redisTarget and clientTarget. */
export function targetOf(address: Address, options: TargetOptions): RedisTarget {
  return typeof address === 'string' ? redisTarget(address, options) : clientTarget(address, options)
}

/** Throws UrlInvalidError, which never shows a password. `open` throws DriverNotInstalledError when ioredis is missing. */
export function redisTarget(url: string, options: TargetOptions): RedisTarget {
  const shown = redactUrl(url)
  const address = parseRedisUrl(url, options)
  const connectTimeoutMs = options.connectTimeoutMs ?? defaultConnectTimeoutMs
  const { clock: _, ...rest } = options
  return {
    shown,
    db: address.db,
    place: placeOf(address),
    longestSilenceMs: options.longestSilenceMs,
    recipe: { url, options: rest },
    async open(opening) {
      const { default: Redis } = requirePeer<IoredisModule>(`The broker or backend ${shown}`, 'ioredis')
      const given = await ioredisOptions(address, connectTimeoutMs, options)
      const client = new Redis({ ...given, ...ioredisLinkOptions, connectionName: options.clientName ?? opening.name })
      return explained(openIoredisLink(client, opening, options), address.tls !== undefined, connectTimeoutMs)
    },
  }
}

/** Whoever comes in there: what may be done with whose password, the server says. */
function placeOf({ host, port, path, sentinels, name, db }: RedisAddress): string {
  return JSON.stringify([path ?? sentinels ?? [host, port], name ?? null, db])
}

async function ioredisOptions({ tls, ...address }: RedisAddress, connectTimeoutMs: number, { sentinel }: TargetOptions) {
  return {
    ...address,
    connectTimeout: connectTimeoutMs,
    ...(tls === undefined ? {} : { tls: await readTls(tls, address.host) }),
    ...(address.sentinels === undefined
      ? {}
      : {
          sentinelCommandTimeout: connectTimeoutMs,
          enableTLSForSentinelMode: tls !== undefined,
          sentinelUsername: sentinel?.username,
          sentinelPassword: sentinel?.password,
          ...(sentinel?.tls === undefined ? {} : { sentinelTLS: await readTls(sentinel.tls, undefined) }),
        }),
  }
}

/** Links of our own beside a user's client, to where it leads. Throws OptionInvalidError when it is none, and for options that are the client's. */
export function clientTarget({ client }: OwnClient, options: TargetOptions): RedisTarget {
  const found = recognizeRedisClient(client)
  if (typeof found === 'string') throw new OptionInvalidError('client', found, classOf(client))
  for (const option of ['masterName', 'sentinel', 'tls'] as const) {
    if (options[option] !== undefined) throw new OptionInvalidError(option, 'left to the client that was given', option)
  }
  const connectTimeoutMs = options.connectTimeoutMs ?? defaultConnectTimeoutMs
  const open = (opening: OpenLink): Promise<RedisLink> => {
    const name = options.clientName ?? opening.name
    if (found.library === 'ioredis') {
      const own = found.client.duplicate({ ...ioredisLinkOptions, connectTimeout: connectTimeoutMs, connectionName: name })
      return openIoredisLink(own, opening, options)
    }
    const own = found.client.duplicate({ ...nodeRedisLinkOptions(found.client, connectTimeoutMs), name })
    return openNodeRedisLink(own, opening, options)
  }
  return {
    shown: describeRedisClient(client),
    db: databaseOf(found),
    place: undefined,
    longestSilenceMs: options.longestSilenceMs,
    open: async (opening) => explained(open(opening), isEncrypted(found.client.options), connectTimeoutMs),
  }
}

/** Both libraries have `tls`, one of them within `socket`. */
function isEncrypted(options: object | undefined): boolean {
  const socket: unknown = Reflect.get(options ?? {}, 'socket')
  return [options, socket].some((place) => typeof place === 'object' && place !== null && Boolean(Reflect.get(place, 'tls')))
}

async function explained(opening: Promise<RedisLink>, encrypted: boolean, connectTimeoutMs: number): Promise<RedisLink> {
  try {
    return await opening
  } catch (error) {
    throw explainConnectError(error, { isEncrypted: encrypted, connectTimeoutMs })
  }
}
