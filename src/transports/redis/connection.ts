/**
 * A connection to a Redis broker: puts its parts together.
 *
 *   publish ─▶ publisher ──┐
 *   ack ─▶ pump ───────────┼─▶ session's links ─▶ Redis
 *   release, reject, defer ┤        │
 *   leases, sweeper ───────┘        └─ listening: broadcasts, and news of lists that were empty
 */

import { randomBytes } from 'node:crypto'
import { ConnectionError, NotPublishedError } from '../../errors.js'
import { atMost } from '../../internal/at-most.js'
import type { Clock } from '../../internal/clock.js'
import type { Examination } from '../../internal/examination.js'
import type { Logger } from '../../internal/logger.js'
import type { RedisLink, RedisTarget } from '../../internal/redis/link.js'
import type { Message } from '../../protocol/message.js'
import type { Destination, Topology } from '../../protocol/topology.js'
import type { Connection, ConnectionCounters, ConsumeOptions, Consumer, Fence, PublishOptions } from '../../transport.js'
import { checkServer, examineServer, warnLater } from './checks.js'
import { type ConsumerHost, RedisConsumer } from './consumer.js'
import { RedisDeadLetters } from './dead-letters.js'
import { Deliveries } from './deliveries.js'
import { pushFenced } from './fences.js'
import { GiveBacks } from './give-backs.js'
import { Layout } from './layout.js'
import { Leases } from './leases.js'
import type { RedisBrokerOptions } from './options.js'
import { Publisher } from './publisher.js'
import { Pump } from './pump.js'
import { RedisQueues } from './queues.js'
import { type Counters, type Return, Returns } from './returns.js'
import { makeScripts, type Scripts } from './scripts.js'
import { type Links, Session } from './session.js'
import { leasePrefix, Sweeper } from './sweeper.js'
import { RedisTopology } from './topology.js'
import { trackWith } from './tracking.js'
import { Upkeep } from './upkeep.js'
import { WaitingLink } from './waiting-link.js'

/** Closing does not wait longer for a server that does not answer. */
const closingMs = 5_000

export interface RedisConnectionParts {
  readonly target: RedisTarget
  readonly options: RedisBrokerOptions
  readonly clock: Clock
  readonly log: Logger
  readonly random?: () => number
  /** Warnings that are not said again. */
  readonly told?: Set<string>
}

export class RedisConnection implements Connection, ConsumerHost {
  readonly closed: Promise<Error | undefined>
  readonly place: string | undefined
  readonly deadLetters: RedisDeadLetters
  readonly queues: RedisQueues
  readonly #clock: Clock
  readonly #log: Logger
  readonly #told: Set<string>
  readonly #options: RedisBrokerOptions
  readonly #layout: Layout
  readonly #topology: RedisTopology
  readonly #session: Session
  readonly #publisher: Publisher
  readonly #pump: Pump
  readonly #waiting: WaitingLink
  readonly #deliveries: Deliveries
  readonly #returns: Returns
  readonly #upkeep: Upkeep
  readonly #consumers = new Set<RedisConsumer>()
  readonly #leases: Leases
  readonly #giveBacks: GiveBacks
  /** Names this process among all that ever were: lease ids begin with it. */
  readonly #boot = randomBytes(6).toString('hex')
  readonly #counters: Counters = { lateSettlements: 0, deadLettersDropped: 0 }
  #scripts: Scripts = makeScripts({ allowOom: false })
  #listening: Promise<void> | undefined
  #isClosing = false
  #closing: Promise<void> | undefined

  constructor({ target, options, clock, log, random = Math.random, told = new Set() }: RedisConnectionParts) {
    this.place = target.place
    this.#clock = clock
    this.#log = log
    this.#told = told
    this.#options = options
    this.#layout = new Layout(options, target.db)
    this.#topology = new RedisTopology(this.#layout)
    this.#session = new Session({ target, clock, random, patienceMs: options.leaseTtlMs, onLinked: (links) => this.#onLinked(links) })
    this.closed = this.#session.ended
    void this.closed.then(() => this.#onEnded())
    this.#returns = new Returns({ layout: this.#layout, topology: this.#topology, options, clock, counters: this.#counters })
    this.#publisher = new Publisher({
      layout: this.#layout,
      topology: this.#topology,
      clock,
      waitReplicas: options.waitReplicas,
      link: () => this.#session.commands,
      onWritten: () => this.#wake(),
      onElsewhere: (link, error) => this.#session.giveUp(link, error),
    })
    const leaseId = (lease: number): string => this.#leaseId(lease)
    const link = (): { readonly link: RedisLink; readonly scripts: Scripts } | undefined => {
      const commands = this.#session.commands
      return commands === undefined ? undefined : { link: commands, scripts: this.#scripts }
    }
    this.#upkeep = new Upkeep({
      clock,
      log,
      sweeper: new Sweeper({ layout: this.#layout, options, returns: this.#returns, clock }),
      sweepIntervalMs: options.sweepIntervalMs,
      link,
      wake: () => this.#wake(),
      pause: () => this.#pump.pause(),
      resume: () => this.#pump.resume(),
    })
    this.#leases = new Leases({
      target,
      layout: this.#layout,
      clock,
      log,
      ttlMs: options.leaseTtlMs,
      leaseId,
      link,
      onFailure: (error) => this.#upkeep.failed('leases could not be refreshed', error),
    })
    const scripts = (): Scripts => this.#scripts
    this.#giveBacks = new GiveBacks({
      layout: this.#layout,
      session: this.#session,
      returns: this.#returns,
      scripts,
      counters: this.#counters,
      clock,
      log,
      boot: this.#boot,
      leaseId,
      onWritten: () => this.#wake(),
    })
    this.deadLetters = new RedisDeadLetters(this.#layout, this.#scripts, (work) => this.#session.repeat(work).finally(() => this.#wake()))
    this.queues = new RedisQueues({ layout: this.#layout, topology: this.#topology, scripts, session: this.#session })
    this.#waiting = new WaitingLink({
      target,
      clock,
      onReady: () => this.#pump.soon(),
    })
    this.#pump = new Pump({
      layout: this.#layout,
      scripts,
      waiting: this.#waiting,
      clock,
      leaseTtlMs: options.leaseTtlMs,
      leaseId,
      link,
      consumers: this.#consumers,
      onClaimed: (consumer, claimed) => {
        this.#upkeep.busy()
        this.#deliveries.claimed(consumer, claimed)
      },
      onEmpty: (nextDueMs) => this.#upkeep.empty(nextDueMs),
      onLate: (count) => {
        this.#counters.lateSettlements += count
      },
      onClaimLost: () => void this.#session.repeat((again) => this.#pump.recover(again)).catch(() => {}),
      onRefused: (refusing, error) => (error.meansElsewhere ? this.#session.giveUp(refusing, error) : this.#upkeep.refused(error)),
      onUnreadable: (what) => this.#upkeep.unreadable(what),
    })
    this.#deliveries = new Deliveries({
      consumers: this.#consumers,
      leases: this.#leases,
      pump: this.#pump,
      giveBacks: this.#giveBacks,
      counters: this.#counters,
      leaseId,
      isClosing: () => this.#isClosing,
    })
  }

  async open(signal: AbortSignal): Promise<this> {
    await this.#session.start(signal)
    return this
  }

  get isAnswering(): boolean {
    return this.#pump.isAnswering
  }

  get counters(): ConnectionCounters {
    return { ...this.#counters }
  }

  async declare(topology: Topology): Promise<void> {
    this.#refuseWhenClosed()
    await this.#session.repeat((link) => this.#topology.declare(link, topology))
  }

  publish(message: Message, to: Destination, options: PublishOptions): Promise<void> {
    if (this.#isClosing) return Promise.reject(new NotPublishedError('the message was not published: the connection is closed'))
    return this.#publisher.publish(message, to, options)
  }

  raiseFences(fences: readonly Fence[]): Promise<void> {
    return this.#session.repeat((link) => pushFenced(link, this.#layout, fences))
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#refuseWhenClosed()
    this.#listening ??= this.#listen()
    try {
      await this.#listening
    } catch (error) {
      this.#listening = undefined
      throw error
    }
    this.#refuseWhenClosed()
    this.#leases.surviveBlocks(options.blocksUpToMs ?? 0, this.#scripts.allowOom)
    const consumer = new RedisConsumer(options, this, this.#layout)
    consumer.listed = this.#listed(consumer.queues)
    this.#consumers.add(consumer)
    await this.#session.repeat(async () => this.#subscribe(consumer.queues, consumer))
    consumer.wake()
    return consumer
  }

  size(queue: string, { due = false } = {}): Promise<number> {
    return this.queues.size(queue, { due })
  }

  examine(): Promise<Examination> {
    return this.#session.repeat((link) => examineServer(link, { options: this.#options, clock: this.#clock }))
  }

  purge(queue: string): Promise<number> {
    return this.queues.purge(queue)
  }

  /** A list can only be read from its ends. */
  async locate(): Promise<'unknown'> {
    return 'unknown'
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  claimSoon(): void {
    this.#pump.soon()
  }

  async addQueue(consumer: RedisConsumer, queue: string): Promise<void> {
    consumer.listed = this.#listed([...consumer.queues, queue])
    await this.#session.repeat(async () => this.#subscribe([queue], consumer))
  }

  async removeQueue(consumer: RedisConsumer, queue: string): Promise<void> {
    consumer.listed = this.#listed(consumer.queues)
    const patterns = this.#topology.fanoutPatterns(this.#topology.queue(queue))
    await this.#session.listening?.punsubscribe(patterns).catch(() => {})
    await this.#answeredClaims(consumer)
  }

  async removeConsumer(consumer: RedisConsumer): Promise<void> {
    const patterns = consumer.queues.flatMap((queue) => this.#topology.fanoutPatterns(this.#topology.queue(queue)))
    if (patterns.length > 0) await this.#session.listening?.punsubscribe(patterns).catch(() => {})
    await this.#answeredClaims(consumer)
    // While its deliveries are out it is still among those that are looked after.
    this.#consumers.delete(consumer)
  }

  /** What was asked for before comes first, and goes back; a server that does not answer is not waited for. */
  async #answeredClaims(consumer: RedisConsumer): Promise<void> {
    await atMost(this.#clock, closingMs, this.#pump.stopWaiting())
    await atMost(this.#clock, closingMs, consumer.quiet())
    await atMost(this.#clock, closingMs, this.#giveBacks.idle())
  }

  async #listen(): Promise<void> {
    const { allowOom, warnings } = await this.#session.repeat((link) => checkServer(link, this.#options))
    this.#scripts = makeScripts({ allowOom })
    warnLater(warnings, { clock: this.#clock, log: this.#log, told: this.#told })
    await this.#session.listen()
    this.#leases.start()
    this.#upkeep.start()
  }

  /** New links: first what was held is made sure of, then work goes on. */
  async #onLinked({ commands, listening }: Links): Promise<void> {
    // It is told of news by the link that was lost.
    this.#waiting.drop()
    if (listening !== undefined) {
      await this.#track(commands, listening)
      for (const consumer of this.#consumers) await this.#subscribe(consumer.queues, consumer, listening)
    }
    await this.#topology.declareAgain(commands)
    await this.#leases.refresh(commands, this.#scripts)
    await this.#pump.recover(commands)
    this.#wake()
    this.#pump.soon()
  }

  async #track(commands: RedisLink, listening: RedisLink): Promise<void> {
    const refusal = await trackWith(commands, listening, (lists) => this.#onNews(lists))
    if (refusal !== undefined && this.#upkeep.isTold)
      this.#log.warn({}, `Redis cannot tell of new messages (${refusal}): its lists are looked at, up to 200 times a second`)
    this.#upkeep.isTold = refusal === undefined
  }

  #onNews(lists: readonly string[] | undefined): void {
    const news = lists?.filter((list) => !this.#pump.hears(list))
    for (const consumer of this.#consumers) {
      if (news !== undefined && !news.some((list) => consumer.reads(list))) continue
      this.#upkeep.busy()
      consumer.wake()
    }
  }

  async #subscribe(queues: readonly string[], consumer: RedisConsumer, listening = this.#session.listening): Promise<void> {
    for (const name of queues) {
      const patterns = this.#topology.fanoutPatterns(this.#topology.queue(name))
      if (patterns.length > 0) await listening?.psubscribe(patterns, (_, payload) => this.#deliveries.heard(consumer, name, payload))
    }
  }

  /** Queues that exist as lists, too: an exclusive one of a fan-out exchange does not. */
  #listed(queues: readonly string[]): readonly string[] {
    return queues.filter((name) => {
      const queue = this.#topology.queue(name)
      return !queue.exclusive || queue.bindings.length === 0 || this.#topology.fanoutPatterns(queue).length < queue.bindings.length
    })
  }

  #onEnded(): void {
    this.#upkeep.stop()
    this.#pump.leave()
    this.#leases.stop()
    this.#leases.loseAll()
  }

  async #close(): Promise<void> {
    await atMost(this.#clock, closingMs, this.#publisher.idle())
    this.#isClosing = true
    for (const consumer of [...this.#consumers]) await consumer.cancel()
    await atMost(this.#clock, closingMs, this.#settleAll())
    await this.#session.close()
  }

  async #settleAll(): Promise<void> {
    await this.#pump.quiet()
    await this.#giveBacks.idle()
    const left: Return[] = this.#leases.loseAll().map((lease) => ({ id: this.#leaseId(lease), counted: false }))
    const link = this.#session.commands
    if (link === undefined) return
    if (left.length > 0) await this.#returns.giveBack(link, this.#scripts, left)
    await this.#topology.dropPrivate(link)
  }

  #wake(): void {
    for (const consumer of this.#consumers) consumer.wake()
  }

  #refuseWhenClosed(): void {
    if (this.#isClosing || this.#closing !== undefined) throw new ConnectionError('the connection to the broker is closed')
  }

  #leaseId(lease: number): string {
    return `${leasePrefix}${this.#boot}:${lease}`
  }
}
