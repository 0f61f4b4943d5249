import type { Duration } from '../internal/duration.js'

export interface WorkerOptions {
  /** Default: those of `taskQueues`, else the default queue. */
  queues?: string[]
  /** Tasks at the same time: processes of prefork, threads, calls of async. Default: `workerConcurrency`. */
  concurrency?: number
  /** Default: `prefork` when `app` is given, else `async`: children load the app from its file. */
  pool?: 'prefork' | 'threads' | 'async' | 'solo'
  /** Node name; `%h` is the host name, `%n` the part before the dot, `%d` the domain. Default `celery@%h`. */
  hostname?: string
  /** Stops the worker (warm) when it aborts. */
  signal?: AbortSignal
  /** Replace a child after so many tasks. */
  maxTasksPerChild?: number
  /** Replace a child whose memory is over so many KiB. */
  maxMemoryPerChild?: number
  /** Listen to what other workers say of themselves, and take part in elections. Default: on Redis and RabbitMQ, as Celery. */
  gossip?: boolean
  /** Ask other workers at the start which tasks are revoked. Default: on Redis and RabbitMQ, as Celery. */
  mingle?: boolean
  /** Tell monitors and other workers every `workerHeartbeatInterval` that this one is there. Default true. */
  heartbeat?: boolean
  /** The file that exports the app, for `prefork` and `threads`: a path or file URL, with `#name` for one export of several. */
  app?: string | URL
}

export interface StopOptions {
  /** warm: what runs may finish. soft: as warm for `workerSoftShutdownTimeout`, then as cold. cold: what runs is cut off and goes back to its queue. Default warm. */
  mode?: 'warm' | 'soft' | 'cold'
  /** Cold after it. Default: no limit for warm. */
  timeout?: Duration
}

/**
 * What a worker is at: `new` until it is started, `reconnecting` between the loss of its broker and the moment in which it consumes again, `draining` from
 * stop() on until what runs has ended.
 */
export type WorkerState = 'new' | 'starting' | 'consuming' | 'reconnecting' | 'draining' | 'stopped'

export interface Worker extends AsyncDisposable {
  readonly hostname: string
  readonly state: WorkerState
  /** Whether it takes tasks at this moment: for the readiness probe of a container. That it is alive is another question. */
  readonly isReady: boolean
  /** Starts, and settles when the worker has stopped. */
  run(): Promise<void>
  /** Settles when the worker consumes. */
  start(): Promise<this>
  /** Always ends. Safe twice, and during start. */
  stop(options?: StopOptions): Promise<void>
}

/** The worker of an app before its code is loaded: a program that only sends tasks never loads it. */
export class WorkerHandle implements Worker {
  readonly hostname: string
  readonly #load: () => Promise<Worker>
  #worker: Promise<Worker> | undefined
  /** Once it is loaded. */
  #loadedWorker: Worker | undefined

  constructor(hostname: string, load: () => Promise<Worker>) {
    this.hostname = hostname
    this.#load = load
  }

  get state(): WorkerState {
    return this.#loadedWorker?.state ?? (this.#worker === undefined ? 'new' : 'starting')
  }

  get isReady(): boolean {
    return this.#loadedWorker?.isReady ?? false
  }

  async start(): Promise<this> {
    await (await this.#loaded()).start()
    return this
  }

  async run(): Promise<void> {
    await (await this.#loaded()).run()
  }

  async stop(options?: StopOptions): Promise<void> {
    if (this.#worker !== undefined) await (await this.#worker).stop(options)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #loaded(): Promise<Worker> {
    this.#worker ??= this.#load().then((worker) => {
      this.#loadedWorker = worker
      return worker
    })
    return this.#worker
  }
}
