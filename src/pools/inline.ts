/**
 * The `async` and `solo` pools: tasks run in the worker's own process, many or one at a time. For tasks that wait (I/O); nothing is started, and a
 * task costs next to nothing.
 *
 * What they cannot do, because the process is shared: a task cannot be killed. A hard time limit and `terminate` abort the task's signal, and the
 * task decides. A task that calls `process.exit()`, runs out of memory or leaves an error uncaught ends the worker: what ran is delivered again.
 * A task that blocks the event loop stops everything; after `maxBlockMs` the worker ends itself with exit code 70 (see block-watchdog.ts).
 */
import type { Clock, Timer } from '../internal/clock.js'
import type {
  AbortCause,
  Continuations,
  Execute,
  ExecuteRun,
  KilledBy,
  Outcome,
  Pool,
  PoolHost,
  PoolSupports,
  Run,
  TaskRequest,
} from '../pool.js'
import { BlockWatchdog } from './block-watchdog.js'
import { TaskSignal } from './task-signal.js'

export interface InlinePoolOptions {
  readonly name: 'async' | 'solo'
  /** How many tasks run at the same time; `solo` runs 1. */
  readonly concurrency: number
  readonly execute: Execute
  readonly host: PoolHost
  readonly clock: Clock
  /** After so long with a blocked event loop, while tasks run, the process ends with exit code 70. 0: never. Default 10 000. */
  readonly maxBlockMs?: number
}

export class InlinePool implements Pool {
  readonly name: string
  readonly supports: PoolSupports
  readonly #options: InlinePoolOptions
  readonly #watchdog: BlockWatchdog | undefined
  readonly #running = new Set<InlineRun>()
  #concurrency: number
  #waiting: InlineRun[] = []
  #isStarting = false
  #state: 'new' | 'running' | 'stopping' = 'new'
  #whenIdle: (() => void) | undefined
  #stopping: Promise<void> | undefined

  constructor(options: InlinePoolOptions) {
    const { name, concurrency, maxBlockMs = 10_000 } = options
    this.name = name
    this.supports = { timeLimit: false, terminate: false, ownLoop: false, resize: name === 'async' }
    this.#options = options
    this.#concurrency = name === 'solo' ? 1 : concurrency
    if (maxBlockMs > 0) this.#watchdog = new BlockWatchdog(maxBlockMs)
  }

  get capacity(): number {
    return this.#concurrency
  }

  get size(): number {
    return this.#concurrency
  }

  get window(): number {
    return this.#concurrency
  }

  get pids(): readonly number[] {
    return [process.pid]
  }

  async start(): Promise<void> {
    if (this.#state !== 'new') return
    this.#state = 'running'
    this.#startNext()
  }

  run(request: TaskRequest): Run {
    const run = new InlineRun(request, this.#options)
    if (this.#state === 'running' && this.#running.size < this.#concurrency) this.#start(run)
    else if (this.#state === 'stopping') run.endKilled('shutdown', 'not started')
    else this.#waiting.push(run)
    return run
  }

  /** How many tasks run at the same time from now on; what runs already goes on. `solo` stays at 1. */
  async resize(concurrency: number): Promise<void> {
    if (this.name === 'solo') return
    this.#concurrency = concurrency
    this.#startNext()
  }

  async stop({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#stopping ??= this.#stop()
    const abandonAll = (): void => {
      for (const run of this.#running) run.abandon()
    }
    if (signal.aborted) abandonAll()
    signal.addEventListener('abort', abandonAll, { once: true })
    try {
      await this.#stopping
    } finally {
      signal.removeEventListener('abort', abandonAll)
    }
  }

  async #stop(): Promise<void> {
    this.#state = 'stopping'
    for (const run of this.#waiting) run.endKilled('shutdown', 'not started')
    this.#waiting = []
    if (this.#running.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve
      })
    }
    await this.#watchdog?.stop()
  }

  #start(run: InlineRun): void {
    // Ended while it waited: terminated.
    if (run.ended !== undefined) return
    this.#running.add(run)
    run.slot = this.#watchdog?.enter(run.request.id)
    run.begin(this.#onEnd)
  }

  readonly #onEnd = (run: InlineRun): void => {
    if (run.slot !== undefined) this.#watchdog?.leave(run.slot)
    this.#running.delete(run)
    if (this.#waiting.length > 0) this.#startNext()
    if (this.#running.size === 0) this.#whenIdle?.()
  }

  #startNext(): void {
    // A run that has ended at once comes back here.
    if (this.#isStarting) return
    this.#isStarting = true
    try {
      while (this.#state === 'running' && this.#running.size < this.#concurrency) {
        const run = this.#waiting.shift()
        if (run === undefined) return
        this.#start(run)
      }
    } finally {
      this.#isStarting = false
    }
  }
}

class InlineRun implements Run {
  ended: Outcome | undefined
  continuations: Continuations | null = null
  #isAccepted = false
  #sinceMs = 0
  #accepted: Promise<{ readonly pid: number }> | undefined
  #accept: ((value: { readonly pid: number }) => void) | undefined
  #task: TaskSignal | undefined
  #outcome: Promise<Outcome> | undefined
  #resolve: ((outcome: Outcome) => void) | undefined
  #onEnd: ((run: InlineRun) => void) | undefined
  #timer: Timer | undefined
  /** Its place in the watchdog's memory. */
  slot: number | undefined

  constructor(
    readonly request: TaskRequest,
    readonly options: InlinePoolOptions,
  ) {}

  /** Made on first use, as `accepted` and the signal are: together they would cost as much as all the rest of a small task. */
  get outcome(): Promise<Outcome> {
    this.#outcome ??= new Promise((resolve) => {
      if (this.ended !== undefined) resolve(this.ended)
      else this.#resolve = resolve
    })
    return this.#outcome
  }

  get accepted(): Promise<{ readonly pid: number }> {
    this.#accepted ??= new Promise((resolve) => {
      if (this.#isAccepted) resolve({ pid: process.pid })
      else this.#accept = resolve
    })
    return this.#accepted
  }

  get start(): { readonly pid: number; readonly sinceMs: number } | undefined {
    return this.#isAccepted ? { pid: process.pid, sinceMs: this.#sinceMs } : undefined
  }

  get task(): TaskSignal {
    this.#task ??= new TaskSignal(this.request)
    return this.#task
  }

  abort(cause: AbortCause): void {
    if (this.ended === undefined) this.task.abort(cause)
  }

  terminate(): void {
    if (this.#onEnd === undefined) this.endKilled('terminated', 'not started')
    else this.abort('revoked')
  }

  withdraw(): void {
    if (this.#onEnd === undefined) this.#end({ status: 'revoked', reason: 'revoked', continuations: null })
  }

  begin(onEnd: (run: InlineRun) => void): void {
    this.#onEnd = onEnd
    this.#startLimits()
    const outcome = this.options.execute(this.request, new InlineExecution(this))
    if (outcome instanceof Promise) void outcome.then((later) => this.#end(later))
    else this.#end(outcome)
  }

  isAccepted(continuations: Continuations | null): void {
    this.#isAccepted = true
    this.#sinceMs = this.options.clock.monotonic()
    this.continuations = continuations
    this.#accept?.({ pid: process.pid })
  }

  /** Its outcome is settled now; the function goes on, if it does not heed its signal. */
  abandon(): void {
    this.abort('shutdown')
    this.endKilled('shutdown', 'the pool was stopped; the function may still run, for this pool cannot kill it')
  }

  endKilled(by: KilledBy, detail: string): void {
    this.#end({ status: 'killed', by, pid: process.pid, detail, continuations: this.continuations })
  }

  /** Both limits abort: for a hard limit this is all that can be done here. */
  #startLimits(): void {
    const { softTimeLimitMs, timeLimitMs } = this.request
    if (softTimeLimitMs === undefined && timeLimitMs === undefined) return
    const limitMs = Math.min(softTimeLimitMs ?? Number.POSITIVE_INFINITY, timeLimitMs ?? Number.POSITIVE_INFINITY)
    this.#timer = this.options.clock.setTimer(limitMs, () => this.abort('soft time limit'))
  }

  #end(outcome: Outcome): void {
    if (this.ended !== undefined) return
    this.ended = outcome
    this.#timer?.cancel()
    this.#resolve?.(outcome)
    this.#onEnd?.(this)
  }
}

class InlineExecution implements ExecuteRun {
  readonly #run: InlineRun

  constructor(run: InlineRun) {
    this.#run = run
  }

  get signal(): AbortSignal {
    return this.#run.task.signal
  }

  get abortCause(): AbortCause | undefined {
    return this.#run.task.cause
  }

  storeState(state: string, meta: unknown): Promise<void> {
    return this.#run.options.host.storeState(this.#run.request.id, state, meta)
  }

  accepted(continuations: Continuations | null): void {
    this.#run.isAccepted(continuations)
  }
}
