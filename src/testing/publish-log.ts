import type { Message } from '../protocol/message.js'
import { routes } from '../protocol/routing.js'
import type { Destination, Exchange, Topology } from '../protocol/topology.js'
import type { Connection, ConsumeOptions, Consumer, DeadLetter, Delivery, PublishOptions, Transport } from '../transport.js'
import { ForwardedDelivery } from '../worker/forwarded-delivery.js'

/** A message that waits in the broker of a test. */
export interface Published {
  readonly message: Message
  readonly queue: string
  readonly notBefore: number | undefined
  readonly retries: number
}

/** A transport that remembers what was published, or given back, and is not delivered yet. */
export class PublishLog implements Transport {
  readonly waiting: Published[] = []
  /** How many calls of `drain()` run it at the moment. */
  drains = 0
  /** Told of each message that waits from now on. */
  onWaiting: (published: Published) => void = () => {}
  readonly #topology = new Map<string, { exchange: Exchange | undefined; bindings: Map<string, Binding> }>()
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  get name(): string {
    return this.#transport.name
  }

  get supports(): Transport['supports'] {
    return this.#transport.supports
  }

  async connect(options: { readonly signal: AbortSignal }): Promise<Connection> {
    const connection = await this.#transport.connect(options)
    return new LoggedConnection(connection, this)
  }

  add(published: Published): void {
    this.waiting.push(published)
    this.onWaiting(published)
  }

  declared({ exchanges, queues }: Topology): void {
    for (const exchange of exchanges) this.#at(exchange.name).exchange = exchange
    for (const { name, bindings } of queues)
      for (const { exchange, routingKey } of bindings)
        this.#at(exchange).bindings.set(JSON.stringify([name, routingKey]), { queue: name, routingKey })
  }

  /** The queues that a broker brings a message to. */
  queuesAt({ exchange, routingKey }: Destination): ReadonlySet<string> {
    if (exchange === '') return new Set([routingKey])
    const at = this.#at(exchange)
    const type = at.exchange?.type ?? 'direct'
    return new Set([...at.bindings.values()].filter((one) => routes(type, one.routingKey, routingKey)).map((one) => one.queue))
  }

  #at(exchange: string): { exchange: Exchange | undefined; bindings: Map<string, Binding> } {
    const known = this.#topology.get(exchange) ?? { exchange: undefined, bindings: new Map<string, Binding>() }
    this.#topology.set(exchange, known)
    return known
  }
}

interface Binding {
  readonly queue: string
  readonly routingKey: string
}

class LoggedConnection implements Connection {
  readonly #connection: Connection
  readonly #log: PublishLog

  constructor(connection: Connection, log: PublishLog) {
    this.#connection = connection
    this.#log = log
  }

  async declare(topology: Topology): Promise<void> {
    await this.#connection.declare(topology)
    this.#log.declared(topology)
  }

  size: Connection['size'] = (queue, options) => this.#connection.size(queue, options)
  locate: Connection['locate'] = (taskId) => this.#connection.locate(taskId)
  close: Connection['close'] = () => this.#connection.close()

  get closed(): Connection['closed'] {
    return this.#connection.closed
  }

  get isAnswering(): boolean {
    return this.#connection.isAnswering
  }

  get counters(): Connection['counters'] {
    return this.#connection.counters
  }

  get deadLetters(): Connection['deadLetters'] {
    const { deadLetters } = this.#connection
    return {
      list: (options) => deadLetters.list(options),
      drop: (id) => deadLetters.drop(id),
      count: () => deadLetters.count(),
      visit: (see) =>
        deadLetters.visit((letter, { replay, drop }) => see(letter, { drop, replay: () => this.#replayed(letter, replay()) })),
      replay: async (id) => {
        const letter = (await deadLetters.list({ limit: Number.MAX_SAFE_INTEGER })).find((one) => one.id === id)
        return this.#replayed(letter, deadLetters.replay(id))
      },
    }
  }

  async #replayed(letter: DeadLetter | undefined, replaying: Promise<boolean>): Promise<boolean> {
    const replayed = await replaying
    if (replayed && letter !== undefined) this.#log.add(published(letter.message, letter.queue, undefined))
    return replayed
  }

  get queues(): Connection['queues'] {
    return this.#connection.queues
  }

  examine: Connection['examine'] = () => this.#connection.examine()

  async publish(message: Message, to: Destination, options: PublishOptions): Promise<void> {
    await this.#connection.publish(message, to, options)
    if (typeof message.headers.task !== 'string') return
    for (const queue of this.#log.queuesAt(to)) this.#log.add(published(message, queue, options.notBefore))
  }

  async purge(queue: string): Promise<number> {
    const { waiting } = this.#log
    for (let index = waiting.length - 1; index >= 0; index--) if (waiting[index]?.queue === queue) waiting.splice(index, 1)
    return this.#connection.purge(queue)
  }

  consume(options: ConsumeOptions): Promise<Consumer> {
    const { waiting } = this.#log
    return this.#connection.consume({
      ...options,
      onDeliveries: (deliveries) => {
        for (const { message, queue } of deliveries) {
          const index = waiting.findIndex(
            (one) =>
              one.queue === queue &&
              one.message.headers.id === message.headers.id &&
              one.message.headers.retries === message.headers.retries,
          )
          if (index >= 0) waiting.splice(index, 1)
        }
        options.onDeliveries(deliveries.map((delivery) => new LoggedDelivery(delivery, this.#log)))
      },
    })
  }
}

/** What is given back waits again. */
class LoggedDelivery extends ForwardedDelivery {
  readonly #log: PublishLog

  constructor(delivery: Delivery, log: PublishLog) {
    super(delivery)
    this.#log = log
  }

  override release(options?: { readonly counted?: boolean }): void {
    this.#log.add(published(this.message, this.queue, undefined))
    super.release(options)
  }

  override defer(untilMs: number): void {
    this.#log.add(published(this.message, this.queue, untilMs))
    super.defer(untilMs)
  }
}

function published(message: Message, queue: string, notBefore: number | undefined): Published {
  const { retries } = message.headers
  return { message, queue, notBefore, retries: typeof retries === 'number' ? retries : 0 }
}
