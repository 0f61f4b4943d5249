/**
 * The children of a pool, each a process or a thread of its own.
 *
 * A child is booting -> ready -> draining (recycled, resized, stopped) -> gone, or dying -> gone when it is killed. There are `size` of them booting or ready: whatever
 * leaves is replaced at once, unless children die without having run anything: then it backs off.
 */
import { availableParallelism } from 'node:os'
import { ChildBootError } from '../errors.js'
import type { Clock, Timer } from '../internal/clock.js'
import type { Logger } from '../internal/logger.js'
import type { PoolHost } from '../pool.js'
import { BootBackoff, type BootBackoffOptions } from './boot-backoff.js'
import type { OpenChild } from './child-link.js'
import { PoolChild } from './pool-child.js'
import type { PoolRun } from './pool-run.js'

export interface ChildrenOptions {
  /** How many children. */
  readonly size: number
  /** How many tasks a child runs at the same time. Default 1: over it, a task that blocks or dies takes others with it. */
  readonly childConcurrency?: number
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

export interface ChildrenEvents {
  /** There may be places for runs. */
  onPlaces(): void
  onOutcome(child: PoolChild): void
  onGaveBack(child: PoolChild, runs: readonly PoolRun[]): void
  /** It is gone; `child.runs` is what it still held. */
  onExit(child: PoolChild): void
  /** No child gets a run any more. */
  onStopping(): void
}

/** Children that boot at the same time before the first one could: the worker itself boots beside them, and with more than CPUs all would be late. */
const firstBoots = Math.min(2, Math.max(1, availableParallelism() - 1))

export class Children {
  readonly concurrency: number
  readonly #kind: ChildKind
  readonly #options: ChildrenOptions
  readonly #events: ChildrenEvents
  readonly #backoff: BootBackoff
  #state: 'new' | 'starting' | 'running' | 'stopping' = 'new'
  #size: number
  #all: PoolChild[] = []
  #bootTimer: Timer | undefined
  #starting: Promise<void> | undefined
  #started: { resolve(): void; reject(error: Error): void } | undefined
  #stopping: Promise<void> | undefined
  #toldFatal = false

  constructor(kind: ChildKind, options: ChildrenOptions, events: ChildrenEvents) {
    this.#kind = kind
    this.#options = options
    this.#events = events
    this.#size = options.size
    this.concurrency = options.childConcurrency ?? 1
    this.#backoff = new BootBackoff(options.boot)
  }

  /** Those that live now. */
  get all(): readonly PoolChild[] {
    return this.#all
  }

  /** How many there are to be. */
  get size(): number {
    return this.#size
  }

  get isStopping(): boolean {
    return this.#state === 'stopping'
  }

  /** Settles when the first child is ready; the others follow. Once: after `stop()` it rejects. */
  start(): Promise<void> {
    this.#starting ??= new Promise((resolve, reject) => {
      if (this.#state !== 'new') return reject(new ChildBootError('the pool was stopped before it was started'))
      this.#state = 'starting'
      this.#started = { resolve, reject }
      this.#fill()
    })
    return this.#starting
  }

  /** Settles when the new children are ready (or could not boot: the pool goes on trying). Children over the size finish what they run. */
  async resize(size: number): Promise<void> {
    this.#size = size
    const serving = this.#all.filter((child) => child.isServing).sort((a, b) => a.runs.size - b.runs.size)
    for (const child of serving.slice(0, Math.max(0, serving.length - size))) this.retire(child)
    if (this.#state !== 'running') return
    this.#fill()
    await this.#booted()
  }

  /** Settles when the new children are ready. */
  async restart(): Promise<void> {
    for (const child of this.#all.filter((child) => child.isServing)) this.retire(child)
    await this.#booted()
  }

  /** It gets no more runs, and another takes its place. */
  retire(child: PoolChild): void {
    if (child.state === 'booting') child.kill({ by: 'shutdown', signal: 'SIGKILL', detail: 'the pool was made smaller' })
    else child.drain()
    this.#fill()
  }

  /** One of them has run a task: what was wrong with the others before is over. */
  worked(): void {
    if (this.#backoff.failures === 0) return
    this.#backoff.worked()
    this.#toldFatal = false
    this.#fill()
  }

  /** Settles when all are gone; they finish what they have. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#state = 'stopping'
    this.#bootTimer?.cancel()
    this.#started?.reject(new ChildBootError('the pool was stopped while it started'))
    this.#events.onStopping()
    for (const child of this.#all) {
      if (child.state === 'booting') child.kill({ by: 'shutdown', signal: 'SIGKILL', detail: 'the pool was stopped' })
      else child.drain()
    }
    await Promise.all(this.#all.map((child) => child.gone))
    this.#kind.stop?.()
  }

  async #booted(): Promise<void> {
    await Promise.all(this.#all.map((child) => child.booted))
  }

  #fill(): void {
    if (this.#state !== 'starting' && this.#state !== 'running') return
    const booting = this.#all.filter((child) => child.state === 'booting').length
    const most = this.#backoff.failures > 0 ? 1 : this.#state === 'starting' ? firstBoots : this.#size
    const missing = this.#size - this.#all.filter((child) => child.isServing).length
    if (this.#bootTimer === undefined) for (let forks = Math.min(missing, most - booting); forks > 0; forks--) this.#fork()
  }

  #fork(): void {
    const { host, clock } = this.#options
    host.beforeProcess?.()
    const child = new PoolChild(
      { open: this.#kind.open, concurrency: this.concurrency, host, clock },
      {
        onReady: () => this.#onReady(),
        onOutcome: (child) => this.#events.onOutcome(child),
        onGaveBack: (child, runs) => this.#events.onGaveBack(child, runs),
        onExit: (child) => this.#onExit(child),
      },
    )
    this.#all.push(child)
    this.#kind.changed?.(this.#all)
  }

  #onReady(): void {
    if (this.#state === 'starting') {
      this.#state = 'running'
      this.#started?.resolve()
    }
    this.#fill()
    this.#events.onPlaces()
  }

  #onExit(child: PoolChild): void {
    this.#all = this.#all.filter((other) => other !== child)
    this.#kind.changed?.(this.#all)
    this.#events.onExit(child)
    if (!child.endedOnPurpose && !child.worked) this.#bootFailed(child)
    else if (!child.endedOnPurpose) this.#options.log.warn({ pid: child.pid, exit: child.exit }, child.describeExit())
    this.#fill()
    this.#events.onPlaces()
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
      void this.stop()
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
}
