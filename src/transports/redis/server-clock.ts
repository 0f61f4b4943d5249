/** What the server's clock shows: it and this machine's need not agree. Asked for now and then, while somebody wants to know. */
import type { Clock } from '../../internal/clock.js'
import { listOf, type RedisLink, textOf } from '../../internal/redis/link.js'

/** Clocks drift, and are set. */
const goodForMs = 10_000
/** The quickest of so many answers is the most exact. */
const questions = 3

export class ServerClock {
  readonly #clock: Clock
  #aheadMs = 0
  #askedAtMs = Number.NEGATIVE_INFINITY
  #link: RedisLink | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How far it is ahead of this machine's clock, in ms. */
  async aheadMs(link: RedisLink): Promise<number> {
    // Another link may lead to another server.
    if (link === this.#link && this.#clock.monotonic() - this.#askedAtMs < goodForMs) return this.#aheadMs
    let quickest = Number.POSITIVE_INFINITY
    for (let question = 0; question < questions; question++) {
      const [sentMs, startMs] = [this.#clock.now(), this.#clock.monotonic()]
      const [seconds, micros] = listOf(await link.call('TIME', []))
      const tookMs = this.#clock.monotonic() - startMs
      if (tookMs >= quickest) continue
      quickest = tookMs
      this.#aheadMs = Number(textOf(seconds)) * 1000 + Number(textOf(micros)) / 1000 - (sentMs + tookMs / 2)
    }
    this.#link = link
    this.#askedAtMs = this.#clock.monotonic()
    return this.#aheadMs
  }
}
