import type { Message } from '../protocol/message.js'
import type { Destination } from '../protocol/topology.js'
import type { Connection, ConsumeOptions, Consumer, PublishOptions, Transport } from '../transport.js'

/** A message that waits in the broker of a test. */
export interface Published {
  readonly message: Message
  readonly queue: string
  readonly notBefore: number | undefined
  readonly retries: number
}

/** A transport that remembers what was published and not delivered yet. */
export class PublishLog implements Transport {
  readonly waiting: Published[] = []
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
    return new LoggedConnection(connection, this.waiting)
  }
}

class LoggedConnection implements Connection {
  readonly #connection: Connection
  readonly #waiting: Published[]

  constructor(connection: Connection, waiting: Published[]) {
    this.#connection = connection
    this.#waiting = waiting
  }

  declare: Connection['declare'] = (topology) => this.#connection.declare(topology)
  size: Connection['size'] = (queue) => this.#connection.size(queue)
  locate: Connection['locate'] = (taskId) => this.#connection.locate(taskId)
  close: Connection['close'] = () => this.#connection.close()

  get closed(): Connection['closed'] {
    return this.#connection.closed
  }

  get counters(): Connection['counters'] {
    return this.#connection.counters
  }

  get deadLetters(): Connection['deadLetters'] {
    return this.#connection.deadLetters
  }

  async publish(message: Message, to: Destination, options: PublishOptions): Promise<void> {
    await this.#connection.publish(message, to, options)
    const retries = typeof message.headers.retries === 'number' ? message.headers.retries : 0
    if (typeof message.headers.task === 'string')
      this.#waiting.push({ message, queue: to.routingKey, notBefore: options.notBefore, retries })
  }

  async purge(queue: string): Promise<number> {
    for (let index = this.#waiting.length - 1; index >= 0; index--)
      if (this.#waiting[index]?.queue === queue) this.#waiting.splice(index, 1)
    return this.#connection.purge(queue)
  }

  consume(options: ConsumeOptions): Promise<Consumer> {
    return this.#connection.consume({
      ...options,
      onDeliveries: (deliveries) => {
        for (const { message } of deliveries) {
          const index = this.#waiting.findIndex(
            (one) => one.message.headers.id === message.headers.id && one.message.headers.retries === message.headers.retries,
          )
          if (index >= 0) this.#waiting.splice(index, 1)
        }
        options.onDeliveries(deliveries)
      },
    })
  }
}
