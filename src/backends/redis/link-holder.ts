/**
 * A link that is opened when it is first needed and again after a loss: tries follow each other with back-off for as long as somebody needs it. What cannot be
 * done by its deadline rejects, so that nothing waits for ever.
 */
import { BackendFullError, CeleriacError, ConnectionError } from '../../errors.js'
import { Backoff } from '../../internal/backoff.js'
import type { Clock, Timer } from '../../internal/clock.js'
import { LinkLostError, type RedisLink, RedisReplyError, type RedisTarget } from '../../internal/redis/link.js'

/**
 * How long an operation is tried, over any number of links: longer than a silent link lives by default (7 s), so that there is time for another. The last try may
 * end somewhat later, when its link is given up.
 */
const deadlineMs = 10_000
/** How long one try to open a link may take. */
const openMs = 4_000

export interface LinkHolderOptions {
  readonly clock: Clock
  /** Shown by CLIENT LIST. */
  readonly name: string
  /** A link that was open is gone, and nobody closed it. */
  readonly onLost?: () => void
}

interface Waiting {
  readonly resolve: (link: RedisLink) => void
  readonly reject: (error: unknown) => void
  readonly timer: Timer
}

export class LinkHolder {
  readonly #target: RedisTarget
  readonly #options: LinkHolderOptions
  readonly #backoff = new Backoff({ firstMs: 50, maxMs: 1_000 })
  readonly #waiting = new Set<Waiting>()
  readonly #closing = new AbortController()
  #link: RedisLink | undefined
  #isOpening = false
  /** Why there is no link, or why the last one went; nothing has worked since. */
  #trouble: Error | undefined

  constructor(target: RedisTarget, options: LinkHolderOptions) {
    this.#target = target
    this.#options = options
  }

  /** The open link, if there is one. */
  get link(): RedisLink | undefined {
    return this.#link
  }

  /**
   * Does `work` on the link, and on the next one when it is lost meanwhile: then `again` is true, and the server may have done the work already.
   * Rejects with ConnectionError when the server cannot be reached by the deadline or refuses, with BackendFullError when it is out of memory. What else `work`
   * throws passes.
   */
  async run<T>(work: (link: RedisLink, again: boolean) => Promise<T>): Promise<T> {
    const untilMs = this.#options.clock.monotonic() + deadlineMs
    let again = false
    for (;;) {
      const link = this.#link ?? (await this.#opened(untilMs))
      try {
        const done = await work(link, again)
        if (this.#trouble !== undefined) this.#recovered()
        return done
      } catch (error) {
        if (!isLoss(error)) throw this.#refusal(error)
        this.#leave(link, error)
        again = true
        if (this.#options.clock.monotonic() >= untilMs) throw this.#unreachable()
      }
    }
  }

  /** Closes the link after the answers that are due; the next use opens another. */
  async release(): Promise<void> {
    const link = this.#link
    this.#link = undefined
    await link?.close()
  }

  /** Ends for good, after the answers that are due. Safe twice. */
  async close(): Promise<void> {
    this.#closing.abort(closedError())
    for (const waiting of [...this.#waiting]) this.#refuse(waiting, closedError())
    await this.release()
  }

  #opened(untilMs: number): Promise<RedisLink> {
    if (this.#closing.signal.aborted) return Promise.reject(closedError())
    return new Promise((resolve, reject) => {
      const { clock } = this.#options
      const timer = clock.setTimer(untilMs - clock.monotonic(), () => this.#refuse(waiting, this.#unreachable()), { keepAlive: true })
      const waiting: Waiting = { resolve, reject, timer }
      this.#waiting.add(waiting)
      if (!this.#isOpening) void this.#open()
    })
  }

  /** Never rejects: tries until it has a link or nobody waits for one. */
  async #open(): Promise<void> {
    this.#isOpening = true
    while (this.#waiting.size > 0) {
      if (this.#trouble !== undefined) await this.#sleep(this.#backoff.next())
      if (this.#closing.signal.aborted || this.#waiting.size === 0) break
      try {
        this.#adopt(await this.#tryToOpen())
      } catch (error) {
        this.#trouble = error instanceof Error ? error : new LinkLostError(String(error))
        if (isForGood(error)) for (const waiting of [...this.#waiting]) this.#refuse(waiting, this.#refusal(error))
      }
    }
    this.#isOpening = false
  }

  async #tryToOpen(): Promise<RedisLink> {
    const { clock, name } = this.#options
    const attempt = new AbortController()
    const abort = (): void => attempt.abort(closedError())
    const timer = clock.setTimer(openMs, () => attempt.abort(new LinkLostError(`no answer within ${openMs / 1000} s`)))
    this.#closing.signal.addEventListener('abort', abort, { once: true })
    try {
      return await this.#target.open({ signal: attempt.signal, name })
    } finally {
      timer.cancel()
      this.#closing.signal.removeEventListener('abort', abort)
    }
  }

  #adopt(link: RedisLink): void {
    this.#link = link
    void link.ended.then((reason) => {
      if (reason === undefined) return
      this.#leave(link, reason)
      this.#options.onLost?.()
    })
    for (const waiting of [...this.#waiting]) {
      this.#forget(waiting)
      waiting.resolve(link)
    }
  }

  #leave(link: RedisLink, reason: Error): void {
    if (this.#link !== link) return
    this.#link = undefined
    this.#trouble = reason
    link.destroy(reason)
  }

  #recovered(): void {
    this.#trouble = undefined
    this.#backoff.reset()
  }

  #refuse(waiting: Waiting, error: unknown): void {
    this.#forget(waiting)
    waiting.reject(error)
  }

  #forget(waiting: Waiting): void {
    this.#waiting.delete(waiting)
    waiting.timer.cancel()
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel()
        this.#closing.signal.removeEventListener('abort', wake)
        resolve()
      }
      const timer = this.#options.clock.setTimer(ms, wake, { keepAlive: true })
      this.#closing.signal.addEventListener('abort', wake, { once: true })
    })
  }

  #refusal(error: unknown): unknown {
    const { shown } = this.#target
    if (error instanceof RedisReplyError && error.code === 'OOM') {
      return new BackendFullError(
        `the result backend ${shown} is full (${error.message}). Raise its maxmemory, store smaller results, or let them expire sooner (resultExpires).`,
        { cause: error },
      )
    }
    if (error instanceof CeleriacError || !(error instanceof Error && error.name.endsWith('ReplyError'))) return error
    return new ConnectionError(`the result backend ${shown} refused: ${error.message}`, { cause: error })
  }

  #unreachable(): ConnectionError {
    const reason = this.#trouble === undefined ? '' : `: ${this.#trouble.message}`
    return new ConnectionError(`the result backend ${this.#target.shown} could not be reached within ${deadlineMs / 1000} s${reason}`, {
      cause: this.#trouble,
    })
  }
}

export function closedError(): ConnectionError {
  return new ConnectionError('the redis result backend is closed')
}

function isLoss(error: unknown): error is Error {
  return error instanceof LinkLostError || (error instanceof RedisReplyError && error.meansElsewhere)
}

/** The server, or this process, says why there will be no link: a wrong password, no such database, a package that is missing. */
function isForGood(error: unknown): boolean {
  if (error instanceof CeleriacError) return true
  return (
    error instanceof Error && error.name.endsWith('ReplyError') && /^(?:WRONGPASS|NOAUTH|NOPERM|ERR (?!max number))/.test(error.message)
  )
}
