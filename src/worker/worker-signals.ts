import type { AppCore } from '../app/core.js'
import type { Signals } from '../app/signals.js'
import type { StopOptions, WorkerOptions } from '../app/worker-options.js'
import type { Pool } from '../pool.js'

const harder = ['warm', 'soft', 'cold'] as const

/** The signals of one worker, in the order of its life. */
export class WorkerSignals {
  readonly #core: AppCore
  readonly #hostname: string
  /** How hard it was told to stop: a place in `harder`, -1 before that. */
  #stopping = -1
  /** Tasks run in this process, and it is told so. */
  #runsHere = false

  constructor(core: AppCore, hostname: string) {
    this.#core = core
    this.#hostname = hostname
  }

  init(options: WorkerOptions): void {
    this.#tell('celerydInit', () => ({ hostname: this.#hostname, conf: this.#core.config, options: { ...options } }))
  }

  beforeProcess(): void {
    this.#tell('workerBeforeCreateProcess', () => ({ hostname: this.#hostname }))
  }

  /** Before the pool starts. */
  setUp(pool: Pool): void {
    this.#tell('celerydAfterSetup', () => ({ hostname: this.#hostname, conf: this.#core.config }))
    this.#tell('workerInit', () => ({ hostname: this.#hostname }))
    if (pool.supports.ownLoop) return
    this.#runsHere = true
    this.#tell('workerProcessInit', () => ({ hostname: this.#hostname, pid: process.pid }))
  }

  ready(): void {
    this.#tell('workerReady', () => ({ hostname: this.#hostname }))
  }

  /** Each of the ways once, and never a softer one after a harder. */
  stopping(how: NonNullable<StopOptions['mode']> = 'warm'): void {
    const hardness = harder.indexOf(how)
    if (hardness <= this.#stopping) return
    this.#stopping = hardness
    this.#tell('workerShuttingDown', () => ({ hostname: this.#hostname, how }))
  }

  stopped(): void {
    if (this.#runsHere) this.#tell('workerProcessShutdown', () => ({ pid: process.pid, exitcode: 0 }))
    this.#tell('workerShutdown', () => ({ hostname: this.#hostname }))
  }

  #tell<E extends keyof Signals>(signal: E, event: () => Signals[E]): void {
    this.#core.hooks.tell(signal, this.#core.log, event)
  }
}
