import { checkStopOptions, type StopOptions } from './worker-options.js'

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

  async stop(options: StopOptions = {}): Promise<void> {
    checkStopOptions(options)
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
