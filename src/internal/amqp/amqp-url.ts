/** AMQP URLs as kombu and Celery read them. Every part of one counts or is refused. */
import { UrlInvalidError } from '../../errors.js'
import { didYouMean } from '../did-you-mean.js'
import { sslParameters, tlsOfParameters } from '../ssl-parameters.js'
import type { TlsOptions } from '../tls.js'
import { redactUrl } from '../url.js'

/** Where a URL leads to, and as whom. */
export interface AmqpAddress {
  readonly host: string
  readonly port: number
  readonly vhost: string
  readonly username: string
  readonly password: string
  /** Seconds; 0 is none. Undefined: the URL does not say. */
  readonly heartbeat: number | undefined
  /** Missing: the connection is not encrypted. */
  readonly tls?: TlsOptions
}

/** `tls` is the transport option, which encrypts whatever the scheme is and wins over the URL's parameters. Throws UrlInvalidError, which never shows a password. */
export function parseAmqpUrl(url: string, { tls }: { readonly tls?: TlsOptions | undefined } = {}): AmqpAddress {
  const parsed = parse(url)
  const isEncrypted = parsed.protocol === 'amqps:'
  const { heartbeat, ...ssl } = parametersOf(parsed, url, isEncrypted)
  const encryption = isEncrypted ? { ...tlsOfParameters(ssl, tls, (words) => invalid(url, words)), ...tls } : tls
  const { username, password } = parsed
  return {
    host: hostOf(parsed, url),
    port: parsed.port === '' ? (encryption === undefined ? 5672 : 5671) : Number(parsed.port),
    // The first slash ends the host: "//" is the virtual host "/", and so is none.
    vhost: decoded(parsed.pathname.slice(1), url) || '/',
    // As all of them do: without any, the user of a fresh server.
    username: username === '' && password === '' ? 'guest' : decoded(username, url),
    password: username === '' && password === '' ? 'guest' : decoded(password, url),
    heartbeat: heartbeat === undefined ? undefined : seconds(heartbeat, url),
    ...(encryption === undefined ? {} : { tls: encryption }),
  }
}

function hostOf({ hostname }: URL, url: string): string {
  if (hostname.includes(';')) throw invalid(url, 'one server')
  // Celery's too: a name that may stand for an address on which the server does not listen.
  if (hostname === '' || hostname === 'localhost') return '127.0.0.1'
  return decoded(hostname.replace(/^\[(.*)\]$/, '$1'), url)
}

function parametersOf({ searchParams }: URL, url: string, isEncrypted: boolean): Readonly<Record<string, string>> {
  const known = isEncrypted ? ['heartbeat', ...sslParameters] : ['heartbeat']
  const given: Record<string, string> = {}
  for (const [name, value] of searchParams) {
    if (!known.includes(name)) {
      if (sslParameters.includes(name)) throw invalid(url, `an amqps: URL around ${name}: this one is not encrypted`)
      const near = didYouMean(name, known)
      const hint = near === undefined ? 'Options of the connection are transport options.' : `Did you mean ${JSON.stringify(near)}?`
      throw new UrlInvalidError(`unknown parameter ${JSON.stringify(name)} in ${JSON.stringify(redactUrl(url))}. ${hint}`)
    }
    given[name] = value
  }
  return given
}

function seconds(given: string, url: string): number {
  if (!/^\d{1,5}$/.test(given)) throw invalid(url, 'heartbeat to be a whole number of seconds')
  return Number(given)
}

function decoded(part: string, url: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw invalid(url, 'a percent sign to be written as %25')
  }
}

const example = 'a URL such as "amqp://user:password@localhost:5672/vhost"'

function parse(url: string): URL {
  let parsed: URL | undefined
  try {
    // The scheme may stand alone; and where no host is, the parser refuses the rest.
    parsed = new URL(url.replace(/^(py)?(amqps?):(?:\/\/)?/i, '$2://').replace(/^(amqps?:\/\/(?:[^/?#]*@)?)(?=$|[/:?#])/i, '$1localhost'))
  } catch {
    // Said below.
  }
  if (parsed === undefined || parsed.hash !== '') throw invalid(url, example)
  return parsed
}

function invalid(url: string, expected: string): UrlInvalidError {
  return new UrlInvalidError(`expected ${expected}, got: ${JSON.stringify(redactUrl(url))}`)
}
