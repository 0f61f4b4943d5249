/** The one link of a store that is asked now and then: opened when it is first used, and again after a loss. Nothing is tried twice here: who asks comes again. */
import { CeleriacError, ConnectionError } from '../../errors.js'
import type { Clock } from '../clock.js'
import { LinkLostError, type RedisLink, RedisReplyError, type RedisTarget } from './link.js'

const openMs = 4_000

export interface StoreLinkOptions {
  readonly clock: Clock
  /** Shown by CLIENT LIST. */
  readonly name: string
  /** In errors: `the store of schedules`. */
  readonly what: string
}

export class StoreLink {
  readonly #target: RedisTarget
  readonly #options: StoreLinkOptions
  #link: Promise<RedisLink> | undefined
  #isClosed = false

  constructor(target: RedisTarget, options: StoreLinkOptions) {
    this.#target = target
    this.#options = options
  }

  /** Throws ConnectionError, which tells what the server said, or that there is none. */
  async run<T>(work: (link: RedisLink) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new ConnectionError(`${this.#options.what} is closed`)
    try {
      return await work(await this.#opened())
    } catch (error) {
      if (error instanceof LinkLostError || error instanceof RedisReplyError) throw this.#error('cannot be used', error)
      throw error
    }
  }

  /** Waits for the answers that are due. Safe twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#link?.then(
      (link) => link.close(),
      () => {},
    )
  }

  #opened(): Promise<RedisLink> {
    if (this.#link !== undefined) return this.#link
    const opening = this.#open()
    this.#link = opening
    const forget = (): void => {
      if (this.#link === opening) this.#link = undefined
    }
    opening.then((link) => link.ended.then(forget), forget)
    return opening
  }

  async #open(): Promise<RedisLink> {
    const { clock, name } = this.#options
    const attempt = new AbortController()
    const timer = clock.setTimer(openMs, () => attempt.abort(new LinkLostError(`no answer within ${openMs / 1000} s`)))
    try {
      return await this.#target.open({ signal: attempt.signal, name })
    } catch (error) {
      // Missing packages and wrong URLs say so themselves.
      if (error instanceof CeleriacError) throw error
      throw this.#error('cannot be reached', error)
    } finally {
      timer.cancel()
    }
  }

  #error(problem: string, cause: unknown): ConnectionError {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return new ConnectionError(`${this.#options.what} ${this.#target.shown} ${problem}: ${reason}`, { cause })
  }
}
