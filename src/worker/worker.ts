import type { AppCore } from '../app/core.js'
import { executeWith } from '../app/execute.js'
import type { Sender } from '../app/sender.js'
import type { Worker, WorkerState } from '../app/worker-handle.js'
import type { StopOptions, WorkerOptions } from '../app/worker-options.js'
import type { ResultBackend } from '../backend.js'
import { ConnectionError } from '../errors.js'
import { atMost } from '../internal/at-most.js'
import { Backoff } from '../internal/backoff.js'
import { Deferred } from '../internal/deferred.js'
import { failpoint } from '../internal/failpoints.js'
import { nodeName } from '../internal/node-name.js'
import type { Pool } from '../pool.js'
import type { Connection, Consumer } from '../transport.js'
import { Autoscaler } from './autoscaler.js'
import { TaskConsumer } from './consumer.js'
import { DeafWatch, type Hearing } from './deaf-watch.js'
import { isDisagreement } from './for-good.js'
import { type Health, notReadyWords } from './health.js'
import { learning } from './known-tasks.js'
import { Mailbox } from './mailbox.js'
import { makePool } from './make-pool.js'
import { Neighbours } from './neighbours.js'
import type { Panel } from './panel.js'
import { Presence } from './presence.js'
import { onProcessSignals } from './process-signals.js'
import { RateLimits } from './rate-limits.js'
import { RefusalLog } from './refusal-log.js'
import { resizePool } from './resize-pool.js'
import { RevokedTasks } from './revoked.js'
import { Settler } from './settler.js'
import { Shutdown } from './shutdown.js'
import { StateFile } from './state-file.js'
import { TaskConsumers } from './task-consumers.js'
import { WorkerTelemetry } from './telemetry.js'
import { WorkerQueues } from './worker-queues.js'
import { WorkerSignals } from './worker-signals.js'

/** A broker that does not answer when the worker leaves is waited for no longer. */
const farewellMs = 10_000
/** A broker that is back has its workers again within 2 s; one that is not is asked by each of them once or twice a second. */
const reconnecting = { firstMs: 100, maxMs: 1_500 } as const

/**
 * A worker: a connection that consumes, a pool that runs, and between them the consumer and the settler.
 *
 *   new ─start─▶ starting ─▶ consuming ⇄ reconnecting ─stop─▶ draining ─▶ stopped
 */
export class AppWorker implements Worker, Health {
  readonly hostname: string
  readonly #core: AppCore
  readonly #sender: Sender
  readonly #options: WorkerOptions
  readonly #revoked: RevokedTasks
  readonly #limits: RateLimits
  readonly #refusals: RefusalLog
  readonly #presence: Presence
  readonly #neighbours: Neighbours
  readonly #signals: WorkerSignals
  readonly #telemetry: WorkerTelemetry
  readonly #stopped = new Deferred<void>()
  #pool: Pool | undefined
  /** One for each connection; those of lost ones until what they hold has ended. */
  readonly #tasks = new TaskConsumers()
  #connection: Connection | undefined
  /** That of its tasks, then what else it listens to. */
  #consumers: readonly Consumer[] = []
  #queues: WorkerQueues | undefined
  #autoscaler: Autoscaler | undefined
  #stateFile: StateFile | undefined
  #startedMs = 0
  #starting: Promise<void> | undefined
  #reconnecting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #state: WorkerState = 'new'
  readonly #shutdown: Shutdown
  readonly #deafWatch: DeafWatch
  /** Why there is no broker at the moment. */
  #lost = ''
  /** The end of a connection that was deaf. */
  #retired = Promise.resolve()

  constructor(core: AppCore, sender: Sender, options: WorkerOptions) {
    this.#core = core
    this.#sender = sender
    this.#options = options
    this.#refusals = new RefusalLog(core)
    this.#revoked = new RevokedTasks(() => core.clock.monotonic())
    this.#limits = new RateLimits(core)
    this.hostname = nodeName(options.hostname)
    this.#shutdown = new Shutdown(core)
    this.#signals = new WorkerSignals(core, this.hostname)
    this.#deafWatch = new DeafWatch({
      clock: core.clock,
      log: core.log,
      deafMs: (core.config.workerDeafTimeout ?? 0) * 1000,
      hearing: () => this.#hearing(),
      repair: () => this.#repair(),
    })
    this.#presence = new Presence(core, this.hostname, options, () => this.#tasks.running.length)
    this.#telemetry = new WorkerTelemetry(core, this.#presence.events)
    this.#neighbours = new Neighbours({ core, sender, hostname: this.hostname, presence: this.#presence, options })
    // Who only starts the worker does not ask how it ended.
    this.#stopped.promise.catch(() => {})
    if (options.signal?.aborted) this.#onAbort()
    options.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get queues(): readonly string[] {
    return this.#queues?.names ?? this.#options.queues ?? this.#core.routes.defaultQueues()
  }

  get state(): WorkerState {
    return this.#state === 'consuming' && this.#connection?.isAnswering === false ? 'reconnecting' : this.#state
  }

  get isReady(): boolean {
    return this.notReady === undefined
  }

  get notReady(): string | undefined {
    const { state } = this
    if (state === 'consuming') return this.#deafWatch.suspicion
    const isAway = state === 'reconnecting' || state === 'starting'
    return isAway && this.#lost !== '' ? `the broker cannot be reached: ${this.#lost}` : notReadyWords[state]
  }

  get deafRepairs(): number {
    return this.#deafWatch.repairs
  }

  async start(): Promise<this> {
    this.#starting ??= this.#start().catch(async (error: unknown) => {
      this.#state = 'stopped'
      await this.#telemetry.close()
      throw error
    })
    await this.#starting
    return this
  }

  async run(): Promise<void> {
    const release = onProcessSignals(this, this.#core)
    // Listeners for process signals do not, and a broker of this process has nothing that would.
    const keepAlive = setInterval(() => {}, 2 ** 30)
    try {
      await this.start()
      await this.#stopped.promise
    } finally {
      clearInterval(keepAlive)
      release()
    }
  }

  async stop(options: StopOptions = {}): Promise<void> {
    this.#signals.stopping(options.mode)
    const timer = this.#shutdown.ask(options)
    this.#stopping ??= this.#stop()
    try {
      await this.#stopping
    } finally {
      timer?.cancel()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #start(): Promise<void> {
    const core = this.#core
    if (this.#stopping !== undefined) return
    this.#state = 'starting'
    this.#signals.init(this.#options)
    const now = () => ({ pool: this.#pool, connection: this.#connection, queues: this.#queues })
    await this.#telemetry.open({ worker: this, tasks: this.#tasks, now })
    // What is accepted can be decoded from here on without waiting for its package.
    await Promise.all([this.#limits.shared.check(this.queues), ...core.config.acceptContent.map((name) => core.serializers.get(name))])
    this.#queues = new WorkerQueues(core.routes, this.queues)
    this.#startedMs = core.clock.monotonic()
    this.#stateFile = await StateFile.of(core, this.hostname, this.#revoked)
    const pool = await makePool(core, this.#options, {
      execute: executeWith(core, this.#sender),
      beforeProcess: () => this.#signals.beforeProcess(),
      storeState: (taskId, state, meta) => this.#tasks.report(taskId, state, meta),
      onFatal: (error) => this.#fail(error),
    })
    this.#pool = pool
    const { workerAutoscale: bounds } = core.config
    const resize = (size: number): Promise<void> => resizePool(pool, this.#tasks, size, core.log)
    const held = () => this.#tasks.held
    if (bounds !== null) this.#autoscaler = new Autoscaler({ bounds, pool, clock: core.clock, log: core.log, held, resize })
    core.connections.blocksUpTo(this.#blocksUpToMs(pool))
    this.#signals.setUp(pool)
    this.#neighbours.meet(this.#revoked, () => {
      this.#tasks.endRevoked(undefined, ({ head }) => this.#revoked.has(head.id, head.stampedHeaders, head.stamps))
    })
    try {
      // In this order: the processes of the pool boot while the backend and the broker are loaded and reached here.
      const booted = pool.start()
      // Whoever waits for it is told: what comes before may fail first.
      booted.catch(() => {})
      const backend = learning(await core.connections.backend())
      await this.#consumeFirst(pool, backend, booted)
    } catch (error) {
      await pool.stop({ signal: AbortSignal.abort() })
      this.#options.signal?.removeEventListener('abort', this.#onAbort)
      // It was told to stop, and did not wait for its processes.
      if (this.#stopping !== undefined) return
      throw error
    }
    if (this.#stopping !== undefined) return
    if (core.config.workerDeafTimeout !== null) this.#deafWatch.start()
    this.#presence.start()
    this.#autoscaler?.start()
    core.log.info({ hostname: this.hostname, queues: this.queues }, `${this.hostname} ready.`)
    this.#signals.ready()
  }

  #blocksUpToMs(pool: Pool): number {
    return pool.supports.ownLoop ? 0 : (this.#core.config.workerStuckTimeout ?? Number.POSITIVE_INFINITY) * 1000
  }

  /** A broker that is not there yet is waited for, unless that is turned off. */
  async #consumeFirst(pool: Pool, backend: ResultBackend, booted: Promise<void>): Promise<void> {
    const { config, log } = this.#core
    const pause = this.#pauses()
    while (this.#stopping === undefined) {
      try {
        return await this.#consume(pool, backend, booted)
      } catch (error) {
        if (!(error instanceof ConnectionError) || !config.brokerConnectionRetryOnStartup) throw error
        this.#lost = error.message
        log.error({ err: error }, `${error.message}; trying again`)
      }
      await booted
      await pause()
    }
  }

  /** Longer and longer ones, between two attempts to connect. */
  #pauses(): () => Promise<void> {
    const { clock, random } = this.#core
    const backoff = new Backoff({ ...reconnecting, random })
    return () => new Promise((resolve) => void clock.setTimer(backoff.next(), resolve, { keepAlive: true }))
  }

  async #consume(pool: Pool, backend: ResultBackend, booted?: Promise<void>): Promise<void> {
    const core = this.#core
    const connection = await core.connections.connect()
    try {
      const { events, counts } = this.#presence
      const shared = { core, backend, refusals: this.#refusals, events, hostname: this.hostname }
      const isHeld = (taskId: string): boolean => this.#tasks.holds(taskId)
      const settler = new Settler({ ...shared, sender: this.#sender, connection, isHeld })
      const queues = this.#queues ?? new WorkerQueues(core.routes, this.queues)
      const tasks = new TaskConsumer({ ...shared, pool, settler, counts, queues, revoked: this.#revoked, limits: this.#limits })
      for (const topology of queues.topologies) await connection.declare(topology)
      await booted
      const others: Consumer[] = []
      if (core.config.workerEnableRemoteControl) others.push(await new Mailbox(this.#panel(pool, backend, queues)).open(connection))
      others.push(...(await this.#neighbours.join(connection)))
      await queues.learnPauses(connection, core.log)
      this.#tasks.add(tasks)
      const consumer = await connection.consume({
        queues: queues.sources,
        prefetch: tasks.prefetch,
        blocksUpToMs: this.#blocksUpToMs(pool),
        onDeliveries: tasks.take,
        onRefused: tasks.refused,
      })
      tasks.follow(consumer)
      await queues.follow(connection, consumer)
      this.#consumers = [consumer, ...others]
      this.#connection = connection
      this.#presence.use(connection)
      this.#lost = ''
      if (this.#stopping === undefined) this.#state = 'consuming'
      void connection.closed.then((error) => {
        const isCurrent = this.#connection === connection
        if (isCurrent && error !== undefined && this.#stopping === undefined) void this.#reconnect(pool, backend, error)
      })
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** What runs goes on: its results are stored; its deliveries are given out again by the broker. */
  async #reconnect(pool: Pool, backend: ResultBackend, cause: Error): Promise<void> {
    const { log } = this.#core
    this.#state = 'reconnecting'
    this.#lost = cause.message
    log.error({ err: cause }, `the connection to the broker is lost: ${cause.message}`)
    const pause = this.#pauses()
    for (await pause(); this.#stopping === undefined; await pause()) {
      try {
        this.#reconnecting = this.#consume(pool, backend)
        await this.#reconnecting
        log.info({}, 'connected to the broker again')
        return
      } catch (error) {
        if (isDisagreement(error)) return this.#fail(error)
        log.error({ err: error }, 'the broker cannot be reached; trying again')
      }
    }
  }

  /** A new connection beside the one that is deaf, which is kept until what came over it has ended. */
  async #repair(): Promise<void> {
    const [pool, connection, tasks] = [this.#pool, this.#connection, this.#tasks.current]
    if (pool === undefined || connection === undefined || tasks === undefined) return
    const { clock, connections } = this.#core
    await Promise.all(this.#consumers.map((consumer) => atMost(clock, farewellMs, consumer.cancel())))
    if (this.#stopping !== undefined || this.#connection !== connection) return
    tasks.drain()
    this.#connection = undefined
    // What goes wrong with it now is why it was left.
    this.#retired = tasks.idle().then(() => atMost(clock, farewellMs, connection.close()))
    await this.#reconnect(pool, await connections.backend(), new ConnectionError('messages wait, and none comes'))
  }

  #hearing(): Hearing | undefined {
    const [connection, tasks] = [this.#connection, this.#tasks.current]
    if (this.state !== 'consuming' || connection === undefined || tasks === undefined || this.#queues === undefined) return undefined
    return { connection, queues: this.#queues.sources, hasPlace: tasks.hasPlace, received: tasks.received }
  }

  async #stop(): Promise<void> {
    const { clock, log } = this.#core
    this.#state = 'draining'
    this.#deafWatch.stop()
    if (this.#starting !== undefined) log.info({}, `${this.hostname}: shutting down${this.#shutdown.isCold ? ' (cold)' : ''}`)
    // Nothing runs yet, and its processes may take long to start, or for ever.
    if (this.#tasks.current === undefined) await this.#pool?.stop({ signal: AbortSignal.abort() })
    await this.#starting?.catch(() => {})
    await this.#reconnecting?.catch(() => {})
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    try {
      this.#autoscaler?.stop()
      const [consumer] = this.#consumers
      if (consumer !== undefined) await atMost(clock, farewellMs, consumer.cancel())
      this.#tasks.drain()
      failpoint('shutdown.after_stop_consuming')
      await this.#shutdown.finish(this.#pool, this.#tasks)
      await Promise.all([atMost(clock, farewellMs, this.#limits.shared.close()), this.#presence.stop()])
      await this.#neighbours.stop()
      await this.#stateFile?.close()
      await atMost(clock, farewellMs, Promise.all([this.#connection?.close(), this.#retired]))
    } finally {
      this.#state = 'stopped'
      await this.#telemetry.close()
      this.#refusals.flush()
      this.#signals.stopped()
      this.#stopped.resolve()
    }
  }

  #panel(pool: Pool, backend: ResultBackend, queues: WorkerQueues): Panel {
    const worker = this
    return {
      core: this.#core,
      hostname: this.hostname,
      presence: this.#presence,
      revoked: this.#revoked,
      limits: this.#limits,
      startedMs: this.#startedMs,
      gossip: this.#neighbours.gossip,
      autoscaler: this.#autoscaler,
      pool,
      backend,
      queues,
      get deafRepairs() {
        return worker.deafRepairs
      },
      get prefetch() {
        return worker.#tasks.prefetch
      },
      held: () => this.#tasks.held,
      resizePool: (size) => resizePool(pool, this.#tasks, size, this.#core.log),
      limited: () => this.#tasks.limited,
      limitsChanged: () => this.#tasks.limitsChanged(),
      giveBack: (which) => this.#tasks.giveBack(which),
      endRevoked: (signal, which) => this.#tasks.endRevoked(signal, which),
      stop: () => void this.stop(),
    }
  }

  readonly #onAbort = (): void => {
    void this.stop()
  }

  #fail(error: Error): void {
    this.#core.log.error({ err: error }, error.message)
    this.#stopped.reject(error)
    void this.stop({ mode: 'cold' })
  }
}
