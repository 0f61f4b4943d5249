import type { Clock, Timer } from '../internal/clock.js'
import type { AbortCause, Continuations, KilledBy, Outcome, Run, TaskRequest } from '../pool.js'

/** Why the child of a run is about to be killed. */
export interface Kill {
  readonly by: KilledBy
  readonly signal: NodeJS.Signals
  readonly detail: string
  /** Only while it waits: a run that has started, or is the next one, goes on. */
  readonly onlyWaiting?: true
}

/** A signal that does not end a Node process is sent as SIGTERM: SIGUSR1, for one, would open its debugger. */
const endsProcess: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGABRT'])

export interface PoolRunOwner {
  readonly clock: Clock
  abortRun(run: PoolRun, cause: AbortCause): void
  killRun(run: PoolRun, kill: Kill): void
}

/**
 * One run in a pool of children:
 *
 *     waiting (in the pool) -> sent (in a child, may come back to waiting) -> started (accepted by the child) -> ended
 *
 * It ends once, from any of them; everything after the end is without effect.
 */
export class PoolRun implements Run {
  readonly outcome: Promise<Outcome>
  state: 'waiting' | 'sent' | 'started' | 'ended' = 'waiting'
  /** Set once somebody asked for the death of its child. */
  kill: Kill | undefined
  /** The first cause to abort it for; told to the child when the run is sent there later. */
  abortCause: AbortCause | undefined
  /** How many children died when this was the next that they would have started. */
  deaths = 0
  /** Monotonic ms of the last change of state. */
  since = 0
  readonly #owner: PoolRunOwner
  #accepted: Promise<{ readonly pid: number }> | undefined
  #accept: ((value: { readonly pid: number }) => void) | undefined
  /** Of the process that started it. */
  #pid: number | undefined
  #end!: (outcome: Outcome) => void
  #continuations: Continuations | null = null
  #timers: Timer[] | undefined

  constructor(
    readonly n: number,
    readonly request: TaskRequest,
    owner: PoolRunOwner,
  ) {
    this.#owner = owner
    this.outcome = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  get start(): { readonly pid: number; readonly sinceMs: number } | undefined {
    return this.#pid === undefined ? undefined : { pid: this.#pid, sinceMs: this.since }
  }

  /** Somebody waits to hear that it starts. */
  get startMatters(): boolean {
    return this.#accepted !== undefined && this.state !== 'started'
  }

  /** Made on first use: most tasks have nobody who asks. */
  get accepted(): Promise<{ readonly pid: number }> {
    this.#accepted ??= new Promise((resolve) => {
      if (this.#pid === undefined) this.#accept = resolve
      else resolve({ pid: this.#pid })
    })
    return this.#accepted
  }

  abort(cause: AbortCause): void {
    if (this.state === 'ended' || this.abortCause !== undefined) return
    this.abortCause = cause
    this.#owner.abortRun(this, cause)
  }

  terminate(asked: NodeJS.Signals): void {
    const signal = endsProcess.has(asked) ? asked : 'SIGTERM'
    this.#owner.killRun(this, { by: 'terminated', signal, detail: `terminated with ${signal}` })
  }

  withdraw(): void {
    this.#owner.killRun(this, { by: 'terminated', signal: 'SIGTERM', detail: 'revoked', onlyWaiting: true })
  }

  /** The limits count from the moment when nothing is in front of the run any more: a child that is stuck before the start is noticed, too. */
  startLimits(): void {
    if (this.#timers !== undefined || this.state === 'ended') return
    const { softTimeLimitMs, timeLimitMs } = this.request
    if (softTimeLimitMs === undefined && timeLimitMs === undefined) return
    this.#timers = []
    if (softTimeLimitMs !== undefined) this.#timers.push(this.#owner.clock.setTimer(softTimeLimitMs, () => this.abort('soft time limit')))
    if (timeLimitMs === undefined) return
    const kill: Kill = { by: 'time limit', signal: 'SIGKILL', detail: `time limit of ${timeLimitMs / 1000}s` }
    this.#timers.push(this.#owner.clock.setTimer(timeLimitMs, () => this.#owner.killRun(this, kill)))
  }

  started(pid: number, continuations: Continuations | null): void {
    if (this.state !== 'sent') return
    this.state = 'started'
    if (this.kill?.onlyWaiting === true) this.kill = undefined
    this.#continuations = continuations
    this.startLimits()
    this.#pid = pid
    this.#accept?.({ pid })
  }

  /** Back in the pool: nothing of it ran. */
  wait(): void {
    this.state = 'waiting'
    this.#stopTimers()
  }

  end(outcome: Outcome): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.#stopTimers()
    this.#end(outcome)
  }

  endKilled(by: KilledBy, pid: number, detail: string): void {
    if (this.kill?.onlyWaiting === true && by === this.kill.by)
      return this.end({ status: 'revoked', reason: 'revoked', continuations: null })
    const { timeLimitMs } = this.request
    const limit = by === 'time limit' && timeLimitMs !== undefined ? { limitMs: timeLimitMs } : {}
    this.end({ status: 'killed', by, pid, detail, ...limit, continuations: this.#continuations })
  }

  #stopTimers(): void {
    for (const timer of this.#timers ?? []) timer.cancel()
    this.#timers = undefined
  }
}
