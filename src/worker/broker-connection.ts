import type { AppCore } from '../app/core.js'
import type { Sender } from '../app/sender.js'
import { ConnectionError } from '../errors.js'
import { atMost } from '../internal/at-most.js'
import { Backoff } from '../internal/backoff.js'
import type { Pool } from '../pool.js'
import type { Connection, Consumer } from '../transport.js'
import { TaskConsumer } from './consumer.js'
import { DeafWatch, type Hearing } from './deaf-watch.js'
import { isDisagreement } from './for-good.js'
import { Mailbox } from './mailbox.js'
import type { Neighbours } from './neighbours.js'
import type { Panel } from './panel.js'
import type { Presence } from './presence.js'
import type { RateLimits } from './rate-limits.js'
import type { RefusalLog } from './refusal-log.js'
import type { RevokedTasks } from './revoked.js'
import { Settler } from './settler.js'
import type { TaskConsumers } from './task-consumers.js'
import type { WorkerQueues } from './worker-queues.js'

/** A broker that does not answer when the worker leaves is waited for no longer. */
export const farewellMs = 10_000
/** One that has not answered for that long already gets no more than this. */
const lastWordMs = 2_000
/** A broker that is back has its workers again within 2 s; one that is not is asked by each of them once or twice a second. */
const reconnecting = { firstMs: 100, maxMs: 1_500 } as const

interface BrokerConnectionParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly hostname: string
  readonly pool: Pool
  readonly queues: WorkerQueues
  readonly tasks: TaskConsumers
  readonly presence: Presence
  readonly neighbours: Neighbours
  readonly refusals: RefusalLog
  readonly revoked: RevokedTasks
  readonly limits: RateLimits
  readonly panel: Panel
  /** As `ConsumeOptions.blocksUpToMs`. */
  readonly blocksUpToMs: number
  /** The worker stops: nothing is connected any more. */
  readonly stopping: AbortSignal
  /** The broker that came back is not what the worker is told of, and will not be. */
  readonly onFatal: (error: Error) => void
}

/**
 * The connection over which a worker consumes, whichever it is at the moment: with all that listens on it, made again when it is lost or deaf.
 *
 *   opening ─▶ consuming ⇄ reconnecting (lost, or deaf)
 */
export class BrokerConnection {
  readonly #parts: BrokerConnectionParts
  readonly #deafWatch: DeafWatch
  #connection: Connection | undefined
  /** That of its tasks, then what else it listens to. */
  #consumers: readonly Consumer[] = []
  #reconnecting: Promise<void> | undefined
  /** The worker leaves, and the broker did not answer that. */
  #isSilent = false
  #lost: string | undefined
  /** The end of a connection that was deaf. */
  #retired = Promise.resolve()

  constructor(parts: BrokerConnectionParts) {
    const { core, stopping } = parts
    this.#parts = parts
    this.#deafWatch = new DeafWatch({
      clock: core.clock,
      log: core.log,
      deafMs: (core.config.workerDeafTimeout ?? 0) * 1000,
      hearing: () => this.#hearing(),
      repair: () => this.#repair(),
    })
    stopping.addEventListener('abort', () => this.#deafWatch.stop(), { once: true })
  }

  /** Undefined before the first, and while a deaf one is replaced. */
  get current(): Connection | undefined {
    return this.#connection
  }

  get isConsuming(): boolean {
    return this.#lost === undefined && this.#connection?.isAnswering === true
  }

  /** Why there is no broker at the moment. */
  get lost(): string | undefined {
    return this.#lost
  }

  /** Why the worker may be deaf. */
  get suspicion(): string | undefined {
    return this.#deafWatch.suspicion
  }

  /** How often the worker was found deaf and has connected anew. */
  get deafRepairs(): number {
    return this.#deafWatch.repairs
  }

  /** Settles when it consumes, or the worker stops. A broker that is not there yet is waited for, unless that is turned off. */
  async open(booted: Promise<void>): Promise<void> {
    const { core, stopping } = this.#parts
    const pause = this.#pauses()
    while (!stopping.aborted) {
      try {
        await this.#consume(booted)
        if (core.config.workerDeafTimeout !== null) this.#deafWatch.start()
        return
      } catch (error) {
        if (!(error instanceof ConnectionError) || !core.config.brokerConnectionRetryOnStartup) throw error
        this.#lost = error.message
        core.log.error({ err: error }, `${error.message}; trying again`)
      }
      await booted
      await pause()
    }
  }

  /** Takes no more tasks. Once the worker stops. `hurry`: there is no more time for a broker that does not answer. */
  async stopConsuming(hurry: Promise<void>): Promise<void> {
    await this.#reconnecting?.catch(() => {})
    const [consumer] = this.#consumers
    if (consumer === undefined) return
    this.#isSilent = true
    const left = consumer.cancel().then(() => {
      this.#isSilent = false
    })
    const { clock } = this.#parts.core
    await atMost(clock, farewellMs, Promise.race([left, hurry.then(() => atMost(clock, lastWordMs, left))]))
  }

  async close(): Promise<void> {
    await atMost(this.#parts.core.clock, this.#isSilent ? lastWordMs : farewellMs, Promise.all([this.#connection?.close(), this.#retired]))
  }

  /** Longer and longer ones, between two attempts to connect. */
  #pauses(): () => Promise<void> {
    const { clock, random } = this.#parts.core
    const backoff = new Backoff({ ...reconnecting, random })
    return () => new Promise((resolve) => void clock.setTimer(backoff.next(), resolve, { keepAlive: true }))
  }

  async #consume(booted?: Promise<void>): Promise<void> {
    const { core, pool, hostname, queues, presence, neighbours, tasks } = this.#parts
    // The same as before, unless that one has ended.
    const backend = await core.connections.backend()
    const connection = await core.connections.connect()
    try {
      const { sender, refusals, revoked, limits } = this.#parts
      const { events, counts } = presence
      const isHeld = (taskId: string): boolean => tasks.holds(taskId)
      const settler = new Settler({ core, sender, backend, connection, refusals, events, hostname, isHeld })
      const taking = new TaskConsumer({ core, backend, pool, settler, refusals, revoked, limits, events, counts, hostname, queues })
      for (const topology of queues.topologies) await connection.declare(topology)
      await booted
      const others: Consumer[] = []
      if (core.config.workerEnableRemoteControl) others.push(await new Mailbox(this.#parts.panel).open(connection))
      others.push(...(await neighbours.join(connection)))
      await queues.learnPauses(connection, core.log)
      tasks.add(taking)
      const consumer = await connection.consume({
        queues: queues.sources,
        prefetch: taking.prefetch,
        blocksUpToMs: this.#parts.blocksUpToMs,
        onDeliveries: taking.take,
        onRefused: taking.refused,
      })
      taking.follow(consumer)
      await queues.follow(connection, consumer)
      this.#consumers = [consumer, ...others]
      this.#connection = connection
      presence.use(connection)
      this.#lost = undefined
      void connection.closed.then((error) => {
        const isCurrent = this.#connection === connection
        if (isCurrent && error !== undefined && !this.#parts.stopping.aborted) void this.#reconnect(error)
      })
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** What runs goes on: its results are stored; its deliveries are given out again by the broker. */
  async #reconnect(cause: Error): Promise<void> {
    const { core, stopping, onFatal } = this.#parts
    this.#lost = cause.message
    core.log.error({ err: cause }, `the connection to the broker is lost: ${cause.message}`)
    const pause = this.#pauses()
    while (!stopping.aborted) {
      await pause()
      try {
        if (stopping.aborted) return
        this.#reconnecting = this.#consume()
        await this.#reconnecting
        core.log.info({}, 'connected to the broker again')
        return
      } catch (error) {
        if (isDisagreement(error)) return onFatal(error)
        core.log.error({ err: error }, 'the broker cannot be reached; trying again')
      }
    }
  }

  /** A new connection beside the one that is deaf, which is kept until what came over it has ended. */
  async #repair(): Promise<void> {
    const { core, stopping } = this.#parts
    const [connection, tasks] = [this.#connection, this.#parts.tasks.current]
    if (connection === undefined || tasks === undefined) return
    await Promise.all(this.#consumers.map((consumer) => atMost(core.clock, farewellMs, consumer.cancel())))
    // It may have been found lost meanwhile: then it is being replaced already.
    if (stopping.aborted || this.#connection !== connection || this.#lost !== undefined) return
    tasks.drain()
    this.#connection = undefined
    // What goes wrong with it now is why it was left.
    this.#retired = tasks.idle().then(() => atMost(core.clock, farewellMs, connection.close()))
    await this.#reconnect(new ConnectionError('messages wait, and none comes'))
  }

  #hearing(): Hearing | undefined {
    const [connection, tasks] = [this.#connection, this.#parts.tasks.current]
    if (!this.isConsuming || connection === undefined || tasks === undefined) return undefined
    return { connection, queues: this.#parts.queues.sources, hasPlace: tasks.hasPlace, received: tasks.received }
  }
}
