/**
 * A channel of a consumer: the queues that share it, and how many messages the server may have out on it. When the channel is lost, its deliveries are, and it is
 * opened again; a queue that was deleted is declared and consumed again.
 *
 * Where all queues are classic, one limit is for all of them (`global`). The server has no such limit for quorum queues, nor for any since 4.0: there each queue
 * has its own (`each`), and a higher limit means one more subscription.
 */
import { CeleriacError, ConnectionError, QueueMissingError } from '../../errors.js'
import type { AmqpMessage } from '../../internal/amqp/amqplib.js'
import type { AmqpLink, OpenChannel } from '../../internal/amqp/link.js'
import { refusalOf, wordsOf } from '../../internal/amqp/reply.js'
import { Backoff } from '../../internal/backoff.js'
import type { Clock } from '../../internal/clock.js'
import type { Logger } from '../../internal/logger.js'
import type { Held } from './delivery.js'
import { Settlements } from './settlements.js'
import { refused } from './topology.js'

/** The server takes no larger one; 0 would be no limit. */
const mostPrefetch = 65_535
/** Tries to consume again before the connection is given up. */
const mostTries = 8

export interface LaneParts {
  readonly link: AmqpLink
  readonly mode: 'global' | 'each'
  readonly clock: Clock
  readonly log: Logger
  readonly onMessage: (lane: Lane, queue: string, message: AmqpMessage) => void
  /** What is out on it is lost. */
  readonly onLost: (lane: Lane) => void
  readonly declareAgain: (queue: string) => Promise<void>
}

interface Subscription {
  readonly tag: string
  readonly limit: number
  readonly listener: (message: AmqpMessage | null) => void
}

export class Lane {
  readonly #parts: LaneParts
  readonly #queues = new Map<string, readonly Subscription[]>()
  #channel: OpenChannel | undefined
  /** Of the channel at this moment. */
  settlements: Settlements | undefined
  #limit = 0
  /** What the server was told for all. */
  #told = 0
  #work: Promise<unknown> = Promise.resolve()
  #tags = 0
  #isClosed = false
  #adjusting = false

  constructor(parts: LaneParts) {
    this.#parts = parts
  }

  /** Whether the broker counts what is lost on it. */
  get counts(): boolean {
    return this.#parts.mode === 'each'
  }

  get queues(): readonly string[] {
    return [...this.#queues.keys()]
  }

  /** Consumes the queue as well. Throws QueueMissingError. */
  add(queue: string): Promise<void> {
    return this.#next(async () => {
      if (this.#queues.has(queue)) return
      this.#queues.set(queue, [])
      try {
        await this.#subscribe(await this.#opened(), queue, this.#limit)
      } catch (error) {
        this.#queues.delete(queue)
        throw consumeError(queue, error)
      }
    })
  }

  remove(queue: string): Promise<void> {
    return this.#next(async () => {
      const subscriptions = this.#queues.get(queue) ?? []
      this.#queues.delete(queue)
      if (this.#channel?.isOpen === true) await this.#unsubscribe(this.#channel, subscriptions).catch(() => {})
    })
  }

  /** How many messages may be out; at least one, since the server knows no less. */
  limit(count: number): void {
    this.#limit = Math.max(1, Math.min(count, mostPrefetch))
    if (this.#adjusting || this.#isClosed || this.#channel === undefined) return
    this.#adjusting = true
    setImmediate(() => {
      this.#adjusting = false
      // A channel or link that ends meanwhile says so itself.
      this.#next(() => this.#adjust()).catch(() => {})
    })
  }

  /** What is out on its channel. */
  *open(): Iterable<Held> {
    const on = this.settlements
    if (on === undefined) return
    for (const { raw, queue } of on.open()) yield { raw, queue, on }
  }

  /** No message comes any more; what is out can still be settled. */
  async stop(): Promise<void> {
    for (const queue of this.queues) await this.remove(queue)
  }

  /** What was said is written; what is out goes back to its place. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#work.catch(() => {})
    this.settlements?.flushAll()
    const closing = this.#channel?.close()
    this.#lose()
    if (closing !== undefined) await this.#parts.link.holding(closing)
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(() => {
      if (this.#isClosed) throw new ConnectionError('the consumer is closed')
      return work()
    })
    this.#work = done.catch(() => {})
    return done
  }

  async #opened(): Promise<OpenChannel> {
    if (this.#channel?.isOpen === true) return this.#channel
    const channel = await this.#parts.link.openChannel()
    this.#channel = channel
    this.settlements = new Settlements(channel.api, this.counts)
    this.#told = 0
    void channel.ended.then((reason) => this.#ended(channel, reason))
    return channel
  }

  async #subscribe(channel: OpenChannel, queue: string, limit: number): Promise<void> {
    const { link, mode } = this.#parts
    if (mode === 'each' || this.#told !== limit) await link.holding(channel.api.prefetch(limit, mode === 'global'))
    if (mode === 'global') this.#told = limit
    const { settlements } = this
    const subscription: Subscription = {
      tag: `celeriac-${++this.#tags}`,
      limit,
      listener: (message) => {
        if (message === null) this.#cancelled(queue, subscription)
        else if (settlements?.isOpen === true) {
          settlements.received(message, queue)
          this.#parts.onMessage(this, queue, message)
        }
      },
    }
    const before = this.#queues.get(queue) ?? []
    // Before the answer: the end of the subscription may come right behind it.
    this.#queues.set(queue, [...before, subscription])
    try {
      await link.holding(channel.api.consume(queue, subscription.listener, { consumerTag: subscription.tag }))
    } catch (error) {
      this.#queues.set(queue, before)
      throw error
    }
  }

  async #unsubscribe(channel: OpenChannel, subscriptions: readonly Subscription[]): Promise<void> {
    for (const { tag, listener } of subscriptions) {
      await this.#parts.link.holding(channel.api.cancel(tag))
      // A quorum queue may have sent something by then, and the library has forgotten who takes it.
      channel.api.registerConsumer(tag, listener)
    }
  }

  async #adjust(): Promise<void> {
    const channel = this.#channel
    const limit = this.#limit
    if (channel?.isOpen !== true) return
    if (this.#parts.mode === 'global') {
      if (this.#told === limit) return
      this.#told = limit
      await this.#parts.link.holding(channel.api.prefetch(limit, true))
      return
    }
    for (const [queue, subscriptions] of this.#queues) {
      if (subscriptions.length === 0) continue
      const sum = subscriptions.reduce((total, each) => total + each.limit, 0)
      // One more, since what is out on one that ends is counted twice when it goes back; each of them makes a good step, so that they stay few.
      if (limit > sum) await this.#subscribe(channel, queue, subscriptions.length === 1 ? limit - sum : Math.max(limit - sum, sum))
      // Too many do no harm: who is above holds them back.
      else if (sum >= 4 * limit && this.settlements?.count === 0) {
        this.#queues.set(queue, [])
        await this.#subscribe(channel, queue, limit)
        // Only now: a queue may go with its last consumer.
        await this.#unsubscribe(channel, subscriptions)
      }
    }
  }

  /** The server ended a subscription: its queue was deleted. */
  #cancelled(queue: string, subscription: Subscription): void {
    const { log } = this.#parts
    // All of a queue end together.
    if (this.#queues.get(queue)?.includes(subscription) !== true || this.#isClosed) return
    log.warn({ queue }, deleted(queue))
    this.#queues.set(queue, [])
    void this.#again(async () => {
      const channel = await this.#opened()
      if (this.#queues.get(queue)?.length !== 0) return
      await this.#parts.declareAgain(queue)
      await this.#subscribe(channel, queue, this.#limit)
      log.info({ queue }, `queue ${queue} is there again`)
    })
  }

  #ended(channel: OpenChannel, reason: Error | undefined): void {
    const { link, log } = this.#parts
    if (this.#channel !== channel) return
    this.#lose()
    if (reason === undefined || this.#isClosed || !link.isOpen) return
    log.error({ err: reason }, whyLost(reason))
    void this.#again(async () => {
      const opened = await this.#opened()
      for (const queue of this.queues) {
        if (this.#queues.get(queue)?.length !== 0) continue
        await this.#parts.declareAgain(queue)
        await this.#subscribe(opened, queue, this.#limit)
        log.info({ queue }, `queue ${queue} is there again`)
      }
    })
  }

  /** Until it succeeds, within about two seconds; then the connection is of no use. */
  async #again(work: () => Promise<void>): Promise<void> {
    const { clock, link } = this.#parts
    const backoff = new Backoff({ firstMs: 50, maxMs: 500 })
    for (let tries = 1; link.isOpen && !this.#isClosed; tries++) {
      try {
        await this.#next(work)
        return
      } catch (error) {
        if (tries >= mostTries) return this.#giveUp(error)
      }
      const waitMs = backoff.next()
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve))
    }
  }

  #giveUp(error: unknown): void {
    if (this.#isClosed) return
    this.#parts.link.destroy(error instanceof Error ? error : new Error(String(error)))
  }

  #lose(): void {
    this.settlements?.lose()
    this.settlements = undefined
    this.#channel = undefined
    for (const queue of this.queues) this.#queues.set(queue, [])
    this.#parts.onLost(this)
  }
}

function deleted(queue: string): string {
  return `queue ${queue} was deleted under its consumer: it is declared and consumed again`
}

/** Which timeout it was, since its remedy is not where the message is. */
function whyLost(reason: Error): string {
  const text = refusalOf(reason)?.text ?? ''
  const timedOut = /delivery acknowledgement on channel \d+ timed out\. Timeout value used: (\d+) ms/.exec(text)?.[1]
  if (timedOut !== undefined || /delivery acknowledgement on channel/.test(text))
    return (
      `RabbitMQ took back all messages of this channel: one of them was not acknowledged within its consumer_timeout${timedOut === undefined ? '' : ` of ${Number(timedOut) / 1000} s`}. ` +
      'They run again, here or elsewhere. Tasks that run longer need a larger consumer_timeout in rabbitmq.conf (or by policy), or acksLate: false'
    )
  const gone = /no queue '([\s\S]*)' in vhost/.exec(text)?.[1]
  if (gone !== undefined) return deleted(gone)
  return `a channel to RabbitMQ was lost and is opened again; its messages run again, here or elsewhere: ${wordsOf(reason)}`
}

/** A queue that another connection has for itself is none for this one. */
function consumeError(queue: string, error: unknown): Error {
  const refusal = refusalOf(error)
  if (refusal?.code === 404 || refusal?.code === 405) return new QueueMissingError(queue)
  if (refusal !== undefined) return refused(refusal, `to consume queue ${JSON.stringify(queue)}`)
  if (error instanceof CeleriacError) return error
  return new ConnectionError('the connection to RabbitMQ was lost', { cause: error })
}
