/** Links over ioredis 5 and 6. The parts of it that are used are typed here: its own types are not needed to build with celeriac. */
import type { Clock } from '../clock.js'
import type { Argument, Listener, OpenLink, RedisLink, Reply } from './link.js'
import { LinkLostError, RedisReplyError } from './link.js'
import { LinkWatch } from './link-watch.js'

/** What of an ioredis client is used. */
export interface IoredisClient {
  readonly options: { readonly db?: number | undefined }
  connect(): Promise<void>
  duplicate(options: Readonly<Record<string, unknown>>): IoredisClient
  disconnect(): void
  callBuffer(command: string, ...args: (string | number | Buffer)[]): Promise<unknown>
  subscribe(...channels: string[]): Promise<unknown>
  psubscribe(...patterns: string[]): Promise<unknown>
  unsubscribe(...channels: string[]): Promise<unknown>
  punsubscribe(...patterns: string[]): Promise<unknown>
  on(event: 'error' | 'close' | 'end', listener: (error?: Error) => void): unknown
  on(event: 'messageBuffer', listener: (channel: Buffer, payload: Buffer | null) => void): unknown
  on(event: 'pmessageBuffer', listener: (pattern: Buffer, channel: Buffer, payload: Buffer | null) => void): unknown
}

export interface LinkSettings {
  readonly clock: Clock
  /** An answer that is due so long ends the link. */
  readonly longestSilenceMs: number
}

/** Ours, whatever the client had: a link sends nothing twice and prefixes nothing. RESP2, since ioredis 6 drops the push messages of client tracking in RESP3. */
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
  keyPrefix: '',
  stringNumbers: false,
  protocol: 2,
  disableClientInfo: true,
} as const

/** Connects a client that was made with `ioredisLinkOptions`. */
export async function openIoredisLink(client: IoredisClient, { signal }: OpenLink, settings: LinkSettings): Promise<RedisLink> {
  signal.throwIfAborted()
  const link = new IoredisLink(client, settings)
  const abort = (): void =>
    link.destroy(signal.reason instanceof Error ? signal.reason : new LinkLostError('the connection was not wanted any more'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    await client.connect()
    signal.throwIfAborted()
    return link
  } catch (error) {
    link.destroy(link.lastError ?? asError(error))
    signal.throwIfAborted()
    // Its own says that the connection is closed; the socket's error says why.
    throw link.lastError ?? error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

class IoredisLink implements RedisLink {
  readonly ended: Promise<Error | undefined>
  readonly #client: IoredisClient
  readonly #watch: LinkWatch
  readonly #listeners = new Map<string, Listener>()
  readonly #patternListeners = new Map<string, Listener>()
  readonly #due = new Set<(error: Error) => void>()
  #resolveEnded: (reason: Error | undefined) => void = () => undefined
  #end: { readonly reason: Error | undefined } | undefined
  #onQuiet: (() => void) | undefined
  lastError: Error | undefined

  constructor(client: IoredisClient, { clock, longestSilenceMs }: LinkSettings) {
    this.#client = client
    this.#watch = new LinkWatch(clock, longestSilenceMs, () =>
      this.destroy(new LinkLostError(`Redis has not answered for ${longestSilenceMs / 1000} s`)),
    )
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    client.on('error', (error) => {
      this.lastError = error
    })
    client.on('close', () => this.destroy(this.lastError ?? new LinkLostError('Redis closed the connection')))
    client.on('messageBuffer', (channel, payload) => {
      const name = channel.toString('utf8')
      this.#listeners.get(name)?.(name, payload)
    })
    client.on('pmessageBuffer', (pattern, channel, payload) =>
      this.#patternListeners.get(pattern.toString('utf8'))?.(channel.toString('utf8'), payload),
    )
  }

  call(command: string, args: readonly Argument[]): Promise<Reply> {
    // ioredis answers RESP2 with these types and no others when it is asked for buffers.
    return this.#send(() => this.#client.callBuffer(command, ...args.map(asIoredisArgument)) as Promise<Reply>)
  }

  async subscribe(channels: readonly string[], listener: Listener): Promise<void> {
    for (const channel of channels) this.#listeners.set(channel, listener)
    if (channels.length > 0) await this.#send(() => this.#client.subscribe(...channels))
  }

  async psubscribe(patterns: readonly string[], listener: Listener): Promise<void> {
    for (const pattern of patterns) this.#patternListeners.set(pattern, listener)
    if (patterns.length > 0) await this.#send(() => this.#client.psubscribe(...patterns))
  }

  async unsubscribe(channels: readonly string[]): Promise<void> {
    for (const channel of channels) this.#listeners.delete(channel)
    if (channels.length > 0) await this.#send(() => this.#client.unsubscribe(...channels))
  }

  async punsubscribe(patterns: readonly string[]): Promise<void> {
    for (const pattern of patterns) this.#patternListeners.delete(pattern)
    if (patterns.length > 0) await this.#send(() => this.#client.punsubscribe(...patterns))
  }

  async close(): Promise<void> {
    if (this.#end === undefined && this.#due.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onQuiet = resolve
      })
    }
    this.#finish(undefined)
  }

  destroy(reason: Error): void {
    this.#finish(reason)
  }

  #send<T>(send: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#end !== undefined) return reject(new LinkLostError('the connection to Redis has ended', { cause: this.#end.reason }))
      this.#due.add(reject)
      this.#watch.sent()
      const answered = (): boolean => {
        if (!this.#due.delete(reject)) return false
        this.#watch.answered()
        if (this.#due.size === 0) this.#onQuiet?.()
        return true
      }
      send().then(
        (reply) => {
          if (answered()) resolve(reply)
        },
        (error: unknown) => {
          if (answered()) reject(refusalOrLoss(error))
        },
      )
    })
  }

  #finish(reason: Error | undefined): void {
    if (this.#end !== undefined) return
    this.#end = { reason }
    this.#watch.stop()
    this.#client.disconnect()
    const lost = new LinkLostError(`the connection to Redis is lost${reason === undefined ? '' : `: ${reason.message}`}`, { cause: reason })
    for (const reject of this.#due) reject(lost)
    this.#due.clear()
    this.#onQuiet?.()
    this.#resolveEnded(reason)
  }
}

/** ReplyError is what the server said; everything else is the connection. */
function refusalOrLoss(error: unknown): Error {
  if (error instanceof Error && error.name === 'ReplyError') return new RedisReplyError(error.message)
  return new LinkLostError(`the connection to Redis is lost: ${asError(error).message}`, { cause: error })
}

function asIoredisArgument(argument: Argument): string | number | Buffer {
  if (typeof argument !== 'object') return argument
  return Buffer.isBuffer(argument) ? argument : Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
