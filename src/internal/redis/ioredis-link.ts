/** Links over ioredis 5 and 6. The parts of it that are used are typed here: its own types are not needed to build with celeriac. */
import { type LinkSettings, openClientLink, type Wire, type WireEvents } from './client-link.js'
import type { Argument, OpenLink, RedisLink, Reply } from './link.js'

/** What of an ioredis client is used. */
export interface IoredisClient {
  readonly options: { readonly db?: number | undefined }
  /** The open socket. */
  readonly stream?: { ref(): unknown; unref(): unknown } | undefined
  connect(): Promise<void>
  duplicate(options: Readonly<Record<string, unknown>>): IoredisClient
  disconnect(): void
  /** It flattens the list: one argument each would be copied twice more. */
  callBuffer(command: string, args: readonly (string | number | Buffer)[]): Promise<unknown>
  subscribe(...channels: string[]): Promise<unknown>
  psubscribe(...patterns: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  punsubscribe(...patterns: string[]): Promise<unknown>
  on(event: 'error' | 'sentinelError' | 'close' | 'end', listener: (error?: Error) => void): unknown
  on(event: 'messageBuffer', listener: (channel: Buffer, payload: Buffer | null) => void): unknown
  on(event: 'pmessageBuffer', listener: (pattern: Buffer, channel: Buffer, payload: Buffer | null) => void): unknown
}

/**
 * Ours, whatever the client had: a link sends nothing twice, prefixes nothing, waits for nothing by a clock of its own and asks the primary. RESP2, since
 * ioredis 6 drops the push messages of client tracking in RESP3.
 */
export const ioredisLinkOptions = {
  lazyConnect: true,
  enableOfflineQueue: false,
  enableReadyCheck: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  maxRetriesPerRequest: null,
  retryStrategy: null,
  reconnectOnError: null,
  sentinelRetryStrategy: null,
  failoverDetector: false,
  role: 'master',
  readOnly: false,
  monitor: false,
  commandTimeout: undefined,
  socketTimeout: undefined,
  blockingTimeout: undefined,
  // What was not sent when a link ends is not sent after its end.
  disconnectTimeout: 0,
  keyPrefix: '',
  stringNumbers: false,
  protocol: 2,
  replyMapping: 'legacy',
  disableClientInfo: true,
} as const

/** Connects a client that was made with `ioredisLinkOptions`. */
export function openIoredisLink(client: IoredisClient, opening: OpenLink, settings: LinkSettings): Promise<RedisLink> {
  return openClientLink((events) => new IoredisWire(client, events), opening, settings)
}

class IoredisWire implements Wire {
  readonly #client: IoredisClient
  readonly #events: WireEvents
  /** Which Sentinel said or did what: ioredis tells it beside the error that ends the search. */
  #sentinelSaid: string | undefined

  constructor(client: IoredisClient, events: WireEvents) {
    this.#client = client
    this.#events = events
    client.on('error', (error = new Error('unknown error')) => events.onError(error))
    client.on('sentinelError', (error) => {
      this.#sentinelSaid = error?.message
    })
    client.on('close', () => events.onClose())
    client.on('messageBuffer', (channel, payload) => events.onMessage(channel, payload))
    client.on('pmessageBuffer', (pattern, channel, payload) => events.onPatternMessage(pattern.toString('utf8'), channel, payload))
  }

  async connect(): Promise<void> {
    try {
      await this.#client.connect()
    } catch (error) {
      if (this.#sentinelSaid === undefined || !(error instanceof Error && /^All sentinels/i.test(error.message))) throw error
      const clearer = new Error(`no Sentinel led to a primary: ${this.#sentinelSaid}`, { cause: error })
      this.#events.onError(clearer)
      throw clearer
    }
  }

  call(command: string, args: readonly Argument[]): Promise<Reply> {
    // By its name in small letters, early versions of 5 know that a link that listens may send it. Other commands keep their capitals: ioredis would turn the
    // answers of some that it knows, such as hgetall, into objects.
    const name = command === 'PING' ? 'ping' : command
    // ioredis answers RESP2 with these types and no others when it is asked for buffers.
    return this.#client.callBuffer(name, args.map(asIoredisArgument)) as Promise<Reply>
  }

  subscribe(channels: readonly string[]): Promise<unknown> {
    return this.#client.subscribe(...channels)
  }

  psubscribe(patterns: readonly string[]): Promise<unknown> {
    return this.#client.psubscribe(...patterns)
  }

  unsubscribe(channels: readonly string[]): Promise<unknown> {
    return this.#client.unsubscribe(...channels)
  }

  punsubscribe(patterns: readonly string[]): Promise<unknown> {
    return this.#client.punsubscribe(...patterns)
  }

  holdProcess(on: boolean): void {
    if (on) this.#client.stream?.ref()
    else this.#client.stream?.unref()
  }

  drop(): void {
    this.#client.disconnect()
  }

  refusal(error: unknown): string | undefined {
    return error instanceof Error && error.name === 'ReplyError' ? error.message : undefined
  }

  /** Said where it finds its socket closed; "Connection is closed." may be said of commands that went out. */
  wasUnsent(error: unknown): boolean {
    return error instanceof Error && error.message.startsWith("Stream isn't writeable")
  }
}

function asIoredisArgument(argument: Argument): string | number | Buffer {
  if (typeof argument !== 'object') return argument
  return Buffer.isBuffer(argument) ? argument : Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
}
