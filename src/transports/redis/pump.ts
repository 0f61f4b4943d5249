/**
 * Settles and claims in one round trip. Acks of a tick and the places that they free go out together; while scripts are under way, what comes meanwhile gathers
 * for the next one.
 *
 *   ack, end ─┐
 *   wake ─────┼─▶ pump script: store, settle, claim, register ─▶ deliveries
 *   slot ─────┘        └── its link is lost: settle again, and look for the claim by its lease ids
 *
 * For an idle consumer a claim waits on the server, on a link of its own: a lone message comes in one trip.
 */
import type { Clock, Timer } from '../../internal/clock.js'
import { integerOf, LinkLostError, listOf, type RedisLink, RedisReplyError, type Reply } from '../../internal/redis/link.js'
import type { PlacedEnd } from '../../protocol/result.js'
import { type Claim, type Claimed, findClaimed, readClaim } from './claim.js'
import type { Asked, ClaimPlan, RedisConsumer } from './consumer.js'
import { type Ending, Endings, settleEndings } from './endings.js'
import type { Layout } from './layout.js'
import type { Scripts } from './scripts.js'
import { WaitingClaim } from './waiting-claim.js'
import type { WaitingLink } from './waiting-link.js'

/** Two overlap: the server works on one while the other's messages are read here. */
const mostUnderWay = 2
/** While one is under way, fewer than this wait for it. */
const worthSending = 50
/** While its consumers hold plenty, a settlement waits so long for company: each round trip costs both sides about as much as ten messages. */
const companyMs = 5
/** An answer that is due for longer is missed. */
const longestAnswerMs = 2_000
/** Lua's unpack has an end. */
const largestAck = 500

interface PumpParts {
  readonly layout: Layout
  readonly clock: Clock
  readonly leaseTtlMs: number
  readonly leaseId: (lease: number) => string
  readonly link: () => { readonly link: RedisLink } | undefined
  readonly scripts: () => Scripts
  /** Where claims wait for messages. */
  readonly waiting: WaitingLink
  readonly consumers: ReadonlySet<RedisConsumer>
  readonly onClaimed: (consumer: RedisConsumer, claimed: readonly Claimed[], isFull: boolean) => void
  /** Nothing is left to claim; the next message that waits for its time is due in so many ms. */
  readonly onEmpty: (nextDueMs: number | undefined) => void
  readonly onLate: (count: number) => void
  readonly onRefused: (link: RedisLink, error: RedisReplyError) => void
  /** A key of another type stands where a queue's list should be. */
  readonly onUnreadable: (what: string) => void
  /** A claim was lost although the link may be well: `recover` is due. */
  readonly onClaimLost: () => void
}

export class Pump {
  readonly #parts: PumpParts
  #acks: number[] = []
  readonly #endings = new Endings()
  #underWay = 0
  #isQueued = false
  #nextLease = 1
  /** Claims whose answer was lost. */
  #lost: Claim[] = []
  #onQuiet: (() => void)[] = []
  #turn = 0
  #isPaused = false
  #company: Timer | undefined
  readonly #waiting: WaitingClaim
  /** The last answer, or the first question after all were answered. */
  #sinceMs = 0

  constructor(parts: PumpParts) {
    this.#parts = parts
    const { clock, waiting, consumers, onClaimLost } = parts
    this.#waiting = new WaitingClaim({
      clock,
      waiting,
      consumers,
      claimFor: (consumer) => this.#claim(consumer, consumer.requestWaiting()),
      send: (link, claim) => this.#call(link, { acks: [], endings: [], claim }),
      onAnswer: (claim, items) => this.#claimed(claim, items),
      onRefused: (link, claim, error) => this.#refused(link, claim, error),
      onLost: (claim) => {
        this.#lost.push(claim)
        onClaimLost()
      },
      onEnd: () => this.soon(),
    })
  }

  ack(lease: number): void {
    this.#acks.push(lease)
    this.soon()
  }

  /** Stores the end of its task with the ack: see `Ending.resolve`. */
  end(lease: number, end: PlacedEnd, resolve: Ending['resolve']): void {
    this.#endings.add({ lease, end, resolve, again: false })
    this.soon()
  }

  /** The connection has ended. */
  leave(): void {
    this.#waiting.leave()
    this.#endings.leave()
  }

  soon(): void {
    if (this.#isQueued) return
    if (this.#mayWait()) {
      this.#company ??= this.#parts.clock.setTimer(companyMs, () => {
        this.#company = undefined
        this.#run()
      })
      return
    }
    this.#company?.cancel()
    this.#company = undefined
    this.#isQueued = true
    setImmediate(() => {
      this.#isQueued = false
      this.#run()
    })
  }

  /** Whether questions are answered, and not refused. */
  get isAnswering(): boolean {
    const { link, clock } = this.#parts
    if (this.#isPaused || link() === undefined) return false
    return this.#underWay === 0 || clock.monotonic() - this.#sinceMs < longestAnswerMs
  }

  /** For a server that refuses. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.soon()
  }

  /** Settles when nothing is under way and no settlement waits, or there is no link to send it on. */
  async quiet(): Promise<void> {
    while (this.#underWay > 0 || this.#canSettle()) {
      await new Promise<void>((resolve) => {
        this.#onQuiet.push(resolve)
        this.soon()
      })
    }
  }

  /** News of a list for which a claim waits, or has just waited, needs nothing else. */
  hears(list: string): boolean {
    return this.#waiting.hears(list)
  }

  /** No claim waits from now on for consumers that are cancelled, or for queues that they do not read any more. */
  stopWaiting(): Promise<void> {
    return this.#waiting.end(this.#parts.link()?.link)
  }

  /** On a new link, before all else: messages that were claimed without our having heard of it. */
  async recover(link: RedisLink): Promise<void> {
    for (const claim of [...this.#lost]) {
      const claimed = await findClaimed(claim, link, this.#parts)
      const at = this.#lost.indexOf(claim)
      // Somebody else was here in the meantime.
      if (at < 0) continue
      this.#lost.splice(at, 1)
      if (!claim.waits) claim.consumer.answered(claim, undefined)
      if (claimed.length > 0) this.#parts.onClaimed(claim.consumer, claimed, false)
    }
  }

  #run(): void {
    const linked = this.#isPaused ? undefined : this.#parts.link()
    while (linked !== undefined && this.#underWay < mostUnderWay) {
      const consumer = this.#nextConsumer()
      const wanted = consumer?.wanted ?? 0
      if (wanted === 0 && this.#settling === 0) break
      if (this.#underWay > 0 && wanted + this.#settling < worthSending) break
      this.#send(linked.link, consumer, wanted)
    }
    if (this.#underWay > 0 || this.#canSettle()) return
    for (const resolve of this.#onQuiet.splice(0)) resolve()
    if (linked !== undefined) this.#waiting.begin()
  }

  /** Nobody waits for what this round trip would bring. */
  #mayWait(): boolean {
    if (this.#settling >= worthSending || this.#onQuiet.length > 0) return false
    let plenty = false
    for (const consumer of this.#parts.consumers) {
      if (consumer.holdsPlenty) plenty = true
      else if (consumer.wanted > 0) return false
    }
    return plenty
  }

  get #settling(): number {
    return this.#acks.length + this.#endings.size
  }

  #canSettle(): boolean {
    return this.#settling > 0 && !this.#isPaused && this.#parts.link() !== undefined
  }

  /** They take turns. */
  #nextConsumer(): RedisConsumer | undefined {
    const hungry = [...this.#parts.consumers].filter((consumer) => consumer.wanted > 0)
    return hungry[this.#turn++ % hungry.length]
  }

  #send(link: RedisLink, consumer: RedisConsumer | undefined, wanted: number): void {
    const acks = this.#acks.splice(0, largestAck)
    const endings = this.#endings.take()
    const claim = consumer === undefined || wanted === 0 ? undefined : this.#claim(consumer, consumer.request(wanted))
    if (claim !== undefined) this.#waiting.hearsAgain()
    if (this.#underWay++ === 0) this.#sinceMs = this.#parts.clock.monotonic()
    this.#call(link, { acks, endings, claim })
      .then(
        (reply) => {
          const items = listOf(reply)
          this.#parts.onLate(integerOf(items[0]))
          settleEndings(endings, items[2])
          if (claim !== undefined) this.#claimed(claim, items)
        },
        (error: unknown) => this.#failed(link, acks, endings, claim, error),
      )
      .finally(() => {
        this.#underWay--
        this.#sinceMs = this.#parts.clock.monotonic()
        this.soon()
      })
  }

  #call(
    link: RedisLink,
    { acks, endings, claim }: { readonly acks: readonly number[]; readonly endings: readonly Ending[]; readonly claim: Claim | undefined },
  ): Promise<Reply> {
    const { layout, leaseId, leaseTtlMs, scripts } = this.#parts
    const plan = claim?.plan ?? nothing
    const args: (string | number)[] = [
      acks.length,
      claim?.count ?? 0,
      leaseTtlMs / 1000,
      leaseId(0).slice(0, -1),
      claim?.first ?? 0,
      plan.queues.length,
      endings.length,
      endings[0]?.end.seconds ?? 0,
      endings[0]?.again ? 1 : 0,
      ...acks,
      ...plan.tails,
    ]
    for (const { lease, end } of endings) args.push(lease, end.text)
    const keys = [layout.unacked, layout.unackedIndex, ...plan.lists, ...plan.etas]
    for (const { end } of endings) keys.push(end.key)
    return scripts().pump.run(link, keys, args)
  }

  #claim(consumer: RedisConsumer, { plan, ...asked }: Asked): Claim | undefined {
    if (plan === undefined) {
      consumer.answered(asked, undefined)
      return undefined
    }
    const first = this.#nextLease
    this.#nextLease += asked.count
    return { consumer, plan, ...asked, first }
  }

  /** Gives how many messages came. */
  #claimed(claim: Claim, items: readonly Reply[]): number {
    const { consumer, count } = claim
    const { claimed, unreadable } = readClaim(claim, items)
    for (const what of unreadable) this.#parts.onUnreadable(what)
    const isFull = claimed.length === count
    // Held before the places count as free again.
    if (claimed.length > 0) this.#parts.onClaimed(consumer, claimed, isFull)
    consumer.answered(claim, claimed.length)
    if (isFull || claim.waits) return claimed.length
    const nextDueMs = integerOf(items[1])
    this.#parts.onEmpty(nextDueMs < 0 ? undefined : nextDueMs)
    return claimed.length
  }

  #failed(link: RedisLink, acks: readonly number[], endings: readonly Ending[], claim: Claim | undefined, error: unknown): void {
    // Whether they were done is not known: they can be said twice.
    this.#acks.unshift(...acks)
    this.#endings.putBack(endings)
    if (error instanceof LinkLostError) {
      if (claim !== undefined) this.#lost.push(claim)
      return
    }
    this.#refused(link, claim, error)
  }

  #refused(link: RedisLink, claim: Claim | undefined, error: unknown): void {
    claim?.consumer.answered(claim, undefined)
    const refusal =
      error instanceof RedisReplyError ? error : new RedisReplyError(`ERR ${error instanceof Error ? error.message : String(error)}`)
    this.#parts.onRefused(link, refusal)
  }
}

const nothing: ClaimPlan = { queues: [], lists: [], etas: [], tails: [] }
