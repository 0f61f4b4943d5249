/** From a URL to links: the network connection, TLS, the login. */
import { connect as connectTcp } from 'node:net'
import { ConnectionError } from '../../errors.js'
import { requirePeer } from '../import-peer.js'
import { readTls } from '../tls.js'
import { tlsFailure } from '../tls-failure.js'
import { redactUrl } from '../url.js'
import { type AmqpAddress, parseAmqpUrl } from './amqp-url.js'
import type { AmqplibModule, Connect } from './amqplib.js'
import { AmqpLink } from './link.js'
import type { AmqpLinkOptions } from './link-options.js'
import { refusalOf } from './reply.js'

/** No server offers larger ones, and larger ones are not read. */
const largestFrame = 131_072

export interface OpenAmqpLink {
  readonly signal: AbortSignal
  /** Shown by `rabbitmqctl list_connections`. */
  readonly name: string
  /** Seconds; the connection must survive that its process is blocked for so long. Default 0. */
  readonly blocksUpToSeconds?: number
}

export class AmqpTarget {
  /** For people: without a password. */
  readonly shown: string
  readonly #address: AmqpAddress
  readonly #options: AmqpLinkOptions

  /** Throws UrlInvalidError, which never shows a password. */
  constructor(url: string, options: AmqpLinkOptions) {
    this.shown = redactUrl(url)
    this.#address = parseAmqpUrl(url, options)
    this.#options = options
  }

  /** Throws DriverNotInstalledError when amqplib is missing, the reason of the signal, or ConnectionError in words. */
  async open({ signal, name, blocksUpToSeconds = 0 }: OpenAmqpLink): Promise<AmqpLink> {
    const connect = connectOf(requirePeer<AmqplibModule>(`The broker or backend ${this.shown}`, 'amqplib'))
    signal.throwIfAborted()
    const { host, port, username, password, vhost, tls } = this.#address
    const end = new AbortController()
    const timeoutMs = this.#options.socketConnectTimeout * 1000
    const timer = setTimeout(() => end.abort(new Error(silence(timeoutMs, tls !== undefined))), timeoutMs)
    const abort = (): void => end.abort(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    try {
      const secure = tls === undefined ? {} : await readTls(tls, host)
      const heartbeat = this.#heartbeat(blocksUpToSeconds)
      const model = await Promise.race([
        connect(
          {
            protocol: tls === undefined ? 'amqp' : 'amqps',
            hostname: host,
            port,
            username,
            password,
            vhost: encodeURIComponent(vhost),
            heartbeat,
            frameMax: largestFrame,
            maxFrameSize: largestFrame,
          },
          {
            ...secure,
            noDelay: true,
            // With it the socket ends, whatever it is about.
            ...(tls === undefined ? { signal: end.signal } : { socket: connectTcp({ host, port, signal: end.signal }) }),
            clientProperties: clientProperties(this.#options.clientName ?? name),
          },
        ),
        aborted(end.signal),
      ])
      return new AmqpLink(model)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      const cause = end.signal.aborted ? end.signal.reason : error
      end.abort(cause)
      throw new ConnectionError(`RabbitMQ at ${this.shown} cannot be reached: ${reasonOf(cause, tls !== undefined)}`, { cause })
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
  }

  /** A process that may be blocked for longer than two heartbeats (and it sends one each half) asks for longer ones: a server that hears nothing gives its messages to others. */
  #heartbeat(blocksUpToSeconds: number): number | undefined {
    const wanted = this.#options.heartbeat ?? this.#address.heartbeat
    if (wanted === undefined || wanted === 0 || !Number.isFinite(blocksUpToSeconds)) return wanted
    return Math.max(wanted, Math.ceil(blocksUpToSeconds / 1.5))
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
}

function connectOf({ connect, default: whole }: AmqplibModule): Connect {
  const found = connect ?? whole?.connect
  if (found === undefined) throw new TypeError('amqplib has no connect(): celeriac needs version 0.5 or later')
  return found
}

function clientProperties(name: string): Readonly<Record<string, unknown>> {
  return {
    product: 'celeriac',
    platform: `Node.js ${process.version}`,
    connection_name: name,
    capabilities: {
      publisher_confirms: true,
      exchange_exchange_bindings: true,
      'basic.nack': true,
      consumer_cancel_notify: true,
      'connection.blocked': true,
      authentication_failure_close: true,
    },
  }
}

function silence(timeoutMs: number, isEncrypted: boolean): string {
  const what = isEncrypted ? 'an encrypted connection' : 'a connection'
  return `the server did not open ${what} within ${timeoutMs / 1000} s${isEncrypted ? ': does it speak TLS at this port?' : ''}`
}

function reasonOf(cause: unknown, isEncrypted: boolean): string {
  const error = cause instanceof Error ? cause : new Error(String(cause))
  const refusal = refusalOf(error)
  if (refusal?.code === 403) return `it refuses the user or password (${refusal.text})`
  if (refusal !== undefined) return `it says ${JSON.stringify(refusal.text)}`
  const tls = tlsFailure(error, 'An amqps: URL needs the TLS port')
  if (tls !== undefined) return tls
  const { message } = error
  // The library does not tell what the server said to that.
  if (/Expected ConnectionOpenOk; got <ConnectionClose/.test(message))
    return 'it does not open the virtual host to this user: does the host exist (rabbitmqctl list_vhosts), and has the user rights in it?'
  if (/Socket closed abruptly|closed the network|ECONNRESET/.test(message)) {
    return isEncrypted
      ? `the server closed the connection while it was set up (${message}): does it speak TLS at this port?`
      : `the server closed the connection before it was open (${message}): is this its TLS port, or another service?`
  }
  if (/Invalid frame|Frame size|frame type|Unexpected/.test(message))
    return `its answer is not AMQP 0-9-1 (${message}): is this ${isEncrypted ? '' : 'its TLS port, or '}another service?`
  // One address after the other was tried; Node's own message is empty then.
  if (error instanceof AggregateError && message === '')
    return error.errors.map((one) => (one instanceof Error ? one.message : String(one))).join('; ')
  return message
}
