/**
 * A link of its own on which a command waits until a list has a message. `BLMOVE list list RIGHT RIGHT` moves its first message to where it lies already, and what
 * was sent behind it runs in the same moment: no answer has to come here and go back again before a message can be claimed.
 */
import type { Clock } from '../../internal/clock.js'
import { integerOf, LinkLostError, type RedisLink, type RedisTarget } from '../../internal/redis/link.js'

/** A list that stays empty for so long is given up, and may be waited for again. */
const longestWaitMs = 5_000
/** What the server refused is tried again after this. */
const refusedPauseMs = 5_000
/** A link that was lost may be one on which nothing can wait. */
const lostPauseMs = 1_000
/** Each wait that ends brings the message itself, to every worker that waits: larger ones are only claimed. */
const largestMessage = 16_384
/** The command to end a wait may be there before the wait: so often it is sent again at once, and then after each wait. */
const unblockAtOnce = 20
const unblockAgainMs = 5
const openTimeoutMs = 4_000

interface WaitingLinkParts {
  readonly target: RedisTarget
  readonly clock: Clock
  /** It is there: it may be used now. */
  readonly onReady: () => void
}

export class WaitingLink {
  /** For how long the server may hold what waits, whether this side is there or not. */
  readonly waitMs: number
  readonly #parts: WaitingLinkParts
  #open: { readonly link: RedisLink; readonly id: number } | undefined
  #isOpening = false
  #notBeforeMs = 0
  #waits = false
  /** Rises with each `drop()`: what was being opened for before is not wanted any more. */
  #epoch = 0

  constructor(parts: WaitingLinkParts) {
    this.#parts = parts
    // The link counts as lost after its longest silence.
    this.waitMs = Math.min(longestWaitMs, parts.target.longestSilenceMs / 2)
  }

  /** Undefined while there is none; then one is opened, if that makes sense. */
  ready(): RedisLink | undefined {
    if (this.#parts.clock.monotonic() < this.#notBeforeMs) return undefined
    if (this.#open === undefined && !this.#isOpening) void this.#openOne()
    return this.#open?.link
  }

  /** Sends the wait, and at once what shall run behind it. Settles as the latter does. */
  async until<T>(list: string, link: RedisLink, behind: () => Promise<T>): Promise<T> {
    this.#waits = true
    const waited = link.call('BLMOVE', [list, list, 'RIGHT', 'RIGHT', this.waitMs / 1000]).then(
      (message) => {
        if (message instanceof Buffer && message.length > largestMessage) this.#pause(refusedPauseMs)
      },
      // It is no list, the memory is full, the user may not: nothing was waited for, and would not be the next time.
      (error: unknown) => this.#pause(error instanceof LinkLostError ? lostPauseMs : refusedPauseMs),
    )
    try {
      return await behind()
    } finally {
      await waited
      this.#waits = false
    }
  }

  /** What waits runs now. */
  async end(commands: RedisLink | undefined): Promise<void> {
    for (let tries = 1; this.#waits && this.#open !== undefined && commands !== undefined; tries++) {
      const { id } = this.#open
      try {
        if (integerOf(await commands.call('CLIENT', ['UNBLOCK', id])) === 1) return
      } catch {
        return this.drop()
      }
      if (tries > unblockAtOnce) await new Promise<void>((resolve) => this.#parts.clock.setTimer(unblockAgainMs, resolve))
    }
  }

  /** Ends the link, with what waits on it. */
  drop(): void {
    this.#epoch++
    this.#open?.link.destroy(new LinkLostError('the connection that waits for messages was closed'))
    this.#open = undefined
  }

  async #openOne(): Promise<void> {
    const { target, onReady } = this.#parts
    const epoch = this.#epoch
    this.#isOpening = true
    let link: RedisLink | undefined
    try {
      link = await target.open({ signal: AbortSignal.timeout(openTimeoutMs), name: 'celeriac:broker:waits' })
      const id = integerOf(await link.call('CLIENT', ['ID']))
      // Who may not end a wait could not close in time.
      await link.call('CLIENT', ['UNBLOCK', id])
      if (epoch !== this.#epoch) throw new LinkLostError('it is not wanted any more')
      this.#open = { link, id }
      void link.ended.then(() => {
        if (this.#open?.id === id) this.#open = undefined
      })
      onReady()
    } catch (error) {
      link?.destroy(error instanceof Error ? error : new Error(String(error)))
      if (epoch === this.#epoch) this.#pause(refusedPauseMs)
    } finally {
      this.#isOpening = false
    }
  }

  #pause(ms: number): void {
    this.#notBeforeMs = this.#parts.clock.monotonic() + ms
  }
}
