/**
 * One consumer of a connection: which queues it reads, what it may give out, and what it holds back: messages beyond its prefetch, and tasks whose time has not
 * come. Both are unacknowledged at the broker, which is allowed to send so many more.
 */
import type { AmqpMessage } from '../../internal/amqp/amqplib.js'
import type { Clock, Timer } from '../../internal/clock.js'
import { EtaHeap } from '../../internal/eta-heap.js'
import type { ConsumeOptions, Consumer } from '../../transport.js'
import { AmqpDelivery, type Held, type Settlement } from './delivery.js'
import type { Lane } from './lane.js'
import type { AmqpBrokerOptions } from './options.js'
import type { Settlements } from './settlements.js'
import { deliveriesOf, readMessage } from './wire.js'

/** A message that lost its worker so often may be what killed it, and quorum queues count all that was out: it runs alone, so that its neighbours stay below the limit. */
const suspiciousDeliveries = 2
/** What waits for its time here, in bytes of messages. */
const mostHeldBytes = 64 * 1024 ** 2

/** What a consumer asks of its connection. */
export interface ConsumerHost {
  /** The channel for a queue: one for all that can share a limit. */
  laneFor(consumer: AmqpConsumer, queue: string): Promise<Lane>
  /** Says to the broker what became of a delivery; not for those that wait here for their time. */
  settle(held: Held, deliveries: number, settlement: Settlement): void
  late(): void
  removeConsumer(consumer: AmqpConsumer): Promise<void>
}

interface ConsumerParts {
  readonly host: ConsumerHost
  readonly clock: Clock
  readonly options: Pick<AmqpBrokerOptions, 'etaHeld' | 'etaHeldMs' | 'deliveryLimit'>
}

export class AmqpConsumer implements Consumer {
  readonly #parts: ConsumerParts
  readonly #onDeliveries: ConsumeOptions['onDeliveries']
  readonly #onRefused: ConsumeOptions['onRefused']
  readonly #lanes = new Map<string, Lane>()
  /** By queue, so that a full one does not starve the others. */
  readonly #backlog = new Map<string, Held[]>()
  /** The same, in the order of their turns. */
  #order: readonly Held[][] = []
  readonly #waiting = new EtaHeap<Held>()
  readonly #waitingOf = new Map<string, number>()
  #waitingBytes = 0
  #prefetch: number
  /** Given out, and not settled; by channel, since what is lost with one takes no place any more. */
  readonly #outOn = new Map<Settlements, number>()
  #timer: { readonly timer: Timer; readonly atMs: number } | undefined
  /** The last message of those that the broker counts was suspicious, or none has come yet: of these, one is out at a time. */
  #isCautious = false
  #hasHeard = false
  #scheduled = false
  #turn = 0
  #cancelled: Promise<void> | undefined

  constructor(parts: ConsumerParts, { prefetch, onDeliveries, onRefused }: ConsumeOptions) {
    this.#parts = parts
    this.#prefetch = prefetch
    this.#onDeliveries = onDeliveries
    this.#onRefused = onRefused
  }

  /** Messages of this queue that wait here for their time. */
  waitingOf(queue: string): number {
    return this.#waitingOf.get(queue) ?? 0
  }

  async addQueue(queue: string): Promise<void> {
    if (this.#lanes.has(queue)) return
    const lane = await this.#parts.host.laneFor(this, queue)
    if (lane.counts && !this.#hasHeard) this.#isCautious = true
    lane.limit(this.#limitOf(lane))
    this.#lanes.set(queue, lane)
    try {
      await lane.add(queue)
    } catch (error) {
      this.#lanes.delete(queue)
      throw error
    }
  }

  async cancelQueue(queue: string): Promise<void> {
    const lane = this.#lanes.get(queue)
    if (lane === undefined) return
    this.#lanes.delete(queue)
    await lane.remove(queue)
    this.#giveBack((held) => held.queue === queue)
  }

  setPrefetch(count: number): void {
    this.#prefetch = count
    this.#adjust()
    this.#soon()
  }

  async cancel(): Promise<void> {
    this.#cancelled ??= this.#cancel()
    await this.#cancelled
  }

  // what comes

  readonly onMessage = (lane: Lane, queue: string, raw: AmqpMessage): void => {
    const on = lane.settlements
    if (on === undefined) return
    const held: Held = { raw, queue, on }
    if (this.#cancelled !== undefined || this.#lanes.get(queue) !== lane)
      return this.#parts.host.settle(held, 0, { kind: 'release', counted: false })
    if (lane.counts) this.#watch(raw)
    this.#enqueue(held)
    this.#soon()
  }

  readonly onLost = (): void => {
    const isGone = (held: Held): boolean => !held.on.isOpen
    this.#keep((held) => !isGone(held))
    this.#takeWaiting(isGone)
    for (const on of this.#outOn.keys()) if (!on.isOpen) this.#outOn.delete(on)
  }

  settle(delivery: AmqpDelivery, settlement: Settlement): void {
    const { held, deliveries } = delivery
    const { host } = this.#parts
    if (!held.on.isOpen) return host.late()
    this.#count(held.on, -1)
    this.#soon()
    if (settlement.kind === 'defer' && this.#cancelled === undefined) return this.#defer(held, deliveries, settlement)
    host.settle(held, deliveries, settlement.kind === 'defer' ? { kind: 'release', counted: false } : settlement)
  }

  #backlogOf(queue: string): Held[] {
    let backlog = this.#backlog.get(queue)
    if (backlog === undefined) {
      backlog = []
      this.#backlog.set(queue, backlog)
      this.#order = [...this.#backlog.values()]
    }
    return backlog
  }

  /** Of the messages that are held back, only these. */
  #keep(which: (held: Held) => boolean): void {
    for (const [queue, backlog] of this.#backlog) this.#backlog.set(queue, backlog.filter(which))
    this.#order = [...this.#backlog.values()]
  }

  #watch(raw: AmqpMessage): void {
    this.#hasHeard = true
    const isSuspicious = deliveriesOf(raw) >= suspiciousDeliveries
    if (isSuspicious === this.#isCautious) return
    this.#isCautious = isSuspicious
    this.#adjust()
  }

  #enqueue(held: Held): void {
    this.#backlogOf(held.queue).push(held)
  }

  /** What came in one tick is given out together. */
  #soon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#give()
    })
  }

  #give(): void {
    const deliveries: AmqpDelivery[] = []
    let out = 0
    let counted = 0
    for (const [on, count] of this.#outOn) {
      out += count
      if (on.counts) counted += count
    }
    while (out < this.#prefetch && this.#cancelled === undefined) {
      const held = this.#take({ counted: !this.#isCautious || counted === 0 })
      if (held === undefined) break
      const delivery = this.#open(held)
      if (delivery === undefined) continue
      this.#count(held.on, 1)
      out++
      if (held.on.counts) counted++
      deliveries.push(delivery)
    }
    if (deliveries.length > 0) this.#onDeliveries(deliveries)
  }

  #count(on: Settlements, by: number): void {
    this.#outOn.set(on, (this.#outOn.get(on) ?? 0) + by)
  }

  /** The next message, of each queue in turn; `counted`: also of those that the broker counts. */
  #take({ counted }: { readonly counted: boolean }): Held | undefined {
    const queues = this.#order
    for (let step = 0; step < queues.length; step++) {
      const queue = queues[(this.#turn + step) % queues.length]
      const head = queue?.[0]
      if (head === undefined || (head.on.counts && !counted)) continue
      queue?.shift()
      this.#turn = (this.#turn + step + 1) % queues.length
      return head
    }
    return undefined
  }

  #open(held: Held): AmqpDelivery | undefined {
    const { host, options } = this.#parts
    let reason: string
    let deliveries = 0
    try {
      const incoming = readMessage(held.raw)
      deliveries = incoming.deliveries
      if (deliveries < options.deliveryLimit) return new AmqpDelivery(this, held, incoming)
      reason = `it was delivered ${deliveries} times, and each time its worker was lost`
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error)
      this.#onRefused?.(held.queue, reason)
    }
    host.settle(held, deliveries, { kind: 'reject', reason })
    return undefined
  }

  // what waits for its time

  #defer(held: Held, deliveries: number, settlement: Settlement & { kind: 'defer' }): void {
    const { host, clock, options } = this.#parts
    const { untilMs } = settlement
    const isNear = untilMs - clock.now() <= options.etaHeldMs
    const hasRoom = this.#waiting.size < options.etaHeld && this.#waitingBytes + held.raw.content.length <= mostHeldBytes
    if (!isNear || !hasRoom) return host.settle(held, deliveries, settlement)
    // Alone, and not as a part of all that came with it.
    const raw = { ...held.raw, content: Buffer.from(held.raw.content) }
    held.on.keep(raw)
    this.#waiting.add(untilMs, { ...held, raw })
    this.#waits(held, 1)
    this.#adjust()
    this.#wakeAt(untilMs)
  }

  #wakeAt(untilMs: number): void {
    if (this.#timer !== undefined && this.#timer.atMs <= untilMs) return
    this.#timer?.timer.cancel()
    const { clock } = this.#parts
    const timer = clock.setTimer(Math.max(0, untilMs - clock.now()), () => {
      this.#timer = undefined
      this.#giveDue()
    })
    this.#timer = { timer, atMs: untilMs }
  }

  #giveDue(): void {
    for (const held of this.#waiting.takeDue(this.#parts.clock.now())) {
      this.#waits(held, -1)
      // It has waited for its turn already.
      this.#backlogOf(held.queue).unshift(held)
    }
    const { nextDueMs } = this.#waiting
    if (nextDueMs !== undefined) this.#wakeAt(nextDueMs)
    this.#adjust()
    this.#soon()
  }

  #takeWaiting(drop: (held: Held) => boolean): readonly Held[] {
    const taken = this.#waiting.remove(drop)
    for (const held of taken) this.#waits(held, -1)
    return taken
  }

  #waits({ queue, raw }: Held, by: 1 | -1): void {
    this.#waitingBytes += by * raw.content.length
    this.#waitingOf.set(queue, this.waitingOf(queue) + by)
  }

  // limits

  /** What waits for its time takes no place of what may run; some more, since every change may have its price. */
  #limitOf(lane: Lane): number {
    const waiting = this.#waiting.size
    return (this.#isCautious && lane.counts ? 1 : this.#prefetch) + waiting + (waiting === 0 ? 0 : Math.ceil(waiting / 8))
  }

  #adjust(): void {
    for (const lane of new Set(this.#lanes.values())) lane.limit(this.#limitOf(lane))
  }

  // the end

  async #cancel(): Promise<void> {
    this.#timer?.timer.cancel()
    await Promise.all([...new Set(this.#lanes.values())].map((lane) => lane.stop()))
    this.#giveBack(() => true)
    await this.#parts.host.removeConsumer(this)
  }

  #giveBack(which: (held: Held) => boolean): void {
    const { host } = this.#parts
    const back = [...this.#takeWaiting(which)]
    for (const backlog of this.#order) back.push(...backlog.filter(which))
    this.#keep((held) => !which(held))
    // In the order in which they came.
    back.sort((one, other) => one.raw.fields.deliveryTag - other.raw.fields.deliveryTag)
    for (const held of back) host.settle(held, deliveriesOf(held.raw), { kind: 'release', counted: false })
  }
}
