/** Redis URLs as kombu, Celery and redis-py write them. Every part of one counts or is refused. */
import { UrlInvalidError } from '../../errors.js'
import { didYouMean } from '../did-you-mean.js'
import { sslParameters, tlsOfParameters } from '../ssl-parameters.js'
import type { TlsOptions } from '../tls.js'
import { redactUrl } from '../url.js'

/** Where a URL leads to, in the words of ioredis' options, `tls` apart. */
export interface RedisAddress {
  readonly db: number
  readonly host?: string
  readonly port?: number
  readonly path?: string
  readonly sentinels?: readonly { readonly host: string; readonly port: number }[]
  /** Under which the Sentinels know the primary. */
  readonly name?: string
  readonly username?: string
  readonly password?: string
  /** Missing: the connection is not encrypted. */
  readonly tls?: TlsOptions
}

export interface UrlContext {
  readonly masterName?: string | undefined
  /** The transport option, which encrypts whatever the scheme is and wins over the URL's parameters. */
  readonly tls?: TlsOptions | undefined
}

/** Throws UrlInvalidError, which never shows a password. */
export function parseRedisUrl(url: string, { masterName, tls }: UrlContext = {}): RedisAddress {
  const scheme = /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === 'sentinel') return { ...sentinels(url, masterName), ...(tls === undefined ? {} : { tls }) }
  if (masterName !== undefined) throw invalid(url, 'a sentinel: URL beside the transport option masterName')
  if (scheme === 'redis+socket' || scheme === 'socket') return socket(url, tls)
  const isEncrypted = scheme === 'rediss' || scheme === 'valkeys'
  const parsed = parse(url)
  const parameters = parametersOf(parsed, url, isEncrypted ? sslParameters : [])
  const encryption = isEncrypted ? { ...tlsOfParameters(parameters, tls, (words) => invalid(url, words)), ...tls } : tls
  return {
    ...server(parsed, url, 6379),
    db: database(parsed.pathname.slice(1), url),
    ...(encryption === undefined ? {} : { tls: encryption }),
  }
}

function server(parsed: URL, url: string, defaultPort: number) {
  if (parsed.hostname.includes(';')) throw invalid(url, 'one server')
  const host = parsed.hostname === '' ? 'localhost' : parsed.hostname.replace(/^\[(.*)\]$/, '$1')
  return { host: decoded(host, url), port: parsed.port === '' ? defaultPort : Number(parsed.port), ...credentials(parsed, url) }
}

function socket(url: string, tls: TlsOptions | undefined): RedisAddress {
  const example = 'a URL such as "redis+socket:///run/redis.sock?virtual_host=0"'
  if (tls !== undefined) throw invalid(url, 'a URL of a server beside the transport option tls: a Unix socket is not encrypted')
  // No host stands before the path, and the parser refuses a password without one.
  const parsed = parse(url.replace(/^([a-z+]+:\/\/(?:[^/?#]*@)?)\//i, '$1localhost/'))
  if (parsed.hostname !== 'localhost' || parsed.port !== '' || parsed.pathname.length < 2) throw invalid(url, example)
  const { virtual_host: db = '' } = parametersOf(parsed, url, ['virtual_host'])
  return { path: decoded(parsed.pathname, url), db: database(db, url), ...credentials(parsed, url) }
}

/** kombu writes each Sentinel as a URL of its own; the first that names a database or a password counts for the primary. */
function sentinels(url: string, masterName: string | undefined): RedisAddress {
  if (masterName === undefined)
    throw invalid(url, 'the transport option masterName beside a sentinel: URL (the name under which the Sentinels know the primary)')
  const all = url.split(';').map((each) => parse(each.trim()))
  if (all.some(({ protocol }) => protocol !== 'sentinel:'))
    throw invalid(url, 'every Sentinel as a URL, such as "sentinel://a:26379/0;sentinel://b:26379"')
  for (const each of all) parametersOf(each, url, [])
  const named = all.find(({ pathname }) => pathname.length > 1)
  const trusted = all.find(({ password }) => password !== '')
  return {
    sentinels: all.map((each) => {
      const { host, port } = server(each, url, 26_379)
      return { host, port }
    }),
    name: masterName,
    db: database(named?.pathname.slice(1) ?? '', url),
    ...(trusted === undefined ? {} : credentials(trusted, url)),
  }
}

function parametersOf({ searchParams }: URL, url: string, known: readonly string[]): Readonly<Record<string, string>> {
  const given: Record<string, string> = {}
  for (const [name, value] of searchParams) {
    if (!known.includes(name)) {
      if (sslParameters.includes(name)) throw invalid(url, `a rediss: URL around ${name}: this one is not encrypted`)
      const near = didYouMean(name, known)
      const hint = near === undefined ? 'Options of the connection are transport options.' : `Did you mean ${JSON.stringify(near)}?`
      throw new UrlInvalidError(`unknown parameter ${JSON.stringify(name)} in ${JSON.stringify(redactUrl(url))}. ${hint}`)
    }
    given[name] = value
  }
  return given
}

function credentials({ username, password }: URL, url: string): { readonly username?: string; readonly password?: string } {
  return {
    ...(username === '' ? {} : { username: decoded(username, url) }),
    ...(password === '' ? {} : { password: decoded(password, url) }),
  }
}

function database(given: string, url: string): number {
  if (!/^\d{0,5}$/.test(given)) throw invalid(url, 'the number of a database after the host, such as "redis://localhost:6379/0"')
  return Number(given)
}

function decoded(part: string, url: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw invalid(url, 'a percent sign to be written as %25')
  }
}

function parse(url: string): URL {
  let parsed: URL | undefined
  try {
    parsed = new URL(url)
  } catch {
    // Said below.
  }
  if (parsed === undefined || parsed.hash !== '') throw invalid(url, 'a URL such as "redis://localhost:6379/0"')
  return parsed
}

function invalid(url: string, expected: string): UrlInvalidError {
  return new UrlInvalidError(`expected ${expected}, got: ${JSON.stringify(redactUrl(url))}`)
}
