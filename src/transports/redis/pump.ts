/**
 * Settles and claims in one round trip. Acks of a tick and the places that they free go out together; while scripts are under way, what comes meanwhile gathers
 * for the next one.
 *
 *   ack, end ─┐
 *   wake ─────┼─▶ pump script: store, settle, claim, register ─▶ deliveries
 *   slot ─────┘        └── its link is lost: settle again, and look for the claim by its lease ids
 */
import type { Clock, Timer } from '../../internal/clock.js'
import { integerOf, LinkLostError, listOf, type RedisLink, RedisReplyError, type Reply, textOf } from '../../internal/redis/link.js'
import type { PlacedEnd } from '../../protocol/result.js'
import type { ClaimPlan, RedisConsumer } from './consumer.js'
import { type Ending, Endings, settleEndings } from './endings.js'
import type { Layout } from './layout.js'
import type { Scripts } from './scripts.js'

/** Two overlap: the server works on one while the other's messages are read here. */
const mostUnderWay = 2
/** While one is under way, fewer than this wait for it. */
const worthSending = 50
/** While its consumers hold plenty, a settlement waits so long for company: each round trip costs both sides about as much as ten messages. */
const companyMs = 5
/** An answer that is due for longer is missed. */
const longestAnswerMs = 2_000
/** How often it is told that a key cannot be read: what lies elsewhere goes on meanwhile. */
const tellEachMs = 10_000
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
  readonly consumers: ReadonlySet<RedisConsumer>
  readonly onClaimed: (consumer: RedisConsumer, claimed: readonly Claimed[], isFull: boolean) => void
  /** Nothing is left to claim; the next message that waits for its time is due in so many ms. */
  readonly onEmpty: (nextDueMs: number | undefined) => void
  readonly onLate: (count: number) => void
  readonly onRefused: (link: RedisLink, error: RedisReplyError) => void
}

interface Claim {
  readonly consumer: RedisConsumer
  readonly plan: ClaimPlan
  readonly rings: number
  readonly first: number
  readonly count: number
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
  #waiting: Timer | undefined
  /** The last answer, or the first question after all were answered. */
  #sinceMs = 0
  #toldMs = Number.NEGATIVE_INFINITY

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
    this.#endings.leave()
  }

  soon(): void {
    if (this.#isQueued) return
    if (this.#mayWait()) {
      this.#waiting ??= this.#parts.clock.setTimer(companyMs, () => {
        this.#waiting = undefined
        this.#run()
      })
      return
    }
    this.#waiting?.cancel()
    this.#waiting = undefined
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

  /** On a new link, before all else: messages that were claimed without our having heard of it. */
  async recover(link: RedisLink): Promise<void> {
    const { layout, leaseId } = this.#parts
    for (const claim of [...this.#lost]) {
      const ids = Array.from({ length: claim.count }, (_, index) => leaseId(claim.first + index))
      const values = listOf(await link.call('HMGET', [layout.unacked, ...ids]))
      this.#lost.splice(this.#lost.indexOf(claim), 1)
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
      claim.consumer.answered(claim.count, -1, undefined)
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
    const { layout, leaseId, leaseTtlMs, onLate } = this.#parts
    const acks = this.#acks.splice(0, largestAck)
    const endings = this.#endings.take()
    const claim = consumer === undefined || wanted === 0 ? undefined : this.#claim(consumer, wanted)
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
    if (this.#underWay++ === 0) this.#sinceMs = this.#parts.clock.monotonic()
    scripts.pump
      .run(link, keys, args)
      .then(
        (reply) => {
          const items = listOf(reply)
          onLate(integerOf(items[0]))
          settleEndings(endings, items[2])
          if (claim !== undefined) this.#claimed(link, claim, items)
        },
        (error: unknown) => this.#failed(link, acks, endings, claim, error),
      )
      .finally(() => {
        this.#underWay--
        this.#sinceMs = this.#parts.clock.monotonic()
        this.soon()
      })
  }

  #claim(consumer: RedisConsumer, count: number): Claim | undefined {
    const { plan, rings } = consumer.request(count)
    if (plan === undefined) {
      consumer.answered(count, rings, undefined)
      return undefined
    }
    const first = this.#nextLease
    this.#nextLease += count
    return { consumer, plan, rings, first, count }
  }

  #claimed(link: RedisLink, { consumer, plan, rings, first, count }: Claim, items: readonly Reply[]): void {
    const claimed: Claimed[] = []
    let unreadable: Reply | undefined
    for (let at = 3; at < items.length; ) {
      const place = integerOf(items[at]) - 1
      const size = integerOf(items[at + 1])
      if (place < 0) {
        unreadable = items[at + 2]
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
    consumer.answered(count, rings, claimed.length)
    if (unreadable !== undefined) this.#tell(link, textOf(unreadable))
    if (isFull) return
    const nextDueMs = integerOf(items[1])
    this.#parts.onEmpty(nextDueMs < 0 ? undefined : nextDueMs)
  }

  /** A key of another type stands where a queue's list should be. */
  #tell(link: RedisLink, what: string): void {
    const now = this.#parts.clock.monotonic()
    if (now - this.#toldMs < tellEachMs) return
    this.#toldMs = now
    this.#parts.onRefused(link, new RedisReplyError(what))
  }

  #failed(link: RedisLink, acks: readonly number[], endings: readonly Ending[], claim: Claim | undefined, error: unknown): void {
    // Whether they were done is not known: they can be said twice.
    this.#acks.unshift(...acks)
    this.#endings.putBack(endings)
    if (error instanceof LinkLostError) {
      if (claim !== undefined) this.#lost.push(claim)
      return
    }
    claim?.consumer.answered(claim.count, claim.rings, undefined)
    const refusal =
      error instanceof RedisReplyError ? error : new RedisReplyError(`ERR ${error instanceof Error ? error.message : String(error)}`)
    this.#parts.onRefused(link, refusal)
  }
}

const nothing: ClaimPlan = { queues: [], lists: [], etas: [], tails: [] }
