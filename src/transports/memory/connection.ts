/** A connection to the memory broker. It could do without, but has the states and the errors of every other: closed is closed, and what was held goes back. */

import { ConnectionError, NotPublishedError } from '../../errors.js'
import type { Examination } from '../../internal/examination.js'
import type { Message } from '../../protocol/message.js'
import { decodeHead } from '../../protocol/message-head.js'
import type { Destination, Topology } from '../../protocol/topology.js'
import type {
  Connection,
  ConnectionCounters,
  ConsumeOptions,
  Consumer,
  DeadLetters,
  Delivery,
  Fence,
  PublishOptions,
  Queues,
} from '../../transport.js'
import type { MemoryBroker, Taker } from './broker.js'
import type { MemoryQueue, StoredMessage } from './queue.js'

export class MemoryConnection implements Connection {
  readonly closed: Promise<Error | undefined>
  readonly #broker: MemoryBroker
  readonly #consumers = new Set<MemoryConsumer>()
  readonly #droppedBefore: number
  #lateSettlements = 0
  #isClosed = false
  #resolveClosed: (reason: undefined) => void = () => undefined

  constructor(broker: MemoryBroker) {
    this.#broker = broker
    this.#droppedBefore = broker.deadLetters.dropped
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
  }

  get deadLetters(): DeadLetters {
    return this.#broker.deadLetters
  }

  get queues(): Queues {
    return this.#broker.queues
  }

  async examine(): Promise<Examination> {
    const finding = {
      about: 'persistence',
      level: 'warning',
      evidence: 'the memory broker ends with its process',
      fix: 'Use sqlite:// or a server for anything but tests',
    } as const
    return { server: 'memory', findings: [finding], clockAheadMs: undefined }
  }

  get isAnswering(): boolean {
    return !this.#isClosed
  }

  get counters(): ConnectionCounters {
    return { lateSettlements: this.#lateSettlements, deadLettersDropped: this.#broker.deadLetters.dropped - this.#droppedBefore }
  }

  async declare(topology: Topology): Promise<void> {
    this.#refuseWhenClosed()
    this.#broker.declare(topology, this)
  }

  async publish(message: Message, to: Destination, { notBefore, fences }: PublishOptions): Promise<void> {
    if (this.#isClosed) throw new NotPublishedError('the message was not published: the connection is closed')
    this.#broker.publish(message, to, notBefore, fences)
  }

  async raiseFences(fences: readonly Fence[]): Promise<void> {
    this.#refuseWhenClosed()
    this.#broker.fences.pass(fences)
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#refuseWhenClosed()
    const queues = [...new Set(options.queues)].map((name) => this.#broker.queueFor(name, this))
    const consumer = new MemoryConsumer(this.#broker, this, { ...options, queues }, () => {
      this.#lateSettlements += 1
    })
    this.#consumers.add(consumer)
    consumer.start()
    return consumer
  }

  async size(queue: string, { due = false } = {}): Promise<number> {
    return this.#broker.size(queue, due)
  }

  async purge(queue: string): Promise<number> {
    this.#refuseWhenClosed()
    return this.#broker.purge(queue)
  }

  async locate(taskId: string): Promise<'waiting' | 'leased' | 'absent'> {
    return this.#broker.locate(taskId)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const consumer of this.#consumers) consumer.stop()
    this.#broker.removeOwner(this)
    this.#resolveClosed(undefined)
  }

  #refuseWhenClosed(): void {
    if (this.#isClosed) throw new ConnectionError('the connection to the memory broker is closed')
  }
}

class MemoryConsumer implements Consumer, Taker {
  readonly #broker: MemoryBroker
  readonly #connection: MemoryConnection
  readonly #onDeliveries: ConsumeOptions['onDeliveries']
  readonly #onLate: () => void
  readonly #held = new Set<MemoryDelivery>()
  #queues: MemoryQueue[]
  #prefetch: number
  #isCancelled = false
  #wakeQueued = false

  constructor(
    broker: MemoryBroker,
    connection: MemoryConnection,
    { queues, prefetch, onDeliveries }: Omit<ConsumeOptions, 'queues'> & { readonly queues: readonly MemoryQueue[] },
    onLate: () => void,
  ) {
    this.#broker = broker
    this.#connection = connection
    this.#queues = [...queues]
    this.#prefetch = prefetch
    this.#onDeliveries = onDeliveries
    this.#onLate = onLate
  }

  start(): void {
    for (const queue of this.#queues) this.#broker.addConsumer(queue, this)
    this.#broker.addTaker(this)
    this.#wakeSoon()
  }

  async addQueue(name: string): Promise<void> {
    const queue = this.#broker.queueFor(name, this.#connection)
    if (this.#queues.includes(queue)) return
    this.#queues.push(queue)
    this.#broker.addConsumer(queue, this)
    this.#wakeSoon()
  }

  async cancelQueue(name: string): Promise<void> {
    const queue = this.#queues.find((candidate) => candidate.name === name)
    if (queue === undefined) return
    this.#queues = this.#queues.filter((other) => other !== queue)
    this.#broker.removeConsumer(queue, this)
  }

  setPrefetch(count: number): void {
    this.#prefetch = count
    this.#wakeSoon()
  }

  async cancel(): Promise<void> {
    if (this.#isCancelled) return
    this.#isCancelled = true
    this.#broker.removeTaker(this)
    for (const queue of this.#queues) this.#broker.removeConsumer(queue, this)
  }

  /** The connection closes: what is held goes back, uncounted. */
  stop(): void {
    const held = [...this.#held]
    this.#held.clear()
    void this.cancel()
    for (const delivery of held) {
      this.#broker.release(delivery.stored, { counted: false })
      delivery.lose()
    }
  }

  wake(): void {
    if (this.#isCancelled) return
    const taken: MemoryDelivery[] = []
    for (const queue of [...this.#queues]) {
      const free = this.#prefetch - this.#held.size - taken.length
      if (free <= 0) break
      for (const stored of this.#broker.take(queue, free)) taken.push(new MemoryDelivery(stored, (delivery) => this.#take(delivery)))
    }
    if (taken.length === 0) return
    // The next claim begins with another queue: a full one does not starve the others.
    const first = this.#queues.shift()
    if (first !== undefined) this.#queues.push(first)
    for (const delivery of taken) this.#held.add(delivery)
    this.#onDeliveries(taken)
  }

  /** The broker, if the delivery is still held by this consumer; undefined when it comes too late. */
  #take(delivery: MemoryDelivery): MemoryBroker | undefined {
    if (!this.#held.delete(delivery)) {
      this.#onLate()
      return undefined
    }
    this.#wakeSoon()
    return this.#broker
  }

  #wakeSoon(): void {
    if (this.#wakeQueued || this.#isCancelled) return
    this.#wakeQueued = true
    setImmediate(() => {
      this.#wakeQueued = false
      this.wake()
    })
  }
}

class MemoryDelivery implements Delivery {
  readonly stored: StoredMessage
  readonly message: Message
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  readonly redelivered: boolean
  readonly deliveries: number
  readonly #take: (delivery: MemoryDelivery) => MemoryBroker | undefined
  #isSettled = false
  #isLost = false

  constructor(stored: StoredMessage, take: (delivery: MemoryDelivery) => MemoryBroker | undefined) {
    const { message, to } = decodeHead(stored.head, stored.body)
    this.stored = stored
    this.message = message
    this.queue = stored.queue.name
    this.exchange = to.exchange
    this.routingKey = to.routingKey
    this.redelivered = stored.redelivered
    this.deliveries = stored.deliveries
    this.#take = take
  }

  get isLost(): boolean {
    return this.#isLost
  }

  ack(): void {
    this.#settle()?.done(this.stored)
  }

  release({ counted = false }: { readonly counted?: boolean } = {}): void {
    this.#settle()?.release(this.stored, { counted })
  }

  reject(reason: string): void {
    this.#settle()?.bury(this.stored, reason)
  }

  defer(untilMs: number): void {
    this.#settle()?.defer(this.stored, untilMs)
  }

  lose(): void {
    if (this.#isSettled) return
    this.#isLost = true
  }

  #settle(): MemoryBroker | undefined {
    if (this.#isSettled) return undefined
    this.#isSettled = true
    return this.#take(this)
  }
}
