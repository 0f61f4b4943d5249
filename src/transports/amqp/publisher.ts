/**
 * Publishes with confirms: each message has one deadline for all that may hold it up, and one of three ends.
 *
 *   waiting ──written──▶ sent ──ack──▶ done
 *      │                  ├──returned, nack, refused──▶ NotPublishedError
 *      └─deadline, loss─┐ └──deadline, loss──▶ PublishUncertainError
 *                       └──▶ NotPublishedError
 */
import { BrokerFullError, EncodeError, NotPublishedError, PublishUncertainError, TimeoutError, TooLargeError } from '../../errors.js'
import type { AmqpConfirmChannel, AmqpMessage } from '../../internal/amqp/amqplib.js'
import type { AmqpLink, OpenChannel, Unhold } from '../../internal/amqp/link.js'
import { refusalOf, wordsOf } from '../../internal/amqp/reply.js'
import type { Clock, Timer } from '../../internal/clock.js'
import type { Destination } from '../../protocol/topology.js'
import type { Outgoing } from './wire.js'

/** Messages that wait to be written, at most: a program that sends faster than its broker takes is told. */
const mostWaiting = 100_000
/** A server allows so many bytes in a message unless it is told otherwise. */
const largestBefore4 = 128 * 1024 ** 2
const largestSince4 = 16 * 1024 ** 2

interface Entry extends Outgoing {
  readonly to: Destination
  readonly mandatory: boolean
  readonly deadlineAtMs: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  state: 'waiting' | 'sent' | 'ended'
  /** Why it came back. */
  returned: string | undefined
}

interface PublisherParts {
  readonly clock: Clock
  readonly window: number
  readonly confirms: boolean
  readonly maxMessageSize: number | undefined
  readonly link: () => Promise<AmqpLink>
}

/** The default exchange is always there; a message to one that is not ends the channel, and with it what else is on its way there. */
type Road = 'default' | 'named'

export class Publisher {
  readonly #parts: PublisherParts
  readonly #channels: Record<Road, OpenChannel<AmqpConfirmChannel> | undefined> = { default: undefined, named: undefined }
  readonly #opening = new Set<Road>()
  readonly #sent: Record<Road, Set<Entry>> = { default: new Set(), named: new Set() }
  #waiting: Entry[] = []
  #link: AmqpLink | undefined
  #linking = false
  #maxBytes: number | undefined
  #timer: { readonly timer: Timer; readonly atMs: number } | undefined
  #unhold: Unhold | undefined
  /** Messages without an outcome. */
  #open = 0
  #lost: Error | undefined
  #idle: (() => void)[] = []

  constructor(parts: PublisherParts) {
    this.#parts = parts
    this.#maxBytes = parts.maxMessageSize
  }

  /** `mandatory`: a message that no queue takes is refused. */
  publish(
    { content, properties }: Outgoing,
    to: Destination,
    { deadlineMs, mandatory }: { readonly deadlineMs: number; readonly mandatory: boolean },
  ): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (this.#lost !== undefined) throw lostBefore(this.#lost)
      this.#checkSize(content)
      if (this.#waiting.length >= mostWaiting)
        throw new BrokerFullError(`the message was not published: ${mostWaiting} others wait for RabbitMQ to take them`)
      const deadlineAtMs = this.#parts.clock.monotonic() + deadlineMs
      const entry: Entry = { content, properties, to, mandatory, deadlineAtMs, resolve, reject, state: 'waiting', returned: undefined }
      this.#open++
      try {
        if (this.#waiting.length > 0 || !this.#write(entry)) this.#waiting.push(entry)
      } catch (error) {
        this.#end(entry, error)
      }
      if (entry.state !== 'ended') this.#watch(deadlineAtMs)
      this.#holdWhileBusy()
    })
  }

  /** Settles when everything that was published has its outcome. */
  async idle(): Promise<void> {
    if (this.#isBusy) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  /** The link is lost, or will be closed. */
  end(reason: Error): void {
    this.#lost ??= reason
    this.#timer?.timer.cancel()
    for (const entry of this.#waiting.splice(0)) this.#end(entry, lostBefore(reason))
    for (const road of ['default', 'named'] as const) {
      for (const entry of this.#sent[road])
        this.#end(
          entry,
          new PublishUncertainError('the connection to RabbitMQ was lost before it confirmed the message; it may have it', {
            cause: reason,
          }),
        )
      this.#sent[road].clear()
    }
    this.#settled()
  }

  get #inFlight(): number {
    return this.#sent.default.size + this.#sent.named.size
  }

  get #isBusy(): boolean {
    return this.#open > 0 || (!this.#parts.confirms && this.#inFlight > 0)
  }

  /** False: not now. Throws what is wrong with the message itself. */
  #write(entry: Entry): boolean {
    const link = this.#readyLink()
    if (link === undefined || link.blocked !== undefined || this.#inFlight >= this.#parts.window) return false
    const road = entry.to.exchange === '' ? 'default' : 'named'
    const channel = this.#readyChannel(link, road)
    if (channel === undefined) return false
    const { to, content, properties, mandatory } = entry
    const { confirms } = this.#parts
    const sent = this.#sent[road]
    try {
      channel.api.publish(to.exchange, to.routingKey, content, mandatory ? { ...properties, mandatory } : properties, (error) =>
        this.#confirmed(entry, sent, error),
      )
    } catch (error) {
      // Nothing was written: the library encodes first.
      throw new EncodeError('the headers or properties', `cannot be written: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      })
    }
    entry.state = 'sent'
    sent.add(entry)
    // Whoever does not wait for the broker is done; the connection is not.
    if (!confirms) this.#end(entry)
    return true
  }

  #pump(): void {
    let written = 0
    for (const entry of this.#waiting) {
      try {
        if (entry.state === 'waiting' && !this.#write(entry)) break
      } catch (error) {
        this.#end(entry, error)
      }
      written++
    }
    if (written > 0) this.#waiting = this.#waiting.slice(written)
    this.#settled()
  }

  #confirmed(entry: Entry, sent: Set<Entry>, error: Error | null): void {
    // The end of its channel tells more.
    if (error !== null && /channel closed/i.test(error.message)) return
    if (!sent.delete(entry)) return
    if (error !== null) {
      this.#end(
        entry,
        new BrokerFullError('the message was not published: RabbitMQ could not take it (nack): a queue is full, or a node has a fault', {
          cause: error,
        }),
      )
    } else if (entry.returned !== undefined) this.#end(entry, unroutable(entry.to, entry.returned))
    else this.#end(entry)
    if (this.#waiting.length > 0) this.#pump()
    else this.#settled()
  }

  #returned(road: Road, { fields, properties }: AmqpMessage): void {
    // Which one it was is not told: of those that are alike, all come back.
    for (const entry of this.#sent[road]) {
      if (entry.returned !== undefined || !entry.mandatory) continue
      if (entry.to.exchange !== fields.exchange || entry.to.routingKey !== fields.routingKey) continue
      if (entry.properties.correlationId !== properties.correlationId) continue
      entry.returned = fields.replyText ?? ''
      return
    }
  }

  #readyLink(): AmqpLink | undefined {
    if (this.#link !== undefined || this.#linking) return this.#link
    this.#linking = true
    this.#parts.link().then(
      (link) => {
        this.#link = link
        this.#maxBytes ??= link.version >= 400 ? largestSince4 : largestBefore4
        link.onBlocked = () => this.#pump()
        void link.ended.then((reason) => this.end(reason ?? new Error('it was closed')))
        this.#holdWhileBusy()
        this.#pump()
      },
      (error: unknown) => this.end(error instanceof Error ? error : new Error(String(error))),
    )
    return undefined
  }

  #readyChannel(link: AmqpLink, road: Road): OpenChannel<AmqpConfirmChannel> | undefined {
    const channel = this.#channels[road]
    if (channel?.isOpen === true) return channel
    if (this.#opening.has(road)) return undefined
    this.#opening.add(road)
    link.openConfirmChannel().then(
      (opened) => {
        this.#opening.delete(road)
        this.#channels[road] = opened
        opened.api.on('return', (message) => this.#returned(road, message))
        void opened.ended.then((reason) => this.#channelEnded(road, reason ?? new Error('it was closed')))
        this.#pump()
      },
      (error: unknown) => link.destroy(error instanceof Error ? error : new Error(String(error))),
    )
    return undefined
  }

  /** The server takes messages in order: the one that it refused is the first it could be, and what came after it was never looked at. */
  #channelEnded(road: Road, reason: Error): void {
    const entries = [...this.#sent[road]]
    if (this.#lost !== undefined || entries.length === 0 || this.#link?.isOpen !== true) return
    this.#sent[road].clear()
    const refusal = refusalOf(reason)
    const limit = /message size \d+ is larger than configured max size (\d+)/.exec(refusal?.text ?? '')?.[1]
    if (limit !== undefined) this.#maxBytes = Number(limit)
    const isRefused = ({ to, content }: Entry): boolean =>
      limit === undefined ? refusal?.text.includes(`exchange '${to.exchange}'`) === true : content.length > Number(limit)
    const culprit = entries.findIndex(isRefused)
    const behind: Entry[] = []
    for (const [index, entry] of entries.entries()) {
      if (culprit === -1 || index < culprit)
        this.#end(
          entry,
          new PublishUncertainError(`RabbitMQ ended the channel before it confirmed the message: ${wordsOf(reason)}`, { cause: reason }),
        )
      else if (isRefused(entry)) {
        this.#end(
          entry,
          limit === undefined
            ? new NotPublishedError(`the message was not published: RabbitMQ says ${JSON.stringify(refusal?.text)}`, { cause: reason })
            : new TooLargeError('the message', entry.content.length, Number(limit)),
        )
      } else if (entry.state === 'sent') {
        entry.state = 'waiting'
        behind.push(entry)
      }
    }
    this.#waiting = [...behind, ...this.#waiting]
    this.#pump()
  }

  #checkSize(content: Buffer): void {
    if (this.#maxBytes !== undefined && content.length > this.#maxBytes)
      throw new TooLargeError('the message', content.length, this.#maxBytes)
  }

  // deadlines

  /** One timer for all: it ends what is late, and waits again for the rest. */
  #watch(deadlineAtMs: number): void {
    if (this.#timer !== undefined && this.#timer.atMs <= deadlineAtMs) return
    this.#timer?.timer.cancel()
    const { clock } = this.#parts
    const timer = clock.setTimer(Math.max(0, deadlineAtMs - clock.monotonic()), () => {
      this.#timer = undefined
      this.#endLate()
    })
    this.#timer = { timer, atMs: deadlineAtMs }
  }

  #endLate(): void {
    const nowMs = this.#parts.clock.monotonic()
    let next = Number.POSITIVE_INFINITY
    const isLate = (entry: Entry): boolean => {
      // Timers may be a fraction early.
      if (entry.deadlineAtMs <= nowMs + 1) return true
      next = Math.min(next, entry.deadlineAtMs)
      return false
    }
    const late = new TimeoutError('the deadline of the publish is over')
    const blocked = this.#link?.blocked
    const waiting = this.#waiting.filter((entry) => !isLate(entry))
    for (const entry of this.#waiting) if (entry.deadlineAtMs <= nowMs + 1) this.#end(entry, notTaken(blocked, late))
    this.#waiting = waiting
    for (const road of ['default', 'named'] as const) {
      for (const entry of this.#sent[road]) {
        if (!isLate(entry)) continue
        // It keeps its place in the window: the broker may be choking on it.
        this.#end(
          entry,
          new PublishUncertainError(
            `RabbitMQ did not confirm the message until the deadline${blocked === undefined ? '' : `, as it takes none at the moment (${blocked})`}; it may have it`,
            { cause: late },
          ),
        )
      }
    }
    if (next !== Number.POSITIVE_INFINITY) this.#watch(next)
    this.#settled()
  }

  #end(entry: Entry, error?: unknown): void {
    if (entry.state === 'ended') return
    entry.state = 'ended'
    this.#open--
    if (error === undefined) entry.resolve()
    else entry.reject(error)
  }

  #holdWhileBusy(): void {
    if (this.#isBusy && this.#link !== undefined) this.#unhold ??= this.#link.hold()
  }

  #settled(): void {
    if (this.#isBusy) return
    this.#unhold?.()
    this.#unhold = undefined
    this.#timer?.timer.cancel()
    this.#timer = undefined
    for (const resolve of this.#idle.splice(0)) resolve()
  }
}

function lostBefore(cause: Error): NotPublishedError {
  return new NotPublishedError(`the message was not published: ${cause.message}`, { cause })
}

function notTaken(blocked: string | undefined, cause: Error): NotPublishedError {
  return blocked === undefined
    ? new NotPublishedError('the message was not published: RabbitMQ did not take it until the deadline', { cause })
    : new BrokerFullError(`the message was not published: RabbitMQ takes none at the moment (${blocked})`, { cause })
}

function unroutable({ exchange, routingKey }: Destination, text: string): NotPublishedError {
  return new NotPublishedError(
    exchange === ''
      ? `the message was not published: there is no queue ${JSON.stringify(routingKey)} (${text})`
      : `the message was not published: no queue is bound to the exchange ${JSON.stringify(exchange)} with the routing key ${JSON.stringify(routingKey)} (${text})`,
  )
}
