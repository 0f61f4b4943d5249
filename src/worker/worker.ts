import type { AppCore } from '../app/core.js'
import { executeWith } from '../app/execute.js'
import type { Sender } from '../app/sender.js'
import type { Worker, WorkerState } from '../app/worker-handle.js'
import type { StopOptions, WorkerOptions } from '../app/worker-options.js'
import { atMost } from '../internal/at-most.js'
import { Deferred } from '../internal/deferred.js'
import { failpoint } from '../internal/failpoints.js'
import { nodeName } from '../internal/node-name.js'
import type { Pool } from '../pool.js'
import { Autoscaler } from './autoscaler.js'
import { BrokerConnection, farewellMs } from './broker-connection.js'
import { type Health, notReadyWords } from './health.js'
import { learning } from './known-tasks.js'
import { makePool } from './make-pool.js'
import { Neighbours } from './neighbours.js'
import type { Panel } from './panel.js'
import { refuseInChild } from './pool-limits.js'
import { Presence } from './presence.js'
import { onProcessSignals } from './process-signals.js'
import { RateLimits } from './rate-limits.js'
import { RefusalLog } from './refusal-log.js'
import { resizePool } from './resize-pool.js'
import { RevokedTasks } from './revoked.js'
import { Shutdown } from './shutdown.js'
import { StateFile } from './state-file.js'
import { TaskConsumers } from './task-consumers.js'
import { WorkerTelemetry } from './telemetry.js'
import { WorkerQueues } from './worker-queues.js'
import { WorkerSignals } from './worker-signals.js'

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
  #broker: BrokerConnection | undefined
  #queues: WorkerQueues | undefined
  #autoscaler: Autoscaler | undefined
  #stateFile: StateFile | undefined
  #startedMs = 0
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #state: WorkerState = 'new'
  #keepAlive: NodeJS.Timeout | undefined
  readonly #shutdown: Shutdown
  readonly #leaving = new AbortController()

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
    return this.#state === 'consuming' && this.#broker?.isConsuming === false ? 'reconnecting' : this.#state
  }

  get isReady(): boolean {
    return this.notReady === undefined
  }

  get notReady(): string | undefined {
    const { state } = this
    if (state === 'consuming') return this.#broker?.suspicion
    const lost = state === 'reconnecting' || state === 'starting' ? this.#broker?.lost : undefined
    return lost === undefined ? notReadyWords[state] : `the broker cannot be reached: ${lost}`
  }

  get deafRepairs(): number {
    return this.#broker?.deafRepairs ?? 0
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
    refuseInChild(this.#options)
    this.#state = 'starting'
    this.#signals.init(this.#options)
    const now = () => ({ pool: this.#pool, connection: this.#broker?.current, queues: this.#queues })
    await this.#telemetry.open({ worker: this, tasks: this.#tasks, now })
    // What is accepted can be decoded from here on without waiting for its package.
    await Promise.all([this.#limits.shared.check(this.queues), ...core.config.acceptContent.map((name) => core.serializers.get(name))])
    const queues = new WorkerQueues(core.routes, this.queues)
    this.#queues = queues
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
    const blocksUpToMs = pool.supports.ownLoop ? 0 : (core.config.workerStuckTimeout ?? Number.POSITIVE_INFINITY) * 1000
    core.connections.blocksUpTo(blocksUpToMs)
    this.#signals.setUp(pool)
    this.#neighbours.meet(this.#revoked, () => {
      this.#tasks.endRevoked(undefined, ({ head }) => this.#revoked.has(head.id, head.stampedHeaders, head.stamps))
    })
    try {
      // In this order: the processes of the pool boot while the backend and the broker are loaded and reached here.
      const booted = pool.start()
      // Whoever waits for it is told: what comes before may fail first.
      booted.catch(() => {})
      learning(await core.connections.backend())
      this.#broker = new BrokerConnection({
        core,
        sender: this.#sender,
        hostname: this.hostname,
        pool,
        queues,
        tasks: this.#tasks,
        presence: this.#presence,
        neighbours: this.#neighbours,
        refusals: this.#refusals,
        revoked: this.#revoked,
        limits: this.#limits,
        panel: this.#panel(pool, queues),
        blocksUpToMs,
        stopping: this.#leaving.signal,
        onFatal: (error) => this.#fail(error),
      })
      await this.#broker.open(booted)
    } catch (error) {
      await pool.stop({ signal: AbortSignal.abort() })
      this.#options.signal?.removeEventListener('abort', this.#onAbort)
      // It was told to stop, and did not wait for its processes.
      if (this.#stopping !== undefined) return
      throw error
    }
    if (this.#stopping !== undefined) return
    this.#state = 'consuming'
    // A broker of this process has nothing that would keep it running, and tasks that wait for their time in it.
    this.#keepAlive = setInterval(() => {}, 2 ** 30)
    this.#presence.start()
    this.#autoscaler?.start()
    core.log.info({ hostname: this.hostname, queues: this.queues }, `${this.hostname} ready.`)
    this.#signals.ready()
  }

  async #stop(): Promise<void> {
    const { clock, log } = this.#core
    this.#state = 'draining'
    this.#leaving.abort()
    if (this.#starting !== undefined) log.info({}, `${this.hostname}: shutting down${this.#shutdown.isCold ? ' (cold)' : ''}`)
    // Nothing runs yet, and its processes may take long to start, or for ever.
    if (this.#tasks.current === undefined) await this.#pool?.stop({ signal: AbortSignal.abort() })
    await this.#starting?.catch(() => {})
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    try {
      this.#autoscaler?.stop()
      await this.#broker?.stopConsuming(this.#shutdown.untilCold)
      this.#tasks.drain()
      failpoint('shutdown.after_stop_consuming')
      await this.#shutdown.finish(this.#pool, this.#tasks)
      await Promise.all([atMost(clock, farewellMs, this.#limits.shared.close()), this.#presence.stop()])
      await this.#neighbours.stop()
      await this.#stateFile?.close()
      await this.#broker?.close()
    } finally {
      this.#state = 'stopped'
      clearInterval(this.#keepAlive)
      await this.#telemetry.close()
      this.#refusals.flush()
      this.#signals.stopped()
      this.#stopped.resolve()
    }
  }

  #panel(pool: Pool, queues: WorkerQueues): Panel {
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
