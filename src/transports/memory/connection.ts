/** A connection to the memory broker. It could do without, but has the states and the errors of every other: closed is closed, and what was held goes back. */

import { ConnectionError, NotPublishedError } from '../../errors.js'
import type { Examination } from '../../internal/examination.js'
import type { Message } from '../../protocol/message.js'
import type { Destination, Topology } from '../../protocol/topology.js'
import type {
  Connection,
  ConnectionCounters,
  ConsumeOptions,
  Consumer,
  DeadLetters,
  Fence,
  PublishOptions,
  Queues,
} from '../../transport.js'
import type { MemoryBroker } from './broker.js'
import { MemoryConsumer } from './consumer.js'

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
