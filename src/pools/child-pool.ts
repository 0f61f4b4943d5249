/**
 * A pool of children, each a process or a thread of its own, so that a task that blocks, leaks or crashes harms only its own child.
 *
 * A child is booting -> ready -> draining (recycled, resized, stopped) -> gone, or dying -> gone when it is killed. The pool keeps `size` of them
 * booting or ready: whatever leaves is replaced at once, unless children die without having run anything: then it backs off.
 *
 * A run goes to an idle child, else to a free slot. When there is none, children whose runs are short get some ahead, to hide the way to them, and what they
 * say is heard for several at a time; a child that turns out to be busy for longer gives back what it has not started.
 */
import { availableParallelism } from 'node:os'
import { ChildBootError } from '../errors.js'
import type { Clock, Timer } from '../internal/clock.js'
import type { Logger } from '../internal/logger.js'
import type { AbortCause, Pool, PoolHost, Run, TaskRequest } from '../pool.js'
import { BootBackoff, type BootBackoffOptions } from './boot-backoff.js'
import type { OpenChild } from './child-link.js'
import { depthFor, hearEachMs, mostInPool, patienceFor, startPatienceMs } from './pipelining.js'
import { PoolChild } from './pool-child.js'
import { type Kill, PoolRun, type PoolRunOwner } from './pool-run.js'

export interface ChildPoolOptions {
  /** How many children. */
  readonly size: number
  /** How many tasks a child runs at the same time. Default 1: over it, a task that blocks or dies takes others with it. */
  readonly childConcurrency?: number
  /** A child is replaced after so many tasks. */
  readonly maxTasksPerChild?: number
  /** A child is replaced when it has over so many KiB of memory after a task. */
  readonly maxMemoryPerChild?: number
  /** Where short runs wait for their turn: in children (the default), in the pool, so that a child has what it runs and no other, or nowhere. */
  readonly ahead?: 'in children' | 'in pool' | 'none'
  readonly boot?: BootBackoffOptions
  readonly host: PoolHost
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn' | 'error'>
  /** Children cannot be started any more, though they could be at first; the pool keeps trying. Called once until it works again. */
  onFatal?(error: ChildBootError): void
}

/** What the children of a pool are. */
export interface ChildKind {
  readonly name: 'prefork' | 'threads'
  readonly open: OpenChild
  /** Other children live now. */
  changed?(children: readonly PoolChild[]): void
  /** All are gone, and none will come. */
  stop?(): void
}

/** A run whose child died that often right before the start is taken for the reason. */
const mostDeaths = 2
/** Children that boot at the same time before the first one could: the worker itself boots beside them, and with more than CPUs all would be late. */
const firstBoots = Math.min(2, Math.max(1, availableParallelism() - 1))

export class ChildPool implements Pool, PoolRunOwner {
  readonly name: string
  readonly supports = { timeLimit: true, terminate: true, ownLoop: true, resize: true }
  readonly clock: Clock
  readonly #options: ChildPoolOptions
  readonly #kind: ChildKind
  readonly #slots: number
  readonly #ahead: ChildPoolOptions['ahead']
  readonly #backoff: BootBackoff
  #state: 'new' | 'starting' | 'running' | 'stopping' = 'new'
  #size: number
  #children: PoolChild[] = []
  #waiting: PoolRun[] = []
  #lastRun = 0
  #bootTimer: Timer | undefined
  #pulse: Timer | undefined
  #starting: Promise<void> | undefined
  #started: { resolve(): void; reject(error: Error): void } | undefined
  #stopping: Promise<void> | undefined
  #toldFatal = false

  constructor(kind: ChildKind, options: ChildPoolOptions) {
    this.name = kind.name
    this.#kind = kind
    this.#options = options
    this.#size = options.size
    this.#slots = options.childConcurrency ?? 1
    this.#ahead = options.ahead ?? 'in children'
    this.#backoff = new BootBackoff(options.boot)
    this.clock = options.clock
  }

  get capacity(): number {
    return this.#size * this.#slots
  }

  get size(): number {
    return this.#size
  }

  get window(): number {
    if (this.#slots > 1 || this.#ahead === 'none' || this.#children.length === 0) return this.capacity
    let depth = Number.POSITIVE_INFINITY
    for (const child of this.#children) depth = Math.min(depth, depthFor(child.averageMs))
    return this.#ahead === 'in pool' ? Math.min(this.#size * depth, this.#size + mostInPool) : this.#size * depth
  }

  get pids(): readonly number[] {
    // Threads share one.
    return [...new Set(this.#children.map((child) => child.pid).filter((pid) => pid !== 0))]
  }

  /** Settles when the first child is ready; the others follow. A pool starts once: after `stop()` it rejects. */
  start(): Promise<void> {
    this.#starting ??= new Promise((resolve, reject) => {
      if (this.#state !== 'new') return reject(new ChildBootError('the pool was stopped before it was started'))
      this.#state = 'starting'
      this.#started = { resolve, reject }
      this.#fill()
    })
    return this.#starting
  }

  run(request: TaskRequest): Run {
    const run = new PoolRun(++this.#lastRun, request, this)
    this.#waiting.push(run)
    if (this.#state === 'stopping') this.#endWaiting()
    else this.#dispatch()
    return run
  }

  /** Settles when the new children are ready (or could not boot: the pool goes on trying). Children over the size finish what they run. */
  async resize(size: number): Promise<void> {
    this.#size = size
    const serving = this.#children.filter((child) => child.isServing).sort((a, b) => a.runs.size - b.runs.size)
    for (const child of serving.slice(0, Math.max(0, serving.length - size))) this.#retire(child)
    if (this.#state !== 'running') return
    this.#fill()
    await Promise.all(this.#children.map((child) => child.booted))
  }

  /** Settles when the new children are ready. */
  async restart(): Promise<void> {
    for (const child of this.#children.filter((child) => child.isServing)) this.#retire(child)
    await Promise.all(this.#children.map((child) => child.booted))
  }

  async stop({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    this.#stopping ??= this.#stop()
    const kill: Kill = { by: 'shutdown', signal: 'SIGKILL', detail: 'the pool was stopped' }
    const killAll = (): void => {
      for (const child of this.#children) child.killNow(kill)
    }
    if (signal.aborted) killAll()
    signal.addEventListener('abort', killAll, { once: true })
    try {
      await this.#stopping
    } finally {
      signal.removeEventListener('abort', killAll)
    }
  }

  abortRun(run: PoolRun, _cause: AbortCause): void {
    this.#childOf(run)?.abort(run)
  }

  /** Kills the child of a run and never that of another: what stands behind it in the child is taken back before. */
  killRun(run: PoolRun, kill: Kill): void {
    // It may have ended.
    this.#childOf(run)?.hear()
    if (run.state === 'ended' || (run.kill !== undefined && run.kill.onlyWaiting !== true)) return
    const child = this.#childOf(run)
    if (kill.onlyWaiting === true && child !== undefined && (this.#slots > 1 || child.isFirst(run))) return
    if (child === undefined) {
      run.kill = kill
      this.#waiting = this.#waiting.filter((other) => other !== run)
      run.endKilled(kill.by, 0, `${kill.detail}; not started`)
      return
    }
    if (child.runs.size > 1 && this.#slots > 1 && kill.by === 'terminated') {
      run.abort('revoked')
      return
    }
    run.kill = kill
    if (child.runs.size === 1 || this.#slots > 1) child.kill(kill, run)
    else child.giveBack()
  }

  async #stop(): Promise<void> {
    this.#state = 'stopping'
    this.#bootTimer?.cancel()
    this.#started?.reject(new ChildBootError('the pool was stopped while it started'))
    this.#endWaiting()
    for (const child of this.#children) {
      if (child.state === 'booting') child.kill({ by: 'shutdown', signal: 'SIGKILL', detail: 'the pool was stopped' })
      else child.drain()
    }
    await Promise.all(this.#children.map((child) => child.gone))
    this.#pulse?.cancel()
    this.#kind.stop?.()
  }

  #endWaiting(): void {
    for (const run of this.#waiting) run.endKilled('shutdown', 0, 'not started')
    this.#waiting = []
  }

  // ── which run goes where ───────────────────────────────────────────────────

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const child = this.#nextChild()
      if (child === undefined) return
      const run = this.#waiting.shift()
      if (run !== undefined) this.#send(run, child)
    }
  }

  #nextChild(): PoolChild | undefined {
    const free = this.#leastBusy((child) => child.runs.size < this.#slots)
    if (free !== undefined || this.#slots > 1) return free
    const now = this.clock.monotonic()
    return this.#leastBusy(
      (child) => child.runs.size < this.#depthOf(child) && !child.full && now - child.busySince(now) < patienceFor(child.averageMs),
    )
  }

  #depthOf(child: PoolChild): number {
    return this.#ahead === 'in children' ? depthFor(child.averageMs) : 1
  }

  #leastBusy(fits: (child: PoolChild) => boolean): PoolChild | undefined {
    let best: PoolChild | undefined
    for (const child of this.#children) {
      if (child.state !== 'ready' || child.givingBack || !fits(child)) continue
      if (best === undefined || child.runs.size < best.runs.size || (child.runs.size === best.runs.size && child.taken < best.taken))
        best = child
    }
    return best
  }

  #send(run: PoolRun, child: PoolChild): void {
    try {
      child.send(run)
    } catch (error) {
      run.end({
        status: 'undecodable',
        reason: `the request cannot be sent to a child: ${error instanceof Error ? error.message : String(error)}`,
      })
      return
    }
    child.full = child.runs.size >= this.#depthOf(child)
    if (child.taken >= (this.#options.maxTasksPerChild ?? Number.POSITIVE_INFINITY)) this.#retire(child)
    this.#pulse ??= this.clock.setTimer(hearEachMs, () => this.#look())
  }

  /** While something was sent and has not started: hears the children, takes it back from where it would wait long, and kills what does not start at all. */
  #look(): void {
    this.#pulse = undefined
    const now = this.clock.monotonic()
    for (const child of this.#children) {
      child.hear()
      const runs = [...child.runs.values()]
      const [first] = runs
      if (first === undefined || !runs.some((run) => run.state === 'sent')) continue
      this.#pulse ??= this.clock.setTimer(hearEachMs, () => this.#look())
      if (this.#slots === 1 && runs.length > 1 && now - first.since > patienceFor(child.averageMs)) child.giveBack()
      if (runs.every((run) => run.state === 'sent') && now - first.since > startPatienceMs) {
        child.kill({ by: 'lost', signal: 'SIGKILL', detail: `it did not start a task within ${startPatienceMs / 1000}s` })
      }
    }
  }

  /** To the front, in their order: they were first. */
  #wait(runs: readonly PoolRun[]): void {
    for (const run of runs) run.wait()
    this.#waiting.unshift(...runs)
    if (this.#state === 'stopping') this.#endWaiting()
  }

  #childOf(run: PoolRun): PoolChild | undefined {
    return this.#children.find((child) => child.runs.has(run.n))
  }

  // ── children come and go ───────────────────────────────────────────────────

  #fill(): void {
    if (this.#state !== 'starting' && this.#state !== 'running') return
    const booting = this.#children.filter((child) => child.state === 'booting').length
    const most = this.#backoff.failures > 0 ? 1 : this.#state === 'starting' ? firstBoots : this.#size
    const missing = this.#size - this.#children.filter((child) => child.isServing).length
    if (this.#bootTimer === undefined) for (let forks = Math.min(missing, most - booting); forks > 0; forks--) this.#fork()
  }

  #fork(): void {
    const { host, clock } = this.#options
    host.beforeProcess?.()
    const child = new PoolChild(
      { open: this.#kind.open, concurrency: this.#slots, host, clock },
      {
        onReady: () => this.#onReady(),
        onOutcome: (child) => this.#onOutcome(child),
        onGaveBack: (child, runs) => this.#onGaveBack(child, runs),
        onExit: (child) => this.#onExit(child),
      },
    )
    this.#children.push(child)
    this.#kind.changed?.(this.#children)
  }

  #retire(child: PoolChild): void {
    if (child.state === 'booting') child.kill({ by: 'shutdown', signal: 'SIGKILL', detail: 'the pool was made smaller' })
    else child.drain()
    this.#fill()
  }

  #onReady(): void {
    if (this.#state === 'starting') {
      this.#state = 'running'
      this.#started?.resolve()
    }
    this.#fill()
    this.#dispatch()
  }

  #onOutcome(child: PoolChild): void {
    if (this.#backoff.failures > 0) this.#recovered()
    if (child.runs.size <= this.#depthOf(child) / 2) child.full = false
    if (child.state === 'ready' && child.memoryKib > (this.#options.maxMemoryPerChild ?? Number.POSITIVE_INFINITY)) {
      // What it has ahead would make it larger.
      child.giveBack()
      this.#retire(child)
    }
    this.#dispatch()
  }

  #onGaveBack(child: PoolChild, runs: readonly PoolRun[]): void {
    child.full = false
    for (const run of runs) if (run.kill !== undefined) run.endKilled(run.kill.by, 0, `${run.kill.detail}; not started`)
    this.#wait(runs.filter((run) => run.state !== 'ended'))
    const [last] = child.runs.values()
    if (last?.kill !== undefined && last.kill.onlyWaiting !== true && child.runs.size === 1) child.kill(last.kill, last)
    this.#dispatch()
  }

  #onExit(child: PoolChild): void {
    this.#children = this.#children.filter((other) => other !== child)
    this.#kind.changed?.(this.#children)
    this.#settleRunsOf(child)
    if (!child.endedOnPurpose && !child.worked) this.#bootFailed(child)
    else if (!child.endedOnPurpose) this.#options.log.warn({ pid: child.pid, exit: child.exit }, child.describeExit())
    this.#fill()
    this.#dispatch()
  }

  /** What had started shares the fate of its child. What had not is run elsewhere, unless it is what kills the children. */
  #settleRunsOf(child: PoolChild): void {
    const runs = [...child.runs.values()]
    const suspect = runs.every((run) => run.state === 'sent') ? runs[0] : undefined
    if (suspect !== undefined) suspect.deaths++
    const back: PoolRun[] = []
    for (const run of runs) {
      const { by, detail } = child.fateOf(run)
      if (run.state === 'started' || run.kill?.by === by) run.endKilled(by, child.pid, detail)
      else if (run.deaths >= mostDeaths) run.endKilled('lost', child.pid, `${detail}; ${run.deaths} children died right before it started`)
      else back.push(run)
    }
    this.#wait(back)
  }

  #bootFailed(child: PoolChild): void {
    const { log, onFatal, clock } = this.#options
    const text = child.reportedError ?? child.describeExit()
    const waitMs = this.#backoff.failed(clock.monotonic(), text)
    const { failures, attempts, firstError = text } = this.#backoff
    if (this.#state === 'stopping') return
    log.error({ pid: child.pid, exit: child.exit, failures }, `a child of the pool did not live until its first task: ${text}`)
    const error = new ChildBootError(
      `${failures} children of the pool in a row did not live until their first task. The first one: ${firstError}`,
    )
    if (this.#state === 'starting' && failures >= attempts) {
      this.#started?.reject(error)
      this.#stopping ??= this.#stop()
      return
    }
    // The system has no process or file to give at the moment: that passes, and says nothing about the app.
    const isRefused = child.pid === 0
    if (failures >= attempts && !isRefused && !this.#toldFatal) {
      this.#toldFatal = true
      onFatal?.(error)
    }
    this.#bootTimer?.cancel()
    const again = (): void => {
      this.#bootTimer = undefined
      this.#fill()
    }
    this.#bootTimer = clock.setTimer(waitMs, again, { keepAlive: true })
  }

  #recovered(): void {
    this.#backoff.worked()
    this.#toldFatal = false
    this.#fill()
  }
}
