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
import { integerOf, LinkLostError, listOf, type RedisLink, RedisReplyError, type Reply, textOf } from '../../internal/redis/link.js'
import type { PlacedEnd } from '../../protocol/result.js'
import type { Asked, ClaimPlan, RedisConsumer } from './consumer.js'
import { type Ending, Endings, settleEndings } from './endings.js'
import type { Layout } from './layout.js'
import type { Scripts } from './scripts.js'
import type { WaitingLink } from './waiting-link.js'

/** Two overlap: the server works on one while the other's messages are read here. */
const mostUnderWay = 2
/** While one is under way, fewer than this wait for it. */
const worthSending = 50
/** While its consumers hold plenty, a settlement waits so long for company: each round trip costs both sides about as much as ten messages. */
const companyMs = 5
/** An answer that is due for longer is missed. */
const longestAnswerMs = 2_000
/** On top of the time that the server may hold a claim that waits. */
const lossMs = 1_000
/** News that the server sends together with an answer is there so soon after it. */
const newsMs = 20
/** Lua's unpack has an end. */
const largestAck = 500

/** A message as a claim gave it. */
export interface Claimed {
  readonly lease: number
  readonly queue: string
  readonly raw: Buffer
}

interface PumpParts {
  readonly layout: Layout
  readonly clock: Clock
  readonly leaseTtlMs: number
  readonly leaseId: (lease: number) => string
  readonly link: () => { readonly link: RedisLink; readonly scripts: Scripts } | undefined
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

interface Claim extends Asked {
  readonly consumer: RedisConsumer
  readonly plan: ClaimPlan
  readonly first: number
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
  #hasLeft = false
  #onQuiet: (() => void)[] = []
  #turn = 0
  #isPaused = false
  #company: Timer | undefined
  /** The claim that waits for this list, of which news has come in the meantime. */
  #waiting: { readonly list: string; isTold: boolean } | undefined
  /** News of this list is under way, and old. */
  #told: { readonly list: string; readonly untilMs: number } | undefined
  /** News came of which nothing came: there is no more of it before the next claim that does not wait. */
  #isDeaf = false
  /** The last answer, or the first question after all were answered. */
  #sinceMs = 0

  constructor(parts: PumpParts) {
    this.#parts = parts
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
    this.#hasLeft = true
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
    if (this.#waiting?.list === list) {
      this.#waiting.isTold = true
      this.#isDeaf = true
      return true
    }
    const told = this.#told
    if (told?.list !== list) return false
    this.#told = undefined
    return this.#parts.clock.monotonic() < told.untilMs
  }

  /** No claim waits from now on for consumers that are cancelled, or not for queues that they do not read any more. */
  async stopWaiting(): Promise<void> {
    if (this.#waiting !== undefined) await this.#parts.waiting.end(this.#parts.link()?.link)
  }

  /** On a new link, before all else: messages that were claimed without our having heard of it. */
  async recover(link: RedisLink): Promise<void> {
    const { layout, leaseId } = this.#parts
    for (const claim of [...this.#lost]) {
      const ids = Array.from({ length: claim.count }, (_, index) => leaseId(claim.first + index))
      const values = listOf(await link.call('HMGET', [layout.unacked, ...ids]))
      const at = this.#lost.indexOf(claim)
      // Somebody else was here in the meantime.
      if (at < 0) continue
      this.#lost.splice(at, 1)
      const claimed: Claimed[] = []
      for (const [index, value] of values.entries()) {
        if (!(value instanceof Buffer)) continue
        const place = claim.plan.queues.findIndex(
          (_, at) => value.subarray(-Buffer.byteLength(claim.plan.tails[at] ?? '')).toString() === claim.plan.tails[at],
        )
        const tail = claim.plan.tails[place]
        const queue = claim.plan.queues[place]
        if (tail === undefined || queue === undefined) continue
        claimed.push({ lease: claim.first + index, queue, raw: value.subarray(1, value.length - Buffer.byteLength(tail)) })
      }
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
      this.#send(linked.link, linked.scripts, consumer, wanted)
    }
    if (this.#underWay > 0 || this.#canSettle()) return
    for (const resolve of this.#onQuiet.splice(0)) resolve()
    if (linked !== undefined && this.#waiting === undefined) this.#wait(linked.scripts)
  }

  /** For the first message that an idle consumer gets. */
  #wait(scripts: Scripts): void {
    const { consumers, waiting, clock, onClaimLost } = this.#parts
    for (const consumer of consumers) {
      if (!consumer.mayWait) continue
      const link = waiting.ready()
      if (link === undefined) break
      const claim = this.#claim(consumer, consumer.requestWaiting())
      if (claim === undefined) return
      const list = claim.plan.lists[0] ?? ''
      const own = { list, isTold: false }
      this.#waiting = own
      waiting
        .until(list, link, () => this.#call(link, scripts, { acks: [], endings: [], claim }))
        .then(
          (reply) => {
            this.#waiting = undefined
            const items = listOf(reply)
            const found = items.length > 3
            if (found && !own.isTold) this.#told = { list, untilMs: clock.monotonic() + newsMs }
            this.#claimed(claim, items)
            if (found) claim.consumer.wake()
            else this.soon()
          },
          (error: unknown) => {
            this.#waiting = undefined
            if (!(error instanceof LinkLostError)) return this.#refused(link, claim, error)
            claim.consumer.answered(claim, undefined)
            if (this.#hasLeft) return
            // The server may not know yet that this link is gone. Until then its lease holds what the claim gets.
            clock.setTimer(waiting.waitMs + lossMs, () => {
              this.#lost.push(claim)
              onClaimLost()
            })
            this.soon()
          },
        )
      return
    }
    if (this.#isDeaf) for (const consumer of consumers) consumer.wake()
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

  #send(link: RedisLink, scripts: Scripts, consumer: RedisConsumer | undefined, wanted: number): void {
    const acks = this.#acks.splice(0, largestAck)
    const endings = this.#endings.take()
    const claim = consumer === undefined || wanted === 0 ? undefined : this.#claim(consumer, consumer.request(wanted))
    if (claim !== undefined) this.#isDeaf = false
    if (this.#underWay++ === 0) this.#sinceMs = this.#parts.clock.monotonic()
    this.#call(link, scripts, { acks, endings, claim })
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
    scripts: Scripts,
    { acks, endings, claim }: { readonly acks: readonly number[]; readonly endings: readonly Ending[]; readonly claim: Claim | undefined },
  ): Promise<Reply> {
    const { layout, leaseId, leaseTtlMs } = this.#parts
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
    return scripts.pump.run(link, keys, args)
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

  #claimed(claim: Claim, items: readonly Reply[]): void {
    const { consumer, plan, first, count } = claim
    const claimed: Claimed[] = []
    for (let at = 3; at < items.length; ) {
      const place = integerOf(items[at]) - 1
      const size = integerOf(items[at + 1])
      if (place < 0) {
        this.#parts.onUnreadable(textOf(items[at + 2]))
        at += 2 + size
        continue
      }
      const isDue = place >= plan.lists.length
      const which = isDue ? place - plan.lists.length : place % plan.queues.length
      const queue = plan.queues[which] ?? ''
      const tailBytes = isDue ? Buffer.byteLength(plan.tails[which] ?? '') : 0
      for (let index = 0; index < size; index++) {
        const bytes = items[at + 2 + index]
        if (!(bytes instanceof Buffer)) throw new TypeError('the claim script gave something else than bytes')
        claimed.push({ lease: first + claimed.length, queue, raw: isDue ? bytes.subarray(1, bytes.length - tailBytes) : bytes })
      }
      at += 2 + size
    }
    const isFull = claimed.length === count
    // Held before the places count as free again.
    if (claimed.length > 0) this.#parts.onClaimed(consumer, claimed, isFull)
    consumer.answered(claim, claimed.length)
    if (isFull || claim.waits) return
    const nextDueMs = integerOf(items[1])
    this.#parts.onEmpty(nextDueMs < 0 ? undefined : nextDueMs)
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
