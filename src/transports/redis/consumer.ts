/** One consumer of a connection: which queues it reads and how many deliveries it may hold. The connection's pump claims for it. */
import type { ConsumeOptions, Consumer } from '../../transport.js'
import type { RedisDelivery } from './delivery.js'
import type { Layout } from './layout.js'
import { tailOf } from './unacked.js'

/** More in one script would make others wait. */
export const largestClaim = 200
/** So few messages at a time hardly ever fill a round trip. */
const smallPrefetch = 256
/** What is held at most, in bytes of envelopes. */
const mostBytes = 64 * 1024 ** 2
/** Broadcasts that came while the consumer could take none: the channel keeps nothing, and memory has an end. */
const mostHeard = 10_000

/** What a consumer asks of its connection. */
export interface ConsumerHost {
  claimSoon(): void
  addQueue(consumer: RedisConsumer, queue: string): Promise<void>
  removeQueue(consumer: RedisConsumer, queue: string): Promise<void>
  removeConsumer(consumer: RedisConsumer): Promise<void>
}

/** The lists and sets of one claim, in the order of service. */
export interface ClaimPlan {
  readonly queues: readonly string[]
  readonly lists: readonly string[]
  readonly etas: readonly string[]
  readonly tails: readonly string[]
}

/** A claim of a consumer. */
export interface Asked {
  /** Undefined: it reads no lists. */
  readonly plan: ClaimPlan | undefined
  readonly count: number
  readonly rings: number
  /** It waits on the server. */
  readonly waits: boolean
}

export class RedisConsumer implements Consumer {
  readonly onDeliveries: ConsumeOptions['onDeliveries']
  readonly onRefused: ConsumeOptions['onRefused']
  readonly #host: ConsumerHost
  readonly #layout: Layout
  #queues: readonly string[]
  /** Those of the queues that have lists; an exclusive queue of a fan-out exchange has only its channel. */
  #listed: readonly string[] = []
  #prefetch: number
  #cancelled: Promise<void> | undefined
  #held = 0
  #heldBytes = 0
  #meanBytes = 1_000
  /** Asked for and not answered. */
  #requested = 0
  /** One of these waits on the server. */
  #waits = false
  #claimsDue = 0
  #onQuiet: (() => void)[] = []
  #heard: RedisDelivery[] = []
  /** Where the next claim begins, so that a full queue does not starve the others. */
  #turn = 0
  #plans: readonly ClaimPlan[] = []
  /** Rises with each reason to look again. */
  #rings = 0
  #hungry = true
  /** The last claim got all that it asked for: there is more. */
  #isDeep = false

  constructor({ queues, prefetch, onDeliveries, onRefused }: ConsumeOptions, host: ConsumerHost, layout: Layout) {
    this.onDeliveries = onDeliveries
    this.onRefused = onRefused
    this.#host = host
    this.#layout = layout
    this.#queues = [...new Set(queues)]
    this.#prefetch = prefetch
  }

  get queues(): readonly string[] {
    return this.#queues
  }

  /** Whether it claims from this list or set. */
  reads(key: string): boolean {
    const plan = this.#plans[0]
    return plan !== undefined && (plan.lists.includes(key) || plan.etas.includes(key))
  }

  /** The queues that it claims from. */
  set listed(queues: readonly string[]) {
    this.#listed = queues
    this.#plans = queues.map((_, turn) => {
      const order = [...queues.slice(turn), ...queues.slice(0, turn)]
      const byQueue = order.map((queue) => this.#layout.lists(queue))
      const steps = byQueue[0]?.length ?? 0
      const lists = Array.from({ length: steps }, (_unused, step) => byQueue.map((all) => all[step] ?? '')).flat()
      return { queues: order, lists, etas: order.map((queue) => this.#layout.eta(queue)), tails: order.map(tailOf) }
    })
    this.#turn = 0
  }

  get isCancelled(): boolean {
    return this.#cancelled !== undefined
  }

  /** How many deliveries it may be asked for now. */
  get wanted(): number {
    if (this.isCancelled || !this.#hungry || this.#listed.length === 0) return 0
    // A second claim beside one that is under way finds something in long queues only.
    if (this.#requested > (this.#waits ? 1 : 0) && !this.#isDeep) return 0
    const free = this.#prefetch - this.#held - this.#requested
    if (free <= 0) return 0
    const left = mostBytes - this.#heldBytes - this.#requested * this.#meanBytes
    // One large message is always possible when nothing else is held.
    const fitting = left > 0 ? Math.ceil(left / this.#meanBytes) : this.#held + this.#requested === 0 ? 1 : 0
    return Math.min(largestClaim, free, fitting)
  }

  /** It has nothing to do, nothing to ask for, and room for more than a claim that waits: others, for what that one does not hear of, fit beside it. */
  get mayWait(): boolean {
    if (this.isCancelled || this.#hungry || this.#claimsDue > 0 || this.#held > 0) return false
    return this.#listed.length > 0 && this.#prefetch > 1
  }

  /** Begins the claim that waits, for one message. */
  requestWaiting(): Asked {
    this.#turn = 0
    this.#waits = true
    return this.request(1, true)
  }

  /** Begins a claim of `count`. */
  request(count: number, waits = false): Asked {
    this.#requested += count
    this.#claimsDue++
    const plan = this.#plans[this.#turn]
    this.#turn = this.#plans.length === 0 ? 0 : (this.#turn + 1) % this.#plans.length
    return { plan, rings: this.#rings, count, waits }
  }

  /** Its answer: `found` is undefined when there was none. */
  answered({ count, rings, waits }: Omit<Asked, 'plan'>, found: number | undefined): void {
    this.#requested -= count
    if (waits) this.#waits = false
    else if (found !== undefined) {
      this.#isDeep = found === count
      if (found < count && rings === this.#rings) this.#hungry = false
    }
    this.#claimsDue--
    if (this.#claimsDue > 0) return
    for (const resolve of this.#onQuiet.splice(0)) resolve()
  }

  /** Settles when every claim was answered. */
  async quiet(): Promise<void> {
    if (this.#claimsDue > 0) await new Promise<void>((resolve) => this.#onQuiet.push(resolve))
  }

  hold(delivery: RedisDelivery): void {
    delivery.holder = this
    this.#held++
    this.#heldBytes += delivery.bytes
    this.#meanBytes += (delivery.bytes - this.#meanBytes) / 16
  }

  letGo(delivery: RedisDelivery): void {
    if (delivery.holder !== this) return
    delivery.holder = undefined
    this.#held--
    this.#heldBytes -= delivery.bytes
    if (this.#heard.length > 0) this.#giveHeard()
  }

  /** A broadcast: given out as far as prefetch goes, kept for a while beyond. */
  hear(delivery: RedisDelivery): void {
    if (this.isCancelled || this.#heard.length >= mostHeard) return
    this.#heard.push(delivery)
    this.#giveHeard()
  }

  /** More than half of what it may, and that is little: what it gets next is not needed at once. Where much is held, work gathers by itself. */
  get holdsPlenty(): boolean {
    return this.#prefetch <= smallPrefetch && this.#held > this.#prefetch / 2
  }

  wake(): void {
    this.#rings++
    this.#hungry = true
    if (this.wanted > 0) this.#host.claimSoon()
  }

  async addQueue(queue: string): Promise<void> {
    if (this.#queues.includes(queue)) return
    await this.#host.addQueue(this, queue)
    this.#queues = [...this.#queues.filter((other) => other !== queue), queue]
    this.wake()
  }

  async cancelQueue(queue: string): Promise<void> {
    if (!this.#queues.includes(queue)) return
    this.#queues = this.#queues.filter((other) => other !== queue)
    await this.#host.removeQueue(this, queue)
  }

  setPrefetch(count: number): void {
    this.#prefetch = count
    this.#giveHeard()
    this.wake()
  }

  async cancel(): Promise<void> {
    this.#cancelled ??= this.#host.removeConsumer(this)
    this.#heard = []
    await this.#cancelled
  }

  #giveHeard(): void {
    const count = Math.min(this.#heard.length, this.#prefetch - this.#held)
    if (count <= 0) return
    const deliveries = this.#heard.splice(0, count)
    for (const delivery of deliveries) this.hold(delivery)
    this.onDeliveries(deliveries)
  }
}
