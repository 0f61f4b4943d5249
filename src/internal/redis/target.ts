/** From a Redis URL to where links go: one server, a Unix socket, or the primary that Sentinels name. */
import { UrlInvalidError } from '../../errors.js'
import { importPeer } from '../import-peer.js'
import { redactUrl } from '../url.js'
import { type IoredisClient, ioredisLinkOptions, type LinkSettings, openIoredisLink } from './ioredis-link.js'
import type { RedisTarget } from './link.js'

/** URL schemes that mean Redis or a server that speaks its protocol. */
export const redisSchemes = ['redis', 'rediss', 'valkey', 'valkeys', 'redis+socket', 'socket', 'sentinel'] as const

export interface TargetOptions extends LinkSettings {
  /** The name under which the Sentinels know the primary. */
  readonly masterName?: string | undefined
}

interface IoredisModule {
  readonly Redis: new (options: Readonly<Record<string, unknown>>) => IoredisClient
}

/** Throws UrlInvalidError, which never shows a password. `open` throws DriverNotInstalledError when ioredis is missing. */
export function redisTarget(url: string, options: TargetOptions): RedisTarget {
  const shown = redactUrl(url)
  const connection = parseRedisUrl(url, options.masterName)
  return {
    shown,
    db: connection.db,
    async open(opening) {
      const { Redis } = await importPeer<IoredisModule>(`The broker or backend ${shown}`, 'ioredis')
      const client = new Redis({ ...connection, ...ioredisLinkOptions, connectionName: opening.name })
      return openIoredisLink(client, opening, options)
    },
  }
}

interface ConnectionOptions {
  readonly db: number
  readonly [name: string]: unknown
}

/** A URL in ioredis' connection options. */
export function parseRedisUrl(url: string, masterName?: string): ConnectionOptions {
  const scheme = /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === 'sentinel') return sentinels(url, masterName)
  if (scheme === 'redis+socket' || scheme === 'socket') return socket(url)
  const parsed = parse(url)
  return {
    host: parsed.hostname === '' ? 'localhost' : parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    db: database(parsed.pathname.slice(1), url),
    ...credentials(parsed),
    ...(scheme === 'rediss' || scheme === 'valkeys' ? { tls: {} } : {}),
  }
}

function socket(url: string): ConnectionOptions {
  const parsed = parse(url)
  const path = decodeURIComponent(parsed.hostname + parsed.pathname)
  if (path === '') throw invalid(url, 'a URL such as "redis+socket:///run/redis.sock?virtual_host=0"')
  return { path, db: database(parsed.searchParams.get('virtual_host') ?? '', url), ...credentials(parsed) }
}

/** kombu writes each Sentinel as a URL of its own; the first that names a database or a password counts for the primary. */
function sentinels(url: string, masterName: string | undefined): ConnectionOptions {
  if (masterName === undefined)
    throw invalid(url, 'the transport option masterName beside a sentinel: URL (the name under which the Sentinels know the primary)')
  const all = url.split(';').map((each) => parse(each.trim()))
  const named = all.find(({ pathname }) => pathname.length > 1)
  const trusted = all.find(({ password }) => password !== '')
  return {
    sentinels: all.map(({ hostname, port }) => ({ host: hostname, port: port === '' ? 26_379 : Number(port) })),
    name: masterName,
    db: database(named?.pathname.slice(1) ?? '', url),
    ...(trusted === undefined ? {} : credentials(trusted)),
  }
}

function credentials({ username, password }: URL): { readonly username?: string; readonly password?: string } {
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
  }
}

function database(text: string, url: string): number {
  if (!/^\d{0,5}$/.test(text)) throw invalid(url, 'the number of a database after the host, such as "redis://localhost:6379/0"')
  return Number(text)
}

function parse(url: string): URL {
  try {
    return new URL(url)
  } catch {
    throw invalid(url, 'a URL such as "redis://localhost:6379/0"')
  }
}

function invalid(url: string, expected: string): UrlInvalidError {
  return new UrlInvalidError(`expected ${expected}, got: ${JSON.stringify(redactUrl(url))}`)
}
