/**
 * The claim of an idle consumer that waits on the server for its first message. News of the list that it waits for is its business alone:
 *
 *   idle ─▶ waits ─(a message)─▶ busy: its consumer claims as usual, and is told of news
 *             └──(somebody else got it, or none came)─▶ idle
 */
import type { Clock } from '../../internal/clock.js'
import { LinkLostError, listOf, type RedisLink, type Reply } from '../../internal/redis/link.js'
import type { Claim } from './claim.js'
import type { RedisConsumer } from './consumer.js'
import type { WaitingLink } from './waiting-link.js'

/** On top of the time that the server may hold it. */
const lossMs = 1_000
/** News that the server sends together with an answer is there so soon after it. */
const newsMs = 20

interface WaitingClaimParts {
  readonly clock: Clock
  readonly waiting: WaitingLink
  readonly consumers: ReadonlySet<RedisConsumer>
  /** Undefined: the consumer reads no lists. */
  readonly claimFor: (consumer: RedisConsumer) => Claim | undefined
  readonly send: (link: RedisLink, claim: Claim) => Promise<Reply>
  /** Gives how many messages came. */
  readonly onAnswer: (claim: Claim, items: readonly Reply[]) => number
  readonly onRefused: (link: RedisLink, claim: Claim, error: unknown) => void
  /** Its answer is lost, and by now the server has either run it or never will. */
  readonly onLost: (claim: Claim) => void
  /** It waits no more. */
  readonly onEnd: () => void
}

export class WaitingClaim {
  readonly #parts: WaitingClaimParts
  /** The list, and whether news of it has come meanwhile. */
  #waits: { readonly list: string; isTold: boolean } | undefined
  /** News of this list is under way, and old. */
  #told: { readonly list: string; readonly untilMs: number } | undefined
  /** News came of which nothing came: there is no more of it before the next claim that does not wait. */
  #isDeaf = false
  #hasLeft = false

  constructor(parts: WaitingClaimParts) {
    this.#parts = parts
  }

  /** News of a list for which it waits, or has just waited, needs nothing else. */
  hears(list: string): boolean {
    if (this.#waits?.list === list) {
      this.#waits.isTold = true
      this.#isDeaf = true
      return true
    }
    const told = this.#told
    if (told?.list !== list) return false
    this.#told = undefined
    return this.#parts.clock.monotonic() < told.untilMs
  }

  /** A claim that does not wait is on its way: from its answer on the server tells news again. */
  hearsAgain(): void {
    this.#isDeaf = false
  }

  /** Waits for the first consumer that has nothing to do, unless it waits already. */
  begin(): void {
    const { consumers, waiting, claimFor, send } = this.#parts
    if (this.#waits !== undefined) return
    for (const consumer of consumers) {
      if (!consumer.mayWait) continue
      const link = waiting.ready()
      const claim = link === undefined ? undefined : claimFor(consumer)
      const list = claim?.plan.lists[0]
      if (link === undefined || claim === undefined || list === undefined) break
      const waits = { list, isTold: false }
      this.#waits = waits
      waiting
        .until(list, link, () => send(link, claim))
        .then(
          (reply) => this.#answered(claim, waits, reply),
          (error: unknown) => this.#failed(link, claim, error),
        )
      return
    }
    if (this.#isDeaf) for (const consumer of consumers) consumer.wake()
  }

  /** It is answered now, with what there is. */
  async end(commands: RedisLink | undefined): Promise<void> {
    if (this.#waits !== undefined) await this.#parts.waiting.end(commands)
  }

  /** The connection has ended. */
  leave(): void {
    this.#hasLeft = true
    this.#parts.waiting.drop()
  }

  #answered(claim: Claim, { list, isTold }: { readonly list: string; readonly isTold: boolean }, reply: Reply): void {
    const { clock, onAnswer, onEnd } = this.#parts
    this.#waits = undefined
    // Before its task runs: that may take long.
    this.#told = isTold ? undefined : { list, untilMs: clock.monotonic() + newsMs }
    const found = onAnswer(claim, listOf(reply))
    if (found > 0) claim.consumer.wake()
    else {
      this.#told = undefined
      onEnd()
    }
  }

  #failed(link: RedisLink, claim: Claim, error: unknown): void {
    const { clock, waiting, onRefused, onLost, onEnd } = this.#parts
    this.#waits = undefined
    if (!(error instanceof LinkLostError)) return onRefused(link, claim, error)
    claim.consumer.answered(claim, undefined)
    if (this.#hasLeft) return
    // The server may not know yet that this link is gone. Until then its lease holds what the claim gets.
    clock.setTimer(waiting.waitMs + lossMs, () => onLost(claim))
    onEnd()
  }
}
