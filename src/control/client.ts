import { randomUUID } from 'node:crypto'
import { NotPublishedError } from '../errors.js'
import type { Clock, Timer } from '../internal/clock.js'
import type { LamportClock } from '../internal/lamport-clock.js'
import { type Broadcast, decodeReply, encodeBroadcast, pidboxExchange, replyExchange, replyQueue } from '../protocol/mailbox.js'
import type { Message } from '../protocol/message.js'
import { decodeJson, json } from '../serializers/json.js'
import type { Connection } from '../transport.js'

/** Which workers a request is for; without any of these: all. */
export interface Audience {
  /** Node names: these, and no others. */
  readonly destination?: readonly string[] | undefined
  /** A shell pattern of node names, such as `mail-*@*`. */
  readonly pattern?: string | undefined
}

export interface Request extends Audience {
  readonly method: string
  readonly arguments: Readonly<Record<string, unknown>>
}

export interface Patience {
  /** Ends when nobody has answered for so long. */
  readonly timeoutMs: number
  /** Ends after so many answers. Default: as many as there are names in `destination`. */
  readonly limit?: number | undefined
  /** Told of each answer as it comes. */
  readonly onReply?: ((reply: Reply) => void) | undefined
  /** Ends the wait; what has come until then counts. */
  readonly signal?: AbortSignal | undefined
}

export interface Reply {
  /** Node name of the worker. */
  readonly hostname: string
  readonly reply: unknown
}

interface ClientParts {
  readonly namespace: () => string
  readonly clock: () => Clock
  readonly lamport: LamportClock
  /** The connection that this process publishes on. */
  readonly publisher: () => Promise<Connection>
  /** One of its own, to hear answers. */
  readonly connect: () => Promise<Connection>
}

/** For the broker to take a request. */
const publishMs = 4_000

/** Asks workers, and tells them (kombu's pidbox): a request goes to all of them, and those that are meant answer. */
export class ControlClient {
  readonly #parts: ClientParts
  #inbox: Promise<Inbox> | undefined

  constructor(parts: ClientParts) {
    this.#parts = parts
  }

  /** Settles when the request is at the broker. Nobody answers. */
  async tell(request: Request): Promise<void> {
    await this.#publish(await this.#parts.publisher(), request, {})
  }

  /** The answers, in the order in which they came: none when no worker is there. */
  async ask(request: Request, { timeoutMs, limit, onReply, signal }: Patience): Promise<readonly Reply[]> {
    const inbox = await this.#open()
    const ticket = randomUUID()
    const most = limit ?? (request.destination === undefined || request.destination.length === 0 ? undefined : request.destination.length)
    const replies: Reply[] = []
    const timer = new Silence(this.#parts.clock(), timeoutMs)
    try {
      await new Promise<void>((resolve, reject) => {
        timer.onEnd = resolve
        signal?.addEventListener('abort', () => timer.end(), { once: true })
        if (signal?.aborted) return resolve()
        inbox.listen(ticket, (reply) => {
          if (reply === undefined) return reject(new NotPublishedError('the connection to the broker was lost while workers were asked'))
          // Some may come together with the last one.
          if (replies.length === most) return
          replies.push(reply)
          onReply?.(reply)
          if (replies.length === most) timer.end()
          else timer.again()
        })
        const { now } = this.#parts.clock()
        this.#publish(inbox.connection, request, { ticket, replyTo: inbox.address, expiresAtMs: now() + timeoutMs }).then(
          () => timer.again(),
          reject,
        )
      })
      return replies
    } finally {
      timer.cancel()
      inbox.forget(ticket)
      if (inbox.isUnused) {
        this.#inbox = undefined
        await inbox.connection.close()
      }
    }
  }

  async #publish(
    connection: Connection,
    { method, arguments: args, destination, pattern }: Request,
    { expiresAtMs, ...answer }: { ticket?: string; replyTo?: Broadcast['replyTo'] & object; expiresAtMs?: number },
  ): Promise<void> {
    const exchange = pidboxExchange(this.#parts.namespace())
    const broadcast: Broadcast = {
      method,
      arguments: args,
      destination: destination === undefined || destination.length === 0 ? null : destination,
      pattern: pattern ?? null,
      matcher: pattern === undefined ? null : 'glob',
      ...answer,
    }
    const clock = this.#parts.lamport.forward()
    const message = encodeBroadcast(broadcast, json, expiresAtMs === undefined ? { clock } : { clock, expiresAtMs })
    await connection.declare({ exchanges: [exchange], queues: [] })
    await connection.publish(message, { exchange: exchange.name, routingKey: '' }, { deadlineMs: publishMs })
  }

  /** Requests of one moment share an inbox. */
  async #open(): Promise<Inbox> {
    const { connect, namespace, lamport } = this.#parts
    const opening = this.#inbox ?? connect().then((connection) => Inbox.open(connection, namespace(), lamport))
    this.#inbox = opening
    try {
      const inbox = await opening
      inbox.reserve()
      return inbox
    } catch (error) {
      if (this.#inbox === opening) this.#inbox = undefined
      throw error
    }
  }
}

/** The queue of answers, for as long as somebody waits for any. */
class Inbox {
  readonly connection: Connection
  readonly address: { readonly exchange: string; readonly routingKey: string }
  readonly #lamport: LamportClock
  readonly #waiting = new Map<string, (reply: Reply | undefined) => void>()
  /** Who has it and has not asked yet, beside those that wait. */
  #users = 0

  static async open(connection: Connection, namespace: string, lamport: LamportClock): Promise<Inbox> {
    const id = randomUUID()
    const queue = replyQueue(id, namespace)
    const exchange = replyExchange(namespace)
    try {
      await connection.declare({ exchanges: [exchange], queues: [queue] })
      const inbox = new Inbox(connection, { exchange: exchange.name, routingKey: id }, lamport)
      await connection.consume({
        queues: [queue.name],
        prefetch: 1_000,
        onDeliveries: (deliveries) => {
          for (const delivery of deliveries) {
            delivery.ack()
            inbox.#take(delivery.message)
          }
        },
      })
      return inbox
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  private constructor(connection: Connection, address: Inbox['address'], lamport: LamportClock) {
    this.connection = connection
    this.address = address
    this.#lamport = lamport
    void connection.closed.then(() => {
      for (const listener of this.#waiting.values()) listener(undefined)
    })
  }

  reserve(): void {
    this.#users++
  }

  get isUnused(): boolean {
    return this.#users === 0
  }

  /** Undefined: there will be no more answers. */
  listen(ticket: string, listener: (reply: Reply | undefined) => void): void {
    this.#waiting.set(ticket, listener)
  }

  forget(ticket: string): void {
    this.#users--
    this.#waiting.delete(ticket)
  }

  #take(message: Message): void {
    this.#lamport.adjust(message.headers.clock)
    const listener = this.#waiting.get(String(message.headers.ticket))
    if (listener === undefined || message.contentType !== json.contentType) return
    let reply: Reply
    try {
      reply = decodeReply(decodeJson(message.body))
    } catch {
      // Whoever sent it has not answered.
      return
    }
    listener(reply)
  }
}

/** Ends after so long without a word. */
class Silence {
  readonly #clock: Clock
  readonly #ms: number
  onEnd: () => void = () => {}
  #timer: Timer | undefined

  constructor(clock: Clock, ms: number) {
    this.#clock = clock
    this.#ms = ms
  }

  again(): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.setTimer(this.#ms, () => this.onEnd(), { keepAlive: true })
  }

  cancel(): void {
    this.#timer?.cancel()
  }

  end(): void {
    this.cancel()
    this.onEnd()
  }
}
