/**
 * A connection to RabbitMQ: puts its parts together.
 *
 *   publish ─▶ publisher ───────────────┐
 *   release, reject, defer ─▶ give-backs ┴─▶ the link that publishes ─▶ RabbitMQ
 *   ack ─▶ settlements ─▶ lanes (channels) ─▶ the link that consumes ─▶
 *   declare, size, purge ─▶ control ─▶ any link
 */
import { ConnectionError, NotPublishedError, NotSupportedError } from '../../errors.js'
import type { AmqpLink } from '../../internal/amqp/link.js'
import { refusalOf } from '../../internal/amqp/reply.js'
import type { AmqpTarget } from '../../internal/amqp/target.js'
import { atMost } from '../../internal/at-most.js'
import type { Clock } from '../../internal/clock.js'
import type { Examination } from '../../internal/examination.js'
import { inTime } from '../../internal/in-time.js'
import type { Logger } from '../../internal/logger.js'
import type { Message } from '../../protocol/message.js'
import { checkTopology } from '../../protocol/routing.js'
import type { Destination, Topology } from '../../protocol/topology.js'
import type { Connection, ConnectionCounters, ConsumeOptions, Consumer, PublishOptions } from '../../transport.js'
import { AmqpConsumer, type ConsumerHost } from './consumer.js'
import { Control } from './control.js'
import { AmqpDeadLetters } from './dead-letters.js'
import { Delays } from './delays.js'
import type { Held, Settlement } from './delivery.js'
import { examineLink } from './examine.js'
import { GiveBacks } from './give-backs.js'
import { Lane } from './lane.js'
import { Links } from './links.js'
import type { AmqpBrokerOptions } from './options.js'
import { Publisher } from './publisher.js'
import { AmqpQueues } from './queues.js'
import { AmqpTopology, refused } from './topology.js'
import { deliveriesOf, writeMessage } from './wire.js'

/** Of AMQP; which a server has, it is asked by declaring. */
export const amqpExchangeTypes = ['direct', 'topic', 'fanout', 'headers'] as const
/** Closing does not wait longer for a server that does not answer. */
const closingMs = 5_000

/** What was learned of a server, over its connections. */
export interface ServerMemory {
  /** It refused a limit for a whole channel: a queue is a quorum queue that was not declared as one. */
  refusesGlobalLimit: boolean
}

export interface AmqpConnectionParts {
  readonly target: AmqpTarget
  readonly options: AmqpBrokerOptions
  readonly memory: ServerMemory
  readonly clock: Clock
  readonly log: Logger
  /** See ConnectOptions. */
  readonly blocksUpToMs: number
}

export class AmqpConnection implements Connection, ConsumerHost {
  readonly closed: Promise<Error | undefined>
  readonly deadLetters: AmqpDeadLetters
  readonly queues: AmqpQueues
  readonly #parts: AmqpConnectionParts
  readonly #links: Links
  readonly #control: Control
  /** For what belongs to the connection that consumes it. */
  readonly #own: Control
  readonly #topology = new AmqpTopology()
  readonly #publisher: Publisher
  readonly #delays: Delays
  readonly #giveBacks: GiveBacks
  readonly #consumers = new Map<AmqpConsumer, Map<string, Promise<Lane>>>()
  readonly #lanes = new Set<Lane>()
  #consuming: AmqpLink | undefined
  #lateSettlements = 0
  #isClosing = false
  #closing: Promise<void> | undefined

  constructor(parts: AmqpConnectionParts) {
    const { target, options, clock, log, memory, blocksUpToMs } = parts
    this.#parts = parts
    this.#links = new Links(target, blocksUpToMs / 1000)
    this.closed = this.#links.ended
    this.#control = new Control(() => this.#askedLink())
    this.#own = new Control(() => this.#consumingLink())
    this.#publisher = new Publisher({
      clock,
      window: options.publishWindow,
      confirms: options.confirmPublish,
      maxMessageSize: options.maxMessageSize,
      link: () => this.#links.publishing(),
    })
    this.deadLetters = new AmqpDeadLetters({
      control: this.#control,
      publisher: this.#publisher,
      link: () => this.#askedLink(),
      declare: (queue) => this.#control.ask((api) => this.#topology.declare(api, { exchanges: [], queues: [queue] })),
      now: () => clock.now(),
    })
    this.queues = new AmqpQueues({
      control: this.#control,
      publisher: this.#publisher,
      heldHere: (queue) => [...this.#consumers.keys()].reduce((sum, consumer) => sum + consumer.waitingOf(queue), 0),
    })
    this.#delays = new Delays({ control: this.#control, topology: this.#topology, queueType: options.delayedDeliveryQueueType })
    this.#giveBacks = new GiveBacks({
      publisher: this.#publisher,
      topology: this.#topology,
      deadLetters: this.deadLetters,
      delays: this.#delays,
      clock,
      log,
      deliveryLimit: options.deliveryLimit,
      version: () => this.#consuming?.version ?? 0,
    })
    void this.closed.then((reason) => {
      if (reason !== undefined && /does not support global qos/.test(reason.message)) memory.refusesGlobalLimit = true
      this.#publisher.end(reason ?? new ConnectionError('the connection is closed'))
    })
  }

  async open(signal: AbortSignal): Promise<this> {
    const link = await this.#links.start(signal)
    if (link.product === 'RabbitMQ' && link.version < 308) {
      await this.close()
      throw new NotSupportedError(
        `RabbitMQ ${Math.floor(link.version / 100)}.${link.version % 100}`,
        'celeriac needs RabbitMQ 3.8 or later',
      )
    }
    const { blocksUpToMs, log } = this.#parts
    if (link.heartbeat > 0 && Number.isFinite(blocksUpToMs) && link.heartbeat * 1500 < blocksUpToMs)
      log.warn(
        { heartbeat: link.heartbeat },
        `RabbitMQ wants a sign of life every ${link.heartbeat} s, and tasks may block this process for ${blocksUpToMs / 1000} s: it may give their messages to others meanwhile. Set heartbeat in rabbitmq.conf higher, or use a pool of processes`,
      )
    return this
  }

  get isAnswering(): boolean {
    return !this.#isClosing && this.#links.isOpen
  }

  get counters(): ConnectionCounters {
    // The broker drops the oldest by itself, and tells nobody.
    return { lateSettlements: this.#lateSettlements, deadLettersDropped: 0 }
  }

  async declare(topology: Topology): Promise<void> {
    this.#refuseWhenClosed()
    checkTopology(topology, amqpExchangeTypes)
    const control = topology.queues.some(({ exclusive }) => exclusive) ? this.#own : this.#control
    await control.ask((api) => this.#topology.declare(api, topology))
  }

  async publish(message: Message, to: Destination, { deadlineMs, notBefore }: PublishOptions): Promise<void> {
    if (this.#isClosing) throw new NotPublishedError('the message was not published: the connection is closed')
    const outgoing = writeMessage(message)
    const { clock, options } = this.#parts
    const seconds = notBefore === undefined ? 0 : Math.floor((notBefore - clock.now()) / 1000)
    const startedMs = clock.monotonic()
    const delayed = seconds > 0 ? await inTime(clock, deadlineMs, this.#delays.to(to, seconds), tooLate) : undefined
    const mandatory = options.confirmPublish && (delayed !== undefined || this.#mustRoute(to))
    await this.#publisher.publish(outgoing, delayed ?? to, { deadlineMs: deadlineMs - (clock.monotonic() - startedMs), mandatory })
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#refuseWhenClosed()
    if (options.queues.some((queue) => this.#topology.isQuorum(queue))) await this.#delays.declareFor(options.queues)
    const consumer = new AmqpConsumer({ host: this, clock: this.#parts.clock, options: this.#parts.options }, options)
    this.#consumers.set(consumer, new Map())
    try {
      for (const queue of new Set(options.queues)) await consumer.addQueue(queue)
    } catch (error) {
      await consumer.cancel()
      throw error
    }
    return consumer
  }

  size(queue: string, { due = false } = {}): Promise<number> {
    return this.queues.size(queue, { due })
  }

  async examine(): Promise<Examination> {
    return examineLink(this.#links.first)
  }

  purge(queue: string): Promise<number> {
    return this.#count(queue, async (api) => (await api.purgeQueue(queue)).messageCount)
  }

  /** A queue can only be read from its head. */
  async locate(): Promise<'unknown'> {
    return 'unknown'
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  // for consumers

  async laneFor(consumer: AmqpConsumer, queue: string): Promise<Lane> {
    const link = await this.#consumingLink()
    if (this.#topology.isQuorum(queue)) await this.#delays.declareFor([queue])
    const mode = this.#sharesLimit(link, queue) ? 'global' : 'each'
    const lanes = this.#consumers.get(consumer) ?? new Map<string, Promise<Lane>>()
    const known = lanes.get(mode)
    if (known !== undefined) return known
    const lane = new Lane({
      link,
      mode,
      clock: this.#parts.clock,
      log: this.#parts.log,
      onMessage: consumer.onMessage,
      onLost: consumer.onLost,
      declareAgain: async (name) => {
        await this.#own.ask((api) => this.#topology.declareAgain(api, name))
        await this.#delays.bindAgain(name)
      },
    })
    this.#lanes.add(lane)
    lanes.set(mode, Promise.resolve(lane))
    return lane
  }

  settle(held: Held, deliveries: number, settlement: Settlement): void {
    this.#giveBacks.settle(held, deliveries, settlement)
  }

  late(): void {
    this.#lateSettlements++
  }

  async removeConsumer(): Promise<void> {
    await atMost(this.#parts.clock, closingMs, this.#giveBacks.idle())
  }

  // the end

  async #close(): Promise<void> {
    const { clock } = this.#parts
    await atMost(clock, closingMs, this.#publisher.idle())
    this.#isClosing = true
    for (const consumer of this.#consumers.keys()) await atMost(clock, closingMs, consumer.cancel())
    // What is out goes back: by the end of its channel, or by hand where that would be counted.
    for (const lane of this.#lanes) {
      for (const held of lane.open()) {
        if (!this.#giveBacks.keepsCount(held.queue)) this.settle(held, deliveriesOf(held.raw), { kind: 'release', counted: false })
      }
    }
    await atMost(clock, closingMs, this.#giveBacks.idle())
    await atMost(clock, closingMs, Promise.all([...this.#lanes].map((lane) => lane.close())))
    await atMost(clock, closingMs, this.#links.close())
  }

  async #consumingLink(): Promise<AmqpLink> {
    this.#consuming ??= await this.#links.consuming()
    return this.#consuming
  }

  /** A server that takes no messages hears nothing at all from the link that publishes. */
  async #askedLink(): Promise<AmqpLink> {
    if (this.#consuming !== undefined) return this.#consuming
    const { first } = this.#links
    return first.blocked === undefined ? first : this.#consumingLink()
  }

  #sharesLimit({ product, version }: AmqpLink, queue: string): boolean {
    const isClassic = this.#topology.queue(queue) !== undefined && !this.#topology.isQuorum(queue)
    return product === 'RabbitMQ' && version < 400 && isClassic && !this.#parts.memory.refusesGlobalLimit
  }

  #mustRoute({ exchange }: Destination): boolean {
    if (exchange === '') return true
    // One that this connection did not declare is mostly meant for somebody.
    return (this.#topology.typeOf(exchange) ?? 'direct') === 'direct'
  }

  async #count(queue: string, work: Parameters<Control['ask']>[0]): Promise<number> {
    try {
      return Number(await this.#control.ask(work))
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal?.code === 404) return 0
      throw refusal === undefined ? error : refused(refusal, `a question about queue ${JSON.stringify(queue)}`)
    }
  }

  #refuseWhenClosed(): void {
    if (this.#isClosing || this.#closing !== undefined || !this.#links.isOpen)
      throw new ConnectionError('the connection to the broker is closed')
  }
}

function tooLate(): NotPublishedError {
  return new NotPublishedError('the message was not published: RabbitMQ did not answer until the deadline')
}
