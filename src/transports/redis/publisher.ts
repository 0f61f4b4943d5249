/** Publishes of one tick: one LPUSH for each list, however many messages. */
import { BrokerFullError, FencedError, NotPublishedError, PublishUncertainError, TimeoutError } from '../../errors.js'
import type { Clock, Timer } from '../../internal/clock.js'
import { integerOf, LinkLostError, type RedisLink, RedisReplyError } from '../../internal/redis/link.js'
import type { Message } from '../../protocol/message.js'
import { mustRoute } from '../../protocol/routing.js'
import type { Destination } from '../../protocol/topology.js'
import type { Fence, PublishOptions } from '../../transport.js'
import { writeEnvelope } from './envelope.js'
import { pushFenced } from './fences.js'
import type { Layout } from './layout.js'
import type { RedisTopology } from './topology.js'

/** Redis answers a command of a thousand messages in a millisecond or two; longer ones would make others wait. */
const largestPush = 1_000

interface Entry {
  readonly envelope: string
  readonly priority: number | undefined
  readonly to: Destination
  readonly fences: readonly Fence[] | undefined
  readonly deadlineMs: number
  deadlineAtMs: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  state: 'waiting' | 'sent' | 'ended'
}

interface Push {
  readonly entry: Entry
  readonly list: string
}

interface PublisherParts {
  readonly layout: Layout
  readonly topology: RedisTopology
  readonly clock: Clock
  readonly waitReplicas: number
  /** The link, or undefined when there is none. */
  readonly link: () => RedisLink | undefined
  /** Some of it may be for this connection's own consumers. */
  readonly onWritten: () => void
  /** Told when the server says that it cannot take writes now: another connection may find one that can. */
  readonly onElsewhere: (link: RedisLink, error: RedisReplyError) => void
}

export class Publisher {
  readonly #parts: PublisherParts
  readonly #unsettled = new Set<Promise<void>>()
  #batch: Entry[] = []

  constructor(parts: PublisherParts) {
    this.#parts = parts
  }

  publish(message: Message, to: Destination, { deadlineMs, fences }: PublishOptions): Promise<void> {
    const published = new Promise<void>((resolve, reject) => {
      // Written here: a header that cannot be written rejects this call alone (the promise takes what is thrown).
      const envelope = writeEnvelope(message, to)
      const { priority } = message.properties
      this.#batch.push({ envelope, priority, to, fences, deadlineMs, deadlineAtMs: 0, resolve, reject, state: 'waiting' })
      if (this.#batch.length === 1) setImmediate(() => this.#flush())
    })
    return published
  }

  /** Settles when everything that was published has its outcome. */
  async idle(): Promise<void> {
    while (this.#batch.length > 0 || this.#unsettled.size > 0) {
      if (this.#batch.length > 0) this.#flush()
      await Promise.all(this.#unsettled)
    }
  }

  #flush(): void {
    const batch = this.#batch
    this.#batch = []
    if (batch.length === 0) return
    // From here on, and not from the call: for how long this process makes messages is no fault of the server.
    const nowMs = this.#parts.clock.monotonic()
    for (const entry of batch) entry.deadlineAtMs = nowMs + entry.deadlineMs
    const timer = this.#watchDeadlines(batch)
    const sending = this.#send(batch)
      .catch((error: unknown) => {
        for (const entry of batch) end(entry, error)
      })
      .finally(() => {
        timer.cancel()
        this.#unsettled.delete(sending)
        this.#parts.onWritten()
      })
    this.#unsettled.add(sending)
  }

  async #send(batch: readonly Entry[]): Promise<void> {
    const link = this.#parts.link()
    if (link === undefined) throw new NotPublishedError('the message was not published: there is no connection to Redis at the moment')
    const pushes: Push[] = []
    const work: Promise<void>[] = []
    for (const entry of batch) {
      if (entry.to.exchange !== '') continue
      if (entry.fences === undefined) pushes.push(this.#push(entry, entry.to.routingKey))
      else work.push(this.#copy(link, entry, [entry.to.routingKey]))
    }
    work.push(this.#pushAll(link, pushes))
    for (const entry of batch) {
      if (entry.to.exchange === '') continue
      work.push(this.#parts.topology.typeOf(entry.to.exchange) === 'fanout' ? this.#broadcast(link, entry) : this.#route(link, entry))
    }
    await Promise.all(work)
  }

  #push(entry: Entry, queue: string): Push {
    return { entry, list: this.#parts.layout.listFor(queue, entry.priority) }
  }

  async #pushAll(link: RedisLink, pushes: readonly Push[]): Promise<void> {
    const byList = new Map<string, Entry[]>()
    for (const { entry, list } of pushes) {
      const same = byList.get(list)
      if (same === undefined) byList.set(list, [entry])
      else same.push(entry)
    }
    const work: Promise<void>[] = []
    for (const [list, entries] of byList) {
      for (let from = 0; from < entries.length; from += largestPush)
        work.push(this.#pushOne(link, list, entries.slice(from, from + largestPush)))
    }
    await Promise.all(work)
  }

  async #pushOne(link: RedisLink, list: string, entries: readonly Entry[]): Promise<void> {
    const open = entries.filter((entry) => entry.state === 'waiting')
    if (open.length === 0) return
    for (const entry of open) entry.state = 'sent'
    try {
      await this.#confirmed(link, link.call('LPUSH', [list, ...open.map(({ envelope }) => envelope)]), open)
      for (const entry of open) end(entry)
    } catch (error) {
      for (const entry of open) end(entry, this.#failure(link, error))
    }
  }

  /** One copy for each queue that is bound. */
  async #route(link: RedisLink, entry: Entry): Promise<void> {
    const { topology } = this.#parts
    const { exchange, routingKey } = entry.to
    let queues: readonly string[]
    try {
      queues = await topology.route(link, exchange, routingKey)
    } catch (error) {
      return end(entry, new NotPublishedError('the message was not published: Redis was lost before it was sent', { cause: error }))
    }
    if (entry.state === 'ended') return
    if (queues.length === 0) {
      const type = topology.typeOf(exchange)
      if (!mustRoute(entry.to, type)) return end(entry)
      return end(
        entry,
        new NotPublishedError(
          `the message was not published: no queue is bound to the ${type} exchange ${JSON.stringify(exchange)} with the routing key ${JSON.stringify(routingKey)}`,
        ),
      )
    }
    await this.#copy(link, entry, queues)
  }

  async #copy(link: RedisLink, entry: Entry, queues: readonly string[]): Promise<void> {
    const { layout } = this.#parts
    entry.state = 'sent'
    try {
      const lists = queues.map((queue) => layout.listFor(queue, entry.priority))
      const { envelope } = entry
      const pushed =
        entry.fences === undefined
          ? Promise.all(lists.map((list) => link.call('LPUSH', [list, envelope])))
          : pushFenced(link, layout, entry.fences, { lists, envelope })
      await this.#confirmed(link, pushed, [entry])
      end(entry)
    } catch (error) {
      end(entry, this.#failure(link, error))
    }
  }

  /** To whoever listens now. */
  async #broadcast(link: RedisLink, entry: Entry): Promise<void> {
    entry.state = 'sent'
    try {
      if (entry.fences !== undefined) await pushFenced(link, this.#parts.layout, entry.fences)
      await link.call('PUBLISH', [this.#parts.layout.channel(entry.to.exchange, entry.to.routingKey), entry.envelope])
      end(entry)
    } catch (error) {
      end(entry, this.#failure(link, error))
    }
  }

  /** The server's answer, and with `waitReplicas` that of its replicas. */
  async #confirmed(link: RedisLink, sent: Promise<unknown>, entries: readonly Entry[]): Promise<void> {
    const { waitReplicas, clock } = this.#parts
    if (waitReplicas === 0) {
      await sent
      return
    }
    const leftMs = Math.max(1, Math.min(...entries.map(({ deadlineAtMs }) => deadlineAtMs)) - clock.monotonic())
    const [, replicas] = await Promise.all([sent, link.call('WAIT', [waitReplicas, Math.floor(leftMs)])])
    const count = integerOf(replicas)
    if (count < waitReplicas) {
      throw new PublishUncertainError(
        `the primary has the message, but only ${count} of ${waitReplicas} replicas had it in time: a fail-over now might lose it`,
      )
    }
  }

  #failure(link: RedisLink, error: unknown): Error {
    if (error instanceof PublishUncertainError || error instanceof FencedError) return error
    if (error instanceof RedisReplyError) {
      if (error.meansElsewhere) this.#parts.onElsewhere(link, error)
      const sentence = `the message was not published: Redis says ${JSON.stringify(error.message)}`
      return error.code === 'OOM' ? new BrokerFullError(sentence, { cause: error }) : new NotPublishedError(sentence, { cause: error })
    }
    if (error instanceof LinkLostError && !error.wasSent)
      return new NotPublishedError('the message was not published: the connection to Redis was lost before', { cause: error })
    return new PublishUncertainError('the connection to Redis was lost while it was asked; it may have the message', { cause: error })
  }

  /** One timer for the batch: it rejects what is late, and waits again for the rest. */
  #watchDeadlines(batch: readonly Entry[]): Timer {
    const { clock } = this.#parts
    let timer: Timer
    const arm = (): void => {
      let earliestMs = Number.POSITIVE_INFINITY
      for (const entry of batch) if (entry.state !== 'ended') earliestMs = Math.min(earliestMs, entry.deadlineAtMs)
      timer = clock.setTimer(Math.min(earliestMs - clock.monotonic(), 60_000), check)
    }
    const check = (): void => {
      const nowMs = clock.monotonic()
      const late = new TimeoutError('the deadline of the publish is over')
      for (const entry of batch) {
        if (entry.state === 'ended' || entry.deadlineAtMs > nowMs) continue
        end(
          entry,
          entry.state === 'sent'
            ? new PublishUncertainError('Redis did not answer until the deadline; it may have the message', { cause: late })
            : new NotPublishedError('the message was not published: Redis did not answer until the deadline', { cause: late }),
        )
      }
      if (batch.some((entry) => entry.state !== 'ended')) arm()
    }
    arm()
    return { cancel: () => timer.cancel() }
  }
}

function end(entry: Entry, error?: unknown): void {
  if (entry.state === 'ended') return
  entry.state = 'ended'
  if (error === undefined) entry.resolve()
  else entry.reject(error)
}
