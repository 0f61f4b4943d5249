/** The part of amqplib that is used, by structure: its own types are not needed to build with celeriac. */

export interface AmqplibModule {
  /** Of a CommonJS package, found with or without its default. */
  readonly connect?: Connect
  readonly default?: { readonly connect: Connect }
}

export type Connect = (address: AmqplibAddress, socketOptions: Readonly<Record<string, unknown>>) => Promise<AmqplibModel>

export interface AmqplibAddress {
  readonly protocol: 'amqp' | 'amqps'
  readonly hostname: string
  readonly port: number
  readonly username: string
  readonly password: string
  /** Percent-encoded. */
  readonly vhost: string
  /** Seconds; 0 is none, undefined is what the server says. */
  readonly heartbeat: number | undefined
  readonly frameMax: number
  readonly maxFrameSize: number
}

export interface AmqplibModel {
  readonly connection: {
    readonly stream: {
      destroy(error?: Error): unknown
      ref?(): unknown
      unref?(): unknown
    }
    readonly serverProperties: Readonly<Record<string, unknown>>
    /** Seconds, as negotiated; 0 is none. */
    readonly heartbeat: number
    readonly frameMax: number
    readonly heartbeater: { readonly sendTimer?: NodeJS.Timeout; readonly recvTimer?: NodeJS.Timeout } | null
  }
  on(event: 'error' | 'close', listener: (error?: Error) => void): unknown
  on(event: 'blocked', listener: (reason: string) => void): unknown
  on(event: 'unblocked', listener: () => void): unknown
  createChannel(): Promise<AmqpChannel>
  createConfirmChannel(): Promise<AmqpConfirmChannel>
  close(): Promise<void>
}

type Table = Readonly<Record<string, unknown>>

export interface AmqpChannel {
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'close', listener: () => void): unknown
  on(event: 'return', listener: (message: AmqpMessage) => void): unknown
  close(): Promise<void>
  assertQueue(queue: string, options: QueueProperties): Promise<QueueState>
  checkQueue(queue: string): Promise<QueueState>
  deleteQueue(queue: string, options?: { readonly ifEmpty?: boolean; readonly ifUnused?: boolean }): Promise<unknown>
  purgeQueue(queue: string): Promise<{ readonly messageCount: number }>
  bindQueue(queue: string, exchange: string, routingKey: string, args?: Table): Promise<unknown>
  assertExchange(exchange: string, type: string, options: ExchangeProperties): Promise<unknown>
  checkExchange(exchange: string): Promise<unknown>
  deleteExchange(exchange: string): Promise<unknown>
  bindExchange(destination: string, source: string, routingKey: string, args?: Table): Promise<unknown>
  publish(exchange: string, routingKey: string, content: Buffer, options: PublishProperties): boolean
  /** The listener is told of null when the server has cancelled the consumer. */
  consume(
    queue: string,
    listener: (message: AmqpMessage | null) => void,
    options?: { readonly noAck?: boolean; readonly exclusive?: boolean; readonly consumerTag?: string },
  ): Promise<{ readonly consumerTag: string }>
  cancel(consumerTag: string): Promise<unknown>
  /** Who takes messages of that tag, without a word to the server. */
  registerConsumer(consumerTag: string, listener: (message: AmqpMessage | null) => void): void
  get(queue: string, options?: { readonly noAck?: boolean }): Promise<AmqpMessage | false>
  ack(message: Tagged, allUpTo?: boolean): void
  nack(message: Tagged, allUpTo?: boolean, requeue?: boolean): void
  /** Whatever was delivered on this channel and is not settled. */
  nackAll(requeue: boolean): void
  reject(message: Tagged, requeue?: boolean): void
  prefetch(count: number, global?: boolean): Promise<unknown>
}

export interface AmqpConfirmChannel extends AmqpChannel {
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: PublishProperties,
    confirmed?: (error: Error | null) => void,
  ): boolean
}

/** What settling needs of a message. */
export interface Tagged {
  readonly fields: { readonly deliveryTag: number }
}

export interface AmqpMessage extends Tagged {
  readonly content: Buffer
  readonly fields: {
    readonly deliveryTag: number
    readonly redelivered: boolean
    readonly exchange: string
    readonly routingKey: string
    /** Of what was got and not consumed: how many are left. */
    readonly messageCount?: number
    /** Of what came back: why. */
    readonly replyText?: string
  }
  readonly properties: {
    readonly contentType: string | undefined
    readonly contentEncoding: string | undefined
    readonly headers: Table | undefined
    readonly deliveryMode: number | undefined
    readonly priority: number | undefined
    readonly correlationId: string | undefined
    readonly replyTo: string | undefined
    readonly expiration: string | undefined
  }
}

export interface QueueState {
  /** Messages that wait; those that are out are not counted. */
  readonly messageCount: number
  readonly consumerCount: number
}

export interface QueueProperties {
  readonly durable: boolean
  readonly exclusive: boolean
  readonly autoDelete: boolean
  readonly arguments: Table
}

export interface ExchangeProperties {
  readonly durable: boolean
  readonly autoDelete: boolean
}

export interface PublishProperties {
  readonly mandatory?: boolean
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly headers?: Table
  readonly deliveryMode?: number
  readonly priority?: number
  readonly correlationId?: string
  readonly replyTo?: string
  readonly expiration?: string
}
