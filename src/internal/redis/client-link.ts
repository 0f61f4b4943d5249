/** What links over all client libraries have in common: which answers are due, who listens to what, and how a link ends. */
import type { Clock } from '../clock.js'
import type { Argument, Listener, OpenLink, RedisLink, Reply } from './link.js'
import { LinkLostError, RedisReplyError } from './link.js'
import { LinkWatch } from './link-watch.js'

export interface LinkSettings {
  readonly clock: Clock
  /** An answer that is due so long ends the link. */
  readonly longestSilenceMs: number
}

/** One connection of a client library. It sends the commands of one tick together and in order, and never connects again by itself. */
export interface Wire {
  connect(): Promise<unknown>
  call(command: string, args: readonly Argument[]): Promise<Reply>
  subscribe(channels: readonly string[]): Promise<unknown>
  psubscribe(patterns: readonly string[]): Promise<unknown>
  unsubscribe(channels: readonly string[]): Promise<unknown>
  punsubscribe(patterns: readonly string[]): Promise<unknown>
  /** Whether the open socket keeps this process running. */
  holdProcess(on: boolean): void
  /** Closes the socket now; also one that is still being opened. */
  drop(): void
  /** The server's own words, if the library's error is what the server said. */
  refusal(error: unknown): string | undefined
  /** The library refused the command itself, before a byte of it went out. */
  wasUnsent(error: unknown): boolean
}

/** What a wire tells its link. */
export interface WireEvents {
  onMessage(channel: Buffer, payload: Buffer | null): void
  onPatternMessage(pattern: string, channel: Buffer, payload: Buffer | null): void
  /** Something went wrong, which mostly ends the connection: the reason, if it does. */
  onError(error: Error): void
  onClose(): void
}

/** Connects the wire and hears whether the server takes us. Rejects with RedisReplyError (it does not), the library's error, or the signal's reason. */
export async function openClientLink(
  makeWire: (events: WireEvents) => Wire,
  { signal }: OpenLink,
  settings: LinkSettings,
): Promise<RedisLink> {
  signal.throwIfAborted()
  const link = new ClientLink(makeWire, settings)
  const abort = (): void =>
    link.destroy(signal.reason instanceof Error ? signal.reason : new LinkLostError('the connection was not wanted any more'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    await link.connect()
    return link
  } catch (error) {
    link.destroy(asError(error))
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

class ClientLink implements RedisLink, WireEvents {
  readonly ended: Promise<Error | undefined>
  readonly #wire: Wire
  readonly #watch: LinkWatch
  readonly #listeners = new Map<string, Listener>()
  readonly #patternListeners = new Map<string, Listener>()
  readonly #due = new Set<(error: Error) => void>()
  #resolveEnded: (reason: Error | undefined) => void = () => undefined
  #end: { readonly reason: Error | undefined } | undefined
  #onQuiet: (() => void) | undefined
  #lastError: Error | undefined
  #isConnected = false

  constructor(makeWire: (events: WireEvents) => Wire, { clock, longestSilenceMs }: LinkSettings) {
    this.#wire = makeWire(this)
    this.#watch = new LinkWatch(clock, longestSilenceMs, () =>
      this.destroy(new LinkLostError(`Redis has not answered for ${longestSilenceMs / 1000} s`)),
    )
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
  }

  async connect(): Promise<void> {
    const connecting = this.#wire.connect()
    // It may settle late, when nobody waits for it any more.
    connecting.catch(() => {})
    try {
      await Promise.race([connecting, this.ended])
    } catch (error) {
      // The library's own may say no more than that the connection is closed; the socket's error says why.
      throw this.#explained(this.#lastError ?? error)
    }
    // A database or name that was refused is told as an error beside a connection that works, and works with the wrong database.
    if (this.#lastError !== undefined) throw this.#explained(this.#lastError)
    if (this.#end !== undefined) throw this.#end.reason ?? new LinkLostError('the connection was closed while it was opened')
    this.#isConnected = true
    await this.#greet()
    if (this.#due.size === 0) this.#wire.holdProcess(false)
  }

  /** Finds the server that wants a password, is loading or never speaks now, and not with the first command that matters. */
  async #greet(): Promise<void> {
    try {
      await this.call('PING', [])
    } catch (error) {
      // It speaks, and knows who we are.
      if (error instanceof RedisReplyError && error.code === 'NOPERM') return
      throw error instanceof LinkLostError ? (this.#lastError ?? error) : error
    }
  }

  call(command: string, args: readonly Argument[]): Promise<Reply> {
    return this.#send(() => this.#wire.call(command, args))
  }

  async subscribe(channels: readonly string[], listener: Listener): Promise<void> {
    for (const channel of channels) this.#listeners.set(channel, listener)
    if (channels.length > 0) await this.#send(() => this.#wire.subscribe(channels))
  }

  async psubscribe(patterns: readonly string[], listener: Listener): Promise<void> {
    for (const pattern of patterns) this.#patternListeners.set(pattern, listener)
    if (patterns.length > 0) await this.#send(() => this.#wire.psubscribe(patterns))
  }

  async unsubscribe(channels: readonly string[]): Promise<void> {
    for (const channel of channels) this.#listeners.delete(channel)
    if (channels.length > 0) await this.#send(() => this.#wire.unsubscribe(channels))
  }

  async punsubscribe(patterns: readonly string[]): Promise<void> {
    for (const pattern of patterns) this.#patternListeners.delete(pattern)
    if (patterns.length > 0) await this.#send(() => this.#wire.punsubscribe(patterns))
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

  onMessage(channel: Buffer, payload: Buffer | null): void {
    const name = channel.toString('utf8')
    this.#listeners.get(name)?.(name, payload)
  }

  onPatternMessage(pattern: string, channel: Buffer, payload: Buffer | null): void {
    this.#patternListeners.get(pattern)?.(channel.toString('utf8'), payload)
  }

  onError(error: Error): void {
    this.#lastError = error
    // While it connects, the library goes on to say what becomes of it. Later there is no error after which its answers can be trusted.
    if (this.#isConnected) this.destroy(error)
  }

  onClose(): void {
    this.destroy(this.#lastError ?? new LinkLostError('Redis closed the connection'))
  }

  #send<T>(send: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#end !== undefined)
        return reject(new LinkLostError('the connection to Redis has ended', { cause: this.#end.reason, wasSent: false }))
      this.#due.add(reject)
      this.#watch.sent()
      if (this.#due.size === 1) this.#wire.holdProcess(true)
      const answered = (): boolean => {
        if (!this.#due.delete(reject)) return false
        this.#watch.answered()
        if (this.#due.size > 0) return true
        this.#wire.holdProcess(false)
        this.#onQuiet?.()
        return true
      }
      send().then(
        (reply) => {
          if (answered()) resolve(reply)
        },
        (error: unknown) => {
          if (answered()) reject(this.#refusalOrLoss(error))
        },
      )
    })
  }

  #finish(reason: Error | undefined): void {
    if (this.#end !== undefined) return
    this.#end = { reason }
    this.#watch.stop()
    this.#wire.drop()
    const lost = new LinkLostError(`the connection to Redis is lost${reason === undefined ? '' : `: ${reason.message}`}`, { cause: reason })
    for (const reject of this.#due) reject(lost)
    this.#due.clear()
    this.#onQuiet?.()
    this.#resolveEnded(reason)
  }

  #refusalOrLoss(error: unknown): Error {
    const said = this.#wire.refusal(error)
    if (said !== undefined) return new RedisReplyError(said)
    // Whoever is told of a loss waits for the end; the library may find out later than its first failed write.
    const reason = this.#lastError ?? new LinkLostError('Redis closed the connection', { cause: error })
    this.destroy(reason)
    return new LinkLostError(`the connection to Redis is lost: ${reason.message}`, { cause: error, wasSent: !this.#wire.wasUnsent(error) })
  }

  #explained(error: unknown): Error {
    const said = this.#wire.refusal(error)
    return said === undefined ? asError(error) : new RedisReplyError(said)
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
