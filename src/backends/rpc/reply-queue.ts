/**
 * The queue that results come to, on a connection of its own:
 *
 *   closed ──open()──▶ opening ──▶ open ⇄ lost ──close()──▶ gone, with its queue
 *
 * Once open it is opened again whenever it is lost: the queue outlives its connection for an hour, so that nothing is missed.
 */
import { ConnectionError } from '../../errors.js'
import type { AmqpMessage } from '../../internal/amqp/amqplib.js'
import type { AmqpLink, OpenChannel } from '../../internal/amqp/link.js'
import { refusalOf } from '../../internal/amqp/reply.js'
import { Backoff } from '../../internal/backoff.js'
import type { Clock, Timer } from '../../internal/clock.js'
import type { RpcBrokers } from './brokers.js'

/** How long RabbitMQ keeps the queue of a process that is gone, or cannot be reached. */
const queueExpiresMs = 3_600_000

export interface ReplyQueueEvents {
  readonly onReply: (message: AmqpMessage) => void
  /** The server has no such queue any more: what was in it is lost. */
  readonly onQueueGone: () => void
}

interface Opened {
  readonly link: AmqpLink
  readonly channel: OpenChannel
}

export class ReplyQueue {
  readonly name: string
  readonly #brokers: RpcBrokers
  readonly #clock: Clock
  readonly #events: ReplyQueueEvents
  readonly #backoff = new Backoff({ firstMs: 50, maxMs: 1_000 })
  readonly #closing = new AbortController()
  #opened: Opened | undefined
  #opening: Promise<Opened> | undefined
  #again: Timer | undefined
  #wasOpen = false

  constructor(name: string, brokers: RpcBrokers, { clock, ...events }: ReplyQueueEvents & { readonly clock: Clock }) {
    this.name = name
    this.#brokers = brokers
    this.#clock = clock
    this.#events = events
  }

  /** Undefined: it is open. Rejects with ConnectionError when this try fails; the next one is the next call, or comes by itself once it was open. */
  open(): Promise<void> | undefined {
    return this.#opened === undefined ? this.#open().then(() => undefined) : undefined
  }

  /** Until everything has come that the server had when it was asked. */
  async caughtUp(): Promise<void> {
    // Before its first opening nobody was told its name.
    if (!this.#wasOpen) return
    const { link, channel } = this.#opened ?? (await this.#open())
    // The server answers behind what it has sent before.
    await link.holding(channel.api.checkQueue(this.name))
  }

  /** Removes the queue. Safe twice. */
  async close(): Promise<void> {
    this.#closing.abort(new ConnectionError('the rpc result backend is closed'))
    this.#again?.cancel()
    const opened = this.#opened
    this.#opened = undefined
    await this.#opening?.catch(() => undefined)
    if (opened === undefined || !opened.link.isOpen) return
    if (opened.channel.isOpen) await opened.link.holding(opened.channel.api.deleteQueue(this.name)).catch(() => undefined)
    await opened.link.close()
  }

  #open(): Promise<Opened> {
    this.#again?.cancel()
    this.#opening ??= this.#tryToOpen().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #tryToOpen(): Promise<Opened> {
    const { signal } = this.#closing
    signal.throwIfAborted()
    let link: AmqpLink | undefined
    try {
      link = await this.#brokers.open({ signal, name: 'celeriac:results' })
      const channel = await link.holding(this.#consume(link))
      signal.throwIfAborted()
      const opened = { link, channel }
      this.#opened = opened
      this.#wasOpen = true
      this.#backoff.reset()
      void Promise.race([channel.ended, link.ended]).then(() => this.#lost(opened))
      return opened
    } catch (error) {
      link?.destroy(error instanceof Error ? error : new Error(String(error)))
      this.#openLater()
      if (error instanceof ConnectionError || signal.aborted) throw error
      throw new ConnectionError(`the queue for results could not be opened: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      })
    }
  }

  async #consume(link: AmqpLink): Promise<OpenChannel> {
    if (this.#wasOpen && !(await this.#isThere(link))) this.#events.onQueueGone()
    const channel = await link.openChannel()
    await channel.api.assertQueue(this.name, {
      durable: true,
      exclusive: false,
      // Python's go with their consumer: a result that comes while the connection is away would be lost.
      autoDelete: false,
      arguments: { 'x-expires': queueExpiresMs },
    })
    await channel.api.consume(
      this.name,
      (message) => {
        if (message !== null) this.#events.onReply(message)
        // Somebody has deleted the queue.
        else void channel.close()
      },
      { noAck: true },
    )
    return channel
  }

  /** Asked on a channel of its own, which a refusal closes. */
  async #isThere(link: AmqpLink): Promise<boolean> {
    const channel = await link.openChannel()
    try {
      await channel.api.checkQueue(this.name)
      return true
    } catch (error) {
      if (refusalOf(error)?.code === 404) return false
      throw error
    } finally {
      await channel.close()
    }
  }

  #lost(opened: Opened): void {
    if (this.#opened !== opened) return
    this.#opened = undefined
    opened.link.destroy(new Error('its channel is lost'))
    this.#openLater()
  }

  #openLater(): void {
    if (!this.#wasOpen || this.#closing.signal.aborted) return
    this.#again?.cancel()
    // Who waits for a result keeps the process running.
    this.#again = this.#clock.setTimer(this.#backoff.next(), () => void this.#open().catch(() => undefined))
  }
}
