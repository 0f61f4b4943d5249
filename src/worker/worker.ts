import type { AppCore } from '../app/core.js'
import { executeWith } from '../app/execute.js'
import type { Sender } from '../app/sender.js'
import type { StopOptions, Worker, WorkerOptions, WorkerState } from '../app/worker-handle.js'
import type { ResultBackend } from '../backend.js'
import { ConnectionError } from '../errors.js'
import { Backoff } from '../internal/backoff.js'
import type { Timer } from '../internal/clock.js'
import { Deferred } from '../internal/deferred.js'
import { toMs } from '../internal/duration.js'
import { failpoint } from '../internal/failpoints.js'
import { nodeName } from '../internal/node-name.js'
import type { Pool } from '../pool.js'
import type { Connection, Consumer } from '../transport.js'
import type { ActiveTask } from './active-task.js'
import { Autoscaler } from './autoscaler.js'
import { TaskConsumer } from './consumer.js'
import { callElected, Gossip } from './gossip.js'
import { Mailbox } from './mailbox.js'
import { makePool } from './make-pool.js'
import { mingle } from './mingle.js'
import type { Panel } from './panel.js'
import { Presence } from './presence.js'
import { onProcessSignals } from './process-signals.js'
import { RateLimits } from './rate-limits.js'
import { RefusalLog } from './refusal-log.js'
import { RevokedTasks } from './revoked.js'
import { Settler } from './settler.js'
import { StateFile } from './state-file.js'
import { WorkerQueues } from './worker-queues.js'

/** From the abort of a task's signal at a cold stop to the end of its process. */
const abortGraceMs = 1_000
/** A broker that is back has its workers again within 2 s; one that is not is asked by each of them once or twice a second. */
const reconnecting = { firstMs: 100, maxMs: 1_500 } as const

/**
 * A worker: a connection that consumes, a pool that runs, and between them the consumer and the settler.
 *
 *   new ─start─▶ starting ─▶ consuming ⇄ reconnecting ─stop─▶ draining ─▶ stopped
 */
export class AppWorker implements Worker {
  readonly hostname: string
  readonly #core: AppCore
  readonly #sender: Sender
  readonly #options: WorkerOptions
  readonly #revoked: RevokedTasks
  readonly #limits: RateLimits
  readonly #refusals: RefusalLog
  readonly #presence: Presence
  readonly #stopped = new Deferred<void>()
  #pool: Pool | undefined
  /** One for each connection; those of lost ones until what they hold has ended. */
  readonly #tasks = new Set<TaskConsumer>()
  #connection: Connection | undefined
  #consumer: Consumer | undefined
  #queues: WorkerQueues | undefined
  #gossip: Gossip | undefined
  #autoscaler: Autoscaler | undefined
  #stateFile: StateFile | undefined
  #mingling: Promise<void> | undefined
  #startedMs = 0
  #starting: Promise<void> | undefined
  #reconnecting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #state: WorkerState = 'new'
  /** Aborts when what still runs must be cut off. */
  readonly #cold = new AbortController()
  readonly #notMingling = new AbortController()

  constructor(core: AppCore, sender: Sender, options: WorkerOptions) {
    this.#core = core
    this.#sender = sender
    this.#options = options
    this.#refusals = new RefusalLog(core)
    this.#revoked = new RevokedTasks(() => core.clock.monotonic())
    this.#limits = new RateLimits(core)
    this.hostname = nodeName(options.hostname)
    this.#presence = new Presence(core, this.hostname, options, () => this.#running().length)
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
    return this.state === 'consuming'
  }

  async start(): Promise<this> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#state = 'stopped'
      throw error
    })
    await this.#starting
    return this
  }

  async run(): Promise<void> {
    const release = onProcessSignals(this, { log: this.#core.log, hasGrace: this.#core.config.workerSoftShutdownTimeout > 0 })
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

  async stop({ mode = 'warm', timeout }: StopOptions = {}): Promise<void> {
    const { clock, config } = this.#core
    if (mode === 'cold') this.#cold.abort()
    const graceMs = timeout !== undefined ? toMs(timeout, 'timeout') : mode === 'soft' ? config.workerSoftShutdownTimeout * 1000 : undefined
    const timer = graceMs === undefined ? undefined : clock.setTimer(graceMs, () => this.#cold.abort(), { keepAlive: true })
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
    // What is accepted can be decoded from here on without waiting for its package.
    await Promise.all(core.config.acceptContent.map((name) => core.serializers.get(name)))
    this.#queues = new WorkerQueues(core.routes, this.queues)
    this.#startedMs = core.clock.monotonic()
    if (core.config.workerStateDb !== null) {
      this.#stateFile = new StateFile(core, core.config.workerStateDb, this.#revoked)
      await this.#stateFile.open()
    }
    const pool = await makePool(core, this.#options, {
      execute: executeWith(core, this.#sender),
      storeState: async (taskId, state, meta) => {
        for (const tasks of this.#tasks) await tasks.report(taskId, state, meta)
      },
      onFatal: (error) => {
        core.log.error({ err: error }, error.message)
        this.#fail(error)
      },
    })
    this.#pool = pool
    const { workerAutoscale: bounds } = core.config
    if (bounds !== null)
      this.#autoscaler = new Autoscaler({
        bounds,
        pool,
        clock: core.clock,
        log: core.log,
        held: () => this.#held().length,
        resize: (size) => this.#resizePool(pool, size),
      })
    core.connections.blocksUpTo(this.#blocksUpToMs(pool))
    this.#meetOthers()
    try {
      // In this order: the processes of the pool boot while the backend and the broker are loaded and reached here.
      const booted = pool.start()
      // Whoever waits for it is told: what comes before may fail first.
      booted.catch(() => {})
      const backend = await core.connections.backend()
      await this.#consumeFirst(pool, backend, booted)
    } catch (error) {
      await pool.stop({ signal: AbortSignal.abort() })
      this.#options.signal?.removeEventListener('abort', this.#onAbort)
      throw error
    }
    if (this.#stopping !== undefined) return
    this.#presence.start()
    this.#autoscaler?.start()
    core.log.info({ hostname: this.hostname, queues: this.queues }, `${this.hostname} ready.`)
    if (!core.hooks.silent('workerReady')) core.hooks.emit('workerReady', { hostname: this.hostname }, core.log)
  }

  #blocksUpToMs(pool: Pool): number {
    return pool.supports.ownLoop ? 0 : (this.#core.config.workerStuckTimeout ?? Number.POSITIVE_INFINITY) * 1000
  }

  /** A broker that is not there yet is waited for, unless that is turned off. */
  async #consumeFirst(pool: Pool, backend: ResultBackend, booted: Promise<void>): Promise<void> {
    const { clock, config, log, random } = this.#core
    const backoff = new Backoff({ ...reconnecting, random })
    while (this.#stopping === undefined) {
      try {
        return await this.#consume(pool, backend, booted)
      } catch (error) {
        if (!(error instanceof ConnectionError) || !config.brokerConnectionRetryOnStartup) throw error
        log.error({ err: error }, `${error.message}; trying again`)
      }
      await booted
      const waitMs = backoff.next()
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve, { keepAlive: true }))
    }
  }

  async #consume(pool: Pool, backend: ResultBackend, booted?: Promise<void>): Promise<void> {
    const core = this.#core
    const connection = await core.connections.connect()
    try {
      const refusals = this.#refusals
      const { events, counts } = this.#presence
      const isHeld = (taskId: string): boolean => [...this.#tasks].some((tasks) => tasks.holds(taskId))
      const settler = new Settler({ core, sender: this.#sender, backend, connection, refusals, events, hostname: this.hostname, isHeld })
      const queues = this.#queues ?? new WorkerQueues(core.routes, this.queues)
      const tasks = new TaskConsumer({
        core,
        backend,
        pool,
        settler,
        refusals,
        events,
        counts,
        revoked: this.#revoked,
        limits: this.#limits,
        hostname: this.hostname,
        isPaused: (queue) => queues.isPaused(queue),
      })
      for (const topology of queues.topologies) await connection.declare(topology)
      await booted
      if (core.config.workerEnableRemoteControl) await new Mailbox(this.#panel(pool, backend, queues)).open(connection)
      await this.#gossip?.join(connection)
      await queues.learnPauses(connection)
      for (const old of this.#tasks) if (old.activeCount === 0) this.#tasks.delete(old)
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
      this.#consumer = consumer
      this.#connection = connection
      this.#presence.use(connection)
      if (this.#stopping === undefined) this.#state = 'consuming'
      void connection.closed.then((error) => {
        if (error !== undefined && this.#stopping === undefined) void this.#reconnect(pool, backend, error)
      })
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** What runs goes on: its results are stored; its deliveries are given out again by the broker. */
  async #reconnect(pool: Pool, backend: ResultBackend, cause: Error): Promise<void> {
    const { clock, log, random } = this.#core
    this.#state = 'reconnecting'
    log.error({ err: cause }, `the connection to the broker is lost: ${cause.message}`)
    const backoff = new Backoff({ ...reconnecting, random })
    while (this.#stopping === undefined) {
      const waitMs = backoff.next()
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve, { keepAlive: true }))
      try {
        if (this.#stopping !== undefined) return
        this.#reconnecting = this.#consume(pool, backend)
        await this.#reconnecting
        log.info({}, 'connected to the broker again')
        return
      } catch (error) {
        log.error({ err: error }, 'the broker cannot be reached; trying again')
      }
    }
  }

  async #stop(): Promise<void> {
    const { log, hooks } = this.#core
    this.#state = 'draining'
    if (this.#starting !== undefined) log.info({}, `${this.hostname}: shutting down${this.#cold.signal.aborted ? ' (cold)' : ''}`)
    await this.#starting?.catch(() => {})
    await this.#reconnecting?.catch(() => {})
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    try {
      this.#autoscaler?.stop()
      this.#notMingling.abort()
      await this.#consumer?.cancel()
      for (const tasks of this.#tasks) tasks.drain()
      failpoint('shutdown.after_stop_consuming')
      const killed = new AbortController()
      let grace: Timer | undefined
      // Told to end first, then ended: a task that listens to its signal can leave things in order.
      const cut = (): void => {
        for (const tasks of this.#tasks) tasks.abortAll('shutdown')
        grace = this.#core.clock.setTimer(abortGraceMs, () => killed.abort(), { keepAlive: true })
      }
      if (this.#cold.signal.aborted) cut()
      else this.#cold.signal.addEventListener('abort', cut, { once: true })
      await this.#pool?.stop({ signal: killed.signal })
      await Promise.all([...this.#tasks].map((tasks) => tasks.idle()))
      this.#cold.signal.removeEventListener('abort', cut)
      grace?.cancel()
      await this.#presence.stop()
      this.#gossip?.stop()
      await this.#mingling
      await this.#stateFile?.close()
      await this.#connection?.close()
    } finally {
      this.#state = 'stopped'
      this.#refusals.flush()
      if (!hooks.silent('workerShutdown')) hooks.emit('workerShutdown', { hostname: this.hostname }, log)
      this.#stopped.resolve()
    }
  }

  /** Neighbours are asked while the pool boots; whoever waits for neither has their answers a moment later. */
  #meetOthers(): void {
    const core = this.#core
    const { gossip = hasNeighbours(core), mingle: mingles = hasNeighbours(core) } = this.#options
    const { hostname } = this
    if (gossip) {
      const callTask = (action: unknown): Promise<unknown> => callElected(core, this.#sender, action)
      this.#gossip = new Gossip({ core, hostname, dispatcher: this.#presence.dispatcher, callTask })
    }
    if (mingles)
      this.#mingling = mingle(core, hostname, this.#revoked, this.#notMingling.signal).then(() => {
        this.#endRevoked(undefined, ({ head }) => this.#revoked.has(head.id, head.stampedHeaders, head.stamps))
      })
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
      gossip: this.#gossip,
      autoscaler: this.#autoscaler,
      pool,
      backend,
      queues,
      get prefetch() {
        return Math.max(0, ...[...worker.#tasks].map((tasks) => tasks.prefetch))
      },
      held: () => this.#held(),
      resizePool: (size) => this.#resizePool(pool, size),
      limited: () => [...this.#tasks].flatMap((tasks) => tasks.limited),
      limitsChanged: () => {
        for (const tasks of this.#tasks) tasks.limitsChanged()
      },
      giveBack: (which) => void [...this.#tasks].map((tasks) => tasks.giveBack(which)),
      endRevoked: (signal, which) => this.#endRevoked(signal, which),
      stop: () => void this.stop(),
    }
  }

  async #resizePool(pool: Pool, size: number): Promise<void> {
    const resized = pool.resize(size)
    for (const tasks of this.#tasks) tasks.poolChanged()
    await resized.catch((error: unknown) => this.#core.log.error({ err: error }, `the pool could not be brought to ${size}`))
  }

  #held(): readonly ActiveTask[] {
    return [...this.#tasks].flatMap((tasks) => tasks.held)
  }

  /** Tasks whose function has started. */
  #running(): readonly ActiveTask[] {
    return this.#held().filter(({ run }) => run?.start !== undefined)
  }

  #endRevoked(signal: NodeJS.Signals | undefined, which: (task: ActiveTask) => boolean): readonly string[] {
    return [...this.#tasks].flatMap((tasks) => tasks.endRevoked(signal, which))
  }

  readonly #onAbort = (): void => {
    void this.stop()
  }

  #fail(error: Error): void {
    this.#stopped.reject(error)
    void this.stop({ mode: 'cold' })
  }
}

/** On one machine, every worker shares what is revoked through the file, and nobody needs to be met (as with Celery, where only some brokers have gossip). */
function hasNeighbours(core: AppCore): boolean {
  return !core.config.brokerUrl.every((address) => typeof address === 'string' && /^(sqlite|memory):/i.test(address))
}
