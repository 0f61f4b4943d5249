/**
 * The links of one connection: one for commands, and beside it one that listens, for those who consume. What the connection holds outlives them: when a link is
 * lost, new ones are opened until the leases must have ended; then the session ends, too.
 *
 *   open ─link lost─▶ lost ─linked again─▶ open
 *     └──close()──┐     └─too long, or nothing to come back for─▶ ended
 *                 └─────────────────────────────────────────────▶ ended
 */
import { CeleriacError, ConnectionError } from '../../errors.js'
import { Backoff } from '../../internal/backoff.js'
import type { Clock } from '../../internal/clock.js'
import { Deferred } from '../../internal/deferred.js'
import { LinkLostError, type RedisLink, RedisReplyError, type RedisTarget } from '../../internal/redis/link.js'

/** One try to open a link. */
const openTimeoutMs = 4_000

export interface Links {
  readonly commands: RedisLink
  /** Undefined as long as nobody consumes. */
  readonly listening: RedisLink | undefined
}

export interface SessionParts {
  readonly target: RedisTarget
  readonly clock: Clock
  readonly random: () => number
  /** How long it makes sense to come back. */
  readonly patienceMs: number
  /** Before anybody else uses new links. What it throws counts as their loss. */
  readonly onLinked: (links: Links) => Promise<void>
}

export class Session {
  /** Settles once: with the reason when the links are lost for good, with undefined after `close()`. */
  readonly ended: Promise<Error | undefined>
  readonly #parts: SessionParts
  readonly #ended = new Deferred<Error | undefined>()
  #links: Links | undefined
  #linking: Deferred<Links> | undefined
  #listens = false
  #isEnded = false
  readonly #abort = new AbortController()

  constructor(parts: SessionParts) {
    this.#parts = parts
    this.ended = this.#ended.promise
  }

  /** Undefined while it is lost, and after the end. */
  get commands(): RedisLink | undefined {
    return this.#links?.commands
  }

  get listening(): RedisLink | undefined {
    return this.#links?.listening
  }

  async start(signal: AbortSignal): Promise<void> {
    const commands = await this.#open(signal, 'commands')
    this.#take({ commands, listening: undefined })
  }

  /** From here on there is a link that listens, and lost links are made again. */
  async listen(): Promise<void> {
    if (this.#listens) return
    const links = await this.#whenLinked()
    const listening = await this.#open(AbortSignal.timeout(openTimeoutMs), 'listens')
    const both = { commands: links.commands, listening }
    try {
      await this.#parts.onLinked(both)
    } catch (error) {
      await listening.close()
      throw error
    }
    this.#listens = true
    this.#take(both)
  }

  /** Runs what may be done twice: again on the next link when this one is lost. Throws ConnectionError after the end, and for what the server refuses. */
  async repeat<T>(work: (link: RedisLink) => Promise<T>): Promise<T> {
    for (;;) {
      const { commands } = await this.#whenLinked()
      try {
        return await work(commands)
      } catch (error) {
        if (error instanceof RedisReplyError) throw this.#refusal(commands, error)
        if (!(error instanceof LinkLostError)) throw error
        // Its end is told a little later than its last answer.
        await commands.ended
      }
    }
  }

  #refusal(link: RedisLink, error: RedisReplyError): ConnectionError {
    if (error.meansElsewhere) this.giveUp(link, error)
    return new ConnectionError(`Redis at ${this.#parts.target.shown} refuses: ${error.message}`, { cause: error })
  }

  /** This link is of no more use: the server says that it cannot serve. */
  giveUp(link: RedisLink, reason: Error): void {
    link.destroy(reason)
  }

  async close(): Promise<void> {
    const links = this.#links
    this.#end(undefined)
    await Promise.all([links?.commands.close(), links?.listening?.close()])
  }

  async #whenLinked(): Promise<Links> {
    if (this.#isEnded) throw new ConnectionError('the connection to Redis is closed')
    if (this.#links !== undefined) return this.#links
    this.#linking ??= new Deferred()
    return this.#linking.promise
  }

  async #open(signal: AbortSignal, what: string): Promise<RedisLink> {
    try {
      return await this.#parts.target.open({ signal, name: `celeriac:broker:${what}` })
    } catch (error) {
      // Missing packages, wrong URLs and deadlines say so themselves.
      if (error instanceof CeleriacError) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new ConnectionError(`Redis at ${this.#parts.target.shown} cannot be reached: ${reason}`, { cause: error })
    }
  }

  #take(links: Links): void {
    if (this.#isEnded) {
      void links.commands.close()
      void links.listening?.close()
      return
    }
    const before = this.#links
    this.#links = links
    for (const link of [links.commands, links.listening]) {
      if (link !== undefined && link !== before?.commands) void link.ended.then((reason) => this.#onEnd(link, reason))
    }
    this.#linking?.resolve(links)
    this.#linking = undefined
  }

  #onEnd(link: RedisLink, reason: Error | undefined): void {
    const links = this.#links
    if (this.#isEnded || links === undefined || (links.commands !== link && links.listening !== link)) return
    this.#links = undefined
    const cause = reason ?? new LinkLostError('the connection to Redis was closed')
    links.commands.destroy(cause)
    links.listening?.destroy(cause)
    if (this.#listens) void this.#linkAgain(cause)
    else this.#end(cause)
  }

  async #linkAgain(cause: Error): Promise<void> {
    const { clock, random, patienceMs, onLinked } = this.#parts
    const backoff = new Backoff({ firstMs: 50, maxMs: 1_000, random })
    const untilMs = clock.monotonic() + patienceMs
    for (;;) {
      const waitMs = backoff.next()
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve))
      if (this.#isEnded) return
      const opened: RedisLink[] = []
      try {
        const signal = AbortSignal.any([AbortSignal.timeout(openTimeoutMs), this.#abort.signal])
        const commands = await this.#open(signal, 'commands')
        opened.push(commands)
        const listening = await this.#open(signal, 'listens')
        opened.push(listening)
        await onLinked({ commands, listening })
        this.#take({ commands, listening })
        return
      } catch (error) {
        for (const link of opened) link.destroy(cause)
        if (clock.monotonic() > untilMs) return this.#end(error instanceof Error ? error : cause)
      }
    }
  }

  #end(reason: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#links = undefined
    this.#abort.abort()
    this.#linking?.promise.catch(() => {})
    this.#linking?.reject(reason === undefined ? new ConnectionError('the connection to Redis is closed') : lost(reason))
    this.#ended.resolve(reason === undefined ? undefined : lost(reason))
  }
}

function lost(reason: Error): ConnectionError {
  return reason instanceof ConnectionError
    ? reason
    : new ConnectionError(`the connection to Redis is lost: ${reason.message}`, { cause: reason })
}
