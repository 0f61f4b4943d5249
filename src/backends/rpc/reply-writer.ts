/**
 * Results on their way to who asked: each is confirmed by the server, in the order in which they were given. What was not confirmed when the connection was lost
 * is sent again on the next one; a state that comes twice changes nothing.
 */
import { BackendFullError, ConnectionError } from '../../errors.js'
import type { AmqpConfirmChannel } from '../../internal/amqp/amqplib.js'
import type { AmqpLink, OpenChannel } from '../../internal/amqp/link.js'
import { Backoff } from '../../internal/backoff.js'
import type { Clock, Timer } from '../../internal/clock.js'
import type { RpcBrokers } from './brokers.js'

const deadlineMs = 10_000

export interface Reply {
  readonly to: string
  readonly correlationId: string
  readonly body: Buffer
  readonly expiresSeconds: number | null
}

interface Pending extends Reply {
  readonly untilMs: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

interface Opened {
  readonly link: AmqpLink
  readonly channel: OpenChannel<AmqpConfirmChannel>
}

export class ReplyWriter {
  readonly #brokers: RpcBrokers
  readonly #clock: Clock
  readonly #deliveryMode: number
  readonly #backoff = new Backoff({ firstMs: 50, maxMs: 1_000 })
  readonly #closing = new AbortController()
  /** In the order in which they were given, and so of their deadlines. */
  readonly #pending = new Set<Pending>()
  #opened: Opened | undefined
  #opening: Promise<void> | undefined
  #again: Timer | undefined
  #deadline: Timer | undefined
  #trouble: Error | undefined
  #whenDrained: (() => void) | undefined

  constructor(brokers: RpcBrokers, { clock, persistent }: { readonly clock: Clock; readonly persistent: boolean }) {
    this.#brokers = brokers
    this.#clock = clock
    this.#deliveryMode = persistent ? 2 : 1
  }

  /** Settles when the server has it, or knows that nobody has such a queue. Rejects with ConnectionError or BackendFullError. */
  send(reply: Reply): Promise<void> {
    return new Promise((resolve, reject) => {
      const pending = { ...reply, untilMs: this.#clock.monotonic() + deadlineMs, resolve, reject }
      this.#pending.add(pending)
      this.#deadline ??= this.#clock.setTimer(deadlineMs, () => this.#endOverdue(), { keepAlive: true })
      if (this.#opened === undefined) void this.#open()
      else this.#write(this.#opened, pending)
    })
  }

  /** After the confirms that are due. Safe twice. */
  async close(): Promise<void> {
    if (this.#pending.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenDrained = resolve
      })
    }
    this.#closing.abort(new ConnectionError('the rpc result backend is closed'))
    this.#again?.cancel()
    await this.#opening
    await this.#opened?.link.close()
  }

  #write({ channel }: Opened, pending: Pending): void {
    const { to, correlationId, body, expiresSeconds } = pending
    const properties = {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: {},
      deliveryMode: this.#deliveryMode,
      priority: 0,
      correlationId,
      ...(expiresSeconds === null ? {} : { expiration: String(Math.ceil(expiresSeconds * 1000)) }),
    }
    const confirmed = (error: Error | null): void => {
      // When the channel is lost all of them are told so: they are written again.
      if (error !== null && !channel.isOpen) return
      this.#settle(pending, error === null ? undefined : new ConnectionError('the broker refused a result', { cause: error }))
    }
    try {
      channel.api.publish('', to, body, properties, confirmed)
    } catch (error) {
      if (channel.isOpen) this.#settle(pending, new ConnectionError('a result could not be written', { cause: error }))
    }
  }

  /** Never rejects. */
  #open(): Promise<void> {
    this.#opening ??= this.#tryToOpen().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #tryToOpen(): Promise<void> {
    const { signal } = this.#closing
    let link: AmqpLink | undefined
    try {
      link = await this.#brokers.open({ signal, name: 'celeriac:replies' })
      const channel = await link.openConfirmChannel()
      const opened = { link, channel }
      this.#opened = opened
      this.#trouble = undefined
      this.#backoff.reset()
      void Promise.race([channel.ended, link.ended]).then((reason) => this.#lost(opened, reason))
      for (const pending of [...this.#pending]) this.#write(opened, pending)
    } catch (error) {
      this.#trouble = error instanceof Error ? error : new Error(String(error))
      link?.destroy(this.#trouble)
      this.#openLater()
    }
  }

  #lost(opened: Opened, reason: Error | undefined): void {
    if (this.#opened !== opened) return
    this.#opened = undefined
    this.#trouble = reason
    opened.link.destroy(reason ?? new Error('its channel is lost'))
    this.#openLater()
  }

  #openLater(): void {
    if (this.#pending.size === 0 || this.#closing.signal.aborted) return
    this.#again?.cancel()
    this.#again = this.#clock.setTimer(this.#backoff.next(), () => void this.#open(), { keepAlive: true })
  }

  #endOverdue(): void {
    const nowMs = this.#clock.monotonic()
    for (const pending of this.#pending) {
      if (pending.untilMs > nowMs) break
      this.#settle(pending, this.#overdue())
    }
    this.#deadline = undefined
    const [oldest] = this.#pending
    if (oldest !== undefined) this.#deadline = this.#clock.setTimer(oldest.untilMs - nowMs, () => this.#endOverdue(), { keepAlive: true })
  }

  #overdue(): Error {
    const blocked = this.#opened?.link.blocked
    if (blocked !== undefined) return new BackendFullError(`RabbitMQ takes no results at the moment (${blocked})`)
    const reason = this.#trouble === undefined ? '' : `: ${this.#trouble.message}`
    return new ConnectionError(`a result was not confirmed by the broker within ${deadlineMs / 1000} s${reason}`, { cause: this.#trouble })
  }

  #settle(pending: Pending, error: Error | undefined): void {
    if (!this.#pending.delete(pending)) return
    if (error === undefined) pending.resolve()
    else pending.reject(error)
    if (this.#pending.size > 0) return
    this.#deadline?.cancel()
    this.#deadline = undefined
    this.#whenDrained?.()
  }
}
