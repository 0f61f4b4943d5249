/** Links over @redis/client 5 and 6, which `redis` is a wrapper of. The parts of it that are used are typed here, as those of ioredis. */
import { type LinkSettings, openClientLink, type Wire, type WireEvents } from './client-link.js'
import type { Argument, OpenLink, RedisLink, Reply } from './link.js'

/** What of a client of @redis/client is used. */
export interface NodeRedisClient {
  readonly options?: { readonly database?: number | undefined; readonly socket?: object | undefined } | undefined
  duplicate(options: Readonly<Record<string, unknown>>): NodeRedisClient
  connect(): Promise<unknown>
  destroy(): void
  ref(): void
  unref(): void
  sendCommand(args: readonly (string | Buffer)[], options: Readonly<Record<string, unknown>>): Promise<unknown>
  subscribe(channels: readonly string[], listener: BufferListener, bufferMode: true): Promise<void>
  pSubscribe(patterns: readonly string[], listener: BufferListener, bufferMode: true): Promise<void>
  unsubscribe(channels: readonly string[]): Promise<void>
  pUnsubscribe(patterns: readonly string[]): Promise<void>
  on(event: 'error' | 'connect' | 'end', listener: (error?: Error) => void): unknown
}

type BufferListener = (payload: Buffer | null, channel: Buffer) => void

/** Bulk and simple strings as bytes: the numbers are the first bytes of the two in the protocol. */
const asBytes = { typeMapping: { 36: Buffer, 43: Buffer } }

/**
 * Ours, whatever the client had. RESP2, so that both libraries give the same replies and the invalidation messages of client tracking come as published
 * ones. `timeout` is of the wait before a command is sent, and costs a timer each.
 */
export function nodeRedisLinkOptions(client: NodeRedisClient, connectTimeoutMs: number): Readonly<Record<string, unknown>> {
  return {
    RESP: 2,
    disableOfflineQueue: true,
    commandsQueueMaxLength: undefined,
    commandOptions: { timeout: undefined },
    clientSideCache: undefined,
    emitInvalidate: false,
    maintNotifications: 'disabled',
    pingInterval: undefined,
    keyPrefix: undefined,
    readonly: false,
    disableClientInfo: true,
    socket: { ...client.options?.socket, reconnectStrategy: false, socketTimeout: undefined, connectTimeout: connectTimeoutMs },
  }
}

/** Connects a client that was made with `nodeRedisLinkOptions`. */
export function openNodeRedisLink(client: NodeRedisClient, opening: OpenLink, settings: LinkSettings): Promise<RedisLink> {
  return openClientLink((events) => new NodeRedisWire(client, events), opening, settings)
}

class NodeRedisWire implements Wire {
  readonly #client: NodeRedisClient
  readonly #onMessage: BufferListener
  readonly #onPatternMessage = new Map<string, BufferListener>()
  readonly #events: WireEvents
  #isDropped = false

  constructor(client: NodeRedisClient, events: WireEvents) {
    this.#client = client
    this.#events = events
    this.#onMessage = (payload, channel) => events.onMessage(channel, payload)
    client.on('error', (error = new Error('unknown error')) => events.onError(error))
    client.on('end', () => events.onClose())
    // A socket that is still being opened cannot be told to stop: it is closed as soon as it is there.
    client.on('connect', () => {
      if (this.#isDropped) client.destroy()
    })
  }

  connect(): Promise<unknown> {
    return this.#client.connect()
  }

  call(command: string, args: readonly Argument[]): Promise<Reply> {
    // With this mapping, answers of RESP2 are of these types and no others.
    return this.#client.sendCommand([command, ...args.map(asNodeRedisArgument)], asBytes) as Promise<Reply>
  }

  subscribe(channels: readonly string[]): Promise<void> {
    return this.#client.subscribe(channels, this.#onMessage, true)
  }

  /** A listener is not told which pattern it was for: each has its own. */
  async psubscribe(patterns: readonly string[]): Promise<void> {
    await Promise.all(
      patterns.map((pattern) => {
        const listener: BufferListener =
          this.#onPatternMessage.get(pattern) ?? ((payload, channel) => this.#events.onPatternMessage(pattern, channel, payload))
        this.#onPatternMessage.set(pattern, listener)
        return this.#client.pSubscribe([pattern], listener, true)
      }),
    )
  }

  unsubscribe(channels: readonly string[]): Promise<void> {
    return this.#client.unsubscribe(channels)
  }

  punsubscribe(patterns: readonly string[]): Promise<void> {
    return this.#client.pUnsubscribe(patterns)
  }

  holdProcess(on: boolean): void {
    if (on) this.#client.ref()
    else this.#client.unref()
  }

  drop(): void {
    this.#isDropped = true
    try {
      this.#client.destroy()
    } catch {
      // Version 5 throws when there is nothing to close any more.
    }
  }

  /** The classes of what a server says all extend one of this name. */
  refusal(error: unknown): string | undefined {
    for (let type: unknown = error; typeof type === 'object' && type !== null; type = Object.getPrototypeOf(type)) {
      if (type.constructor.name === 'ErrorReply' && error instanceof Error) return error.message
    }
    return undefined
  }

  wasUnsent(error: unknown): boolean {
    return error instanceof Error && ['ClientClosedError', 'ClientOfflineError'].includes(error.constructor.name)
  }
}

function asNodeRedisArgument(argument: Argument): string | Buffer {
  if (typeof argument !== 'object') return String(argument)
  return Buffer.isBuffer(argument) ? argument : Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
}
