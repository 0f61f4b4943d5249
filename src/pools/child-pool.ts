/**
 * A pool of children (children.ts), so that a task that blocks, leaks or crashes harms only its own child.
 *
 * A run goes to an idle child, else to a free slot. When there is none, children whose runs are short get some ahead, to hide the way to them, and what they
 * say is heard for several at a time; a child that turns out to be busy for longer gives back what it has not started.
 */
import type { Clock, Timer } from '../internal/clock.js'
import type { AbortCause, Pool, Run, TaskRequest } from '../pool.js'
import { type ChildKind, Children, type ChildrenEvents, type ChildrenOptions } from './children.js'
import { depthFor, hearEachMs, mostInPool, patienceFor, startPatienceMs } from './pipelining.js'
import type { PoolChild } from './pool-child.js'
import { type Kill, PoolRun, type PoolRunOwner } from './pool-run.js'

export interface ChildPoolOptions extends ChildrenOptions {
  /** A child is replaced after so many tasks. */
  readonly maxTasksPerChild?: number
  /** A child is replaced when it has over so many KiB of memory after a task. */
  readonly maxMemoryPerChild?: number
  /** Where short runs wait for their turn: in children (the default), in the pool, so that a child has what it runs and no other, or nowhere. */
  readonly ahead?: 'in children' | 'in pool' | 'none'
}

/** A run whose child died that often right before the start is taken for the reason. */
const mostDeaths = 2

export class ChildPool implements Pool, PoolRunOwner {
  readonly name: string
  readonly supports = { timeLimit: true, terminate: true, ownLoop: true, resize: true }
  readonly clock: Clock
  readonly #options: ChildPoolOptions
  readonly #slots: number
  readonly #ahead: ChildPoolOptions['ahead']
  readonly #children: Children
  #waiting: PoolRun[] = []
  #lastRun = 0
  #pulse: Timer | undefined

  constructor(kind: ChildKind, options: ChildPoolOptions) {
    this.name = kind.name
    this.#options = options
    this.#ahead = options.ahead ?? 'in children'
    this.#children = new Children(kind, options, this.#events())
    this.#slots = this.#children.concurrency
    this.clock = options.clock
  }

  get capacity(): number {
    return this.#children.size * this.#slots
  }

  get size(): number {
    return this.#children.size
  }

  get window(): number {
    if (this.#slots > 1 || this.#ahead === 'none' || this.#children.all.length === 0) return this.capacity
    let depth = Number.POSITIVE_INFINITY
    for (const child of this.#children.all) depth = Math.min(depth, depthFor(child.averageMs))
    return this.#ahead === 'in pool' ? Math.min(this.#children.size * depth, this.#children.size + mostInPool) : this.#children.size * depth
  }

  get pids(): readonly number[] {
    // Threads share one.
    return [...new Set(this.#children.all.map((child) => child.pid).filter((pid) => pid !== 0))]
  }

  /** Settles when the first child is ready; the others follow. A pool starts once: after `stop()` it rejects. */
  start(): Promise<void> {
    return this.#children.start()
  }

  run(request: TaskRequest): Run {
    const run = new PoolRun(++this.#lastRun, request, this)
    this.#waiting.push(run)
    if (this.#children.isStopping) this.#endWaiting()
    else this.#dispatch()
    return run
  }

  /** Settles when the new children are ready (or could not boot: the pool goes on trying). Children over the size finish what they run. */
  resize(size: number): Promise<void> {
    return this.#children.resize(size)
  }

  /** Settles when the new children are ready. */
  restart(): Promise<void> {
    return this.#children.restart()
  }

  async stop({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const stopped = this.#children.stop()
    const kill: Kill = { by: 'shutdown', signal: 'SIGKILL', detail: 'the pool was stopped' }
    const killAll = (): void => {
      for (const child of this.#children.all) child.killNow(kill)
    }
    if (signal.aborted) killAll()
    signal.addEventListener('abort', killAll, { once: true })
    try {
      await stopped
    } finally {
      this.#pulse?.cancel()
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
    for (const child of this.#children.all) {
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
    if (child.taken >= (this.#options.maxTasksPerChild ?? Number.POSITIVE_INFINITY)) this.#children.retire(child)
    this.#pulse ??= this.clock.setTimer(hearEachMs, () => this.#look())
  }

  /** While something was sent and has not started: hears the children, takes it back from where it would wait long, and kills what does not start at all. */
  #look(): void {
    this.#pulse = undefined
    const now = this.clock.monotonic()
    for (const child of this.#children.all) {
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
    if (this.#children.isStopping) this.#endWaiting()
  }

  #childOf(run: PoolRun): PoolChild | undefined {
    return this.#children.all.find((child) => child.runs.has(run.n))
  }

  // ── what children tell ─────────────────────────────────────────────────────

  #events(): ChildrenEvents {
    return {
      onPlaces: () => this.#dispatch(),
      onOutcome: (child) => this.#onOutcome(child),
      onGaveBack: (child, runs) => this.#onGaveBack(child, runs),
      onExit: (child) => this.#settleRunsOf(child),
      onStopping: () => this.#endWaiting(),
    }
  }

  #onOutcome(child: PoolChild): void {
    this.#children.worked()
    if (child.runs.size <= this.#depthOf(child) / 2) child.full = false
    if (child.state === 'ready' && child.memoryKib > (this.#options.maxMemoryPerChild ?? Number.POSITIVE_INFINITY)) {
      // What it has ahead would make it larger.
      child.giveBack()
      this.#children.retire(child)
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
}
