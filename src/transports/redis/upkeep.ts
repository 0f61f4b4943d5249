/** What a consuming connection does without being asked: looks at its lists now and then, sweeps, and waits when the server refuses. */
import type { Clock, Timer } from '../../internal/clock.js'
import type { Logger } from '../../internal/logger.js'
import { type RedisLink, RedisReplyError } from '../../internal/redis/link.js'
import type { Scripts } from './scripts.js'
import type { Sweeper } from './sweeper.js'

/** A look that nothing called for: news of a list may be lost with a link. */
const safetyPollMs = 1_000
/** Looks where the server cannot tell of news: soon after a message, and less and less often. */
const pollMs = { first: 5, last: 200 }
/** A server that refuses is asked again after this. */
const refusedPauseMs = 1_000

/** How often it is told that a key cannot be read. */
const tellEachMs = 10_000

interface UpkeepParts {
  readonly clock: Clock
  readonly log: Logger
  readonly sweeper: Sweeper
  readonly sweepIntervalMs: number
  readonly link: () => { readonly link: RedisLink; readonly scripts: Scripts } | undefined
  readonly wake: () => void
  readonly pause: () => void
  readonly resume: () => void
}

export class Upkeep {
  /** Whether the server tells of new messages. */
  isTold = true
  readonly #parts: UpkeepParts
  #quietMs = pollMs.first
  #lookTimer: Timer | undefined
  #sweepTimer: Timer | undefined
  #pauseTimer: Timer | undefined
  #isRunning = false
  #toldMs = Number.NEGATIVE_INFINITY

  constructor(parts: UpkeepParts) {
    this.#parts = parts
  }

  start(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#sweepAfter(0)
  }

  stop(): void {
    this.#isRunning = false
    for (const timer of [this.#lookTimer, this.#sweepTimer, this.#pauseTimer]) timer?.cancel()
  }

  /** Something came. */
  busy(): void {
    this.#quietMs = pollMs.first
  }

  /** Nothing is left to claim; a message that waits for its time is due in `nextDueMs`. */
  empty(nextDueMs: number | undefined): void {
    const { clock, wake } = this.#parts
    this.#lookTimer?.cancel()
    const quietMs = this.isTold ? safetyPollMs : this.#quietMs
    this.#quietMs = Math.min(pollMs.last, this.#quietMs * 2)
    this.#lookTimer = clock.setTimer(Math.min(quietMs, nextDueMs ?? quietMs), wake)
  }

  /** The server gives out nothing at the moment. */
  refused(error: RedisReplyError): void {
    const { clock, log, pause, resume, wake } = this.#parts
    log.error({ err: error }, `Redis refuses to give out messages: ${error.message}; asking again in ${refusedPauseMs / 1000} s`)
    pause()
    this.#pauseTimer?.cancel()
    this.#pauseTimer = clock.setTimer(refusedPauseMs, () => {
      resume()
      wake()
    })
  }

  /** A key is not what it should be; what lies under others goes on. */
  unreadable(what: string): void {
    const { clock, log } = this.#parts
    if (clock.monotonic() - this.#toldMs < tellEachMs) return
    this.#toldMs = clock.monotonic()
    log.error({}, `Redis gives out no messages of one key: ${what}. Somebody else uses its name: rename or remove it`)
  }

  /** Of something that is done again by itself. A lost link is the session's to tell; everything else is worth a line. */
  failed(what: string, error: unknown): void {
    if (error instanceof RedisReplyError) this.#parts.log.warn({ err: error }, `${what}: ${error.message}`)
  }

  #sweepAfter(ms: number): void {
    const { clock, link, sweeper, sweepIntervalMs } = this.#parts
    this.#sweepTimer = clock.setTimer(ms, () => {
      const linked = link()
      const swept = linked === undefined ? Promise.resolve(0) : sweeper.sweep(linked.link, linked.scripts)
      swept
        .then((count) => {
          if (count > 0) this.#parts.wake()
        })
        .catch((error: unknown) => this.failed('lost messages could not be looked for', error))
        .finally(() => {
          if (this.#isRunning) this.#sweepAfter(sweepIntervalMs)
        })
    })
  }
}
