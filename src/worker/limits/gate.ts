import type { AppCore } from '../../app/core.js'
import type { Timer } from '../../internal/clock.js'
import type { ActiveTask } from '../active-task.js'
import { type Bucket, longestHoldMs, putOffMs } from '../rate-limits.js'
import type { Limiter, Verdict } from './limiter.js'
import type { Pass } from './pass.js'

/** Tasks that wait for the same: the first ones ask, the others wait behind them. */
interface Line extends Bucket {
  readonly pass: Pass
  readonly tasks: ActiveTask[]
  /** How often one of them starts: told by the rate; or half of what was seen, so that rather too many come back from the broker than too few. */
  intervalMs: number
  grantedMs: number | undefined
  /** Until it may be asked again. */
  timer: Timer | undefined
  by: 'rate' | 'slots'
}

export interface GateParts {
  /** How many more tasks the pool would take now, the places that are kept included. */
  readonly places: () => number
  /** They may run: in this order, before all others. Also called without any, when there are places again. */
  readonly onTurns: (tasks: readonly ActiveTask[]) => void
  readonly onDropped: (task: ActiveTask) => void
  /** To go back to the broker for so many ms. */
  readonly onPutOff: (task: ActiveTask, ms: number) => void
}

/** Of all lines together, so many wait here at most. */
const mostHeld = 1_000
/** While a question is open, the pool keeps a place for its task; not for longer, so that a store that does not answer holds nobody else up. */
const longestReservedMs = 1_000
/** After a store could not be asked. */
const troubledMs = 1_000
/** Tasks that wait for longer look in again after this time: a limit may have been raised. */
const longestAwayMs = 300_000
/** Before it is known how long tasks of a line run. */
const firstIntervalMs = 5

/**
 * The limits that workers share, for the tasks of one connection: a task asks when the pool has a place for it, and waits here, beside the prefetch, when it may not run yet.
 *
 *   admitted ─▶ waiting for a place ─▶ asking ─┬─▶ turn
 *                        ▲                     ├─▶ in its line ─▶ asking again
 *                  back in the broker ◀────────┘
 */
export class Gate {
  readonly #core: Pick<AppCore, 'clock' | 'random'>
  readonly #limiter: Limiter
  readonly #parts: GateParts
  readonly #lines = new Map<string, Line>()
  readonly #asking = new Set<ActiveTask>()
  /** Granted, for a time that is still to come. */
  readonly #ahead = new Map<ActiveTask, Timer>()
  #batch: ActiveTask[] = []
  #waiting = 0
  #reserved = 0

  constructor(core: Pick<AppCore, 'clock' | 'random'>, limiter: Limiter, parts: GateParts) {
    this.#core = core
    this.#limiter = limiter
    this.#parts = parts
  }

  /** Tasks that wait here: they take no place of the prefetch. */
  get size(): number {
    return this.#waiting + this.#asking.size + this.#ahead.size
  }

  get tasks(): readonly ActiveTask[] {
    return [...this.#asking, ...this.#ahead.keys(), ...[...this.#lines.values()].flatMap(({ tasks }) => tasks)]
  }

  /** Places that the pool keeps. */
  get reserved(): number {
    return this.#reserved
  }

  /** `now`: nothing is known to hold it up. `held`: it waits here. A number: it is to come back from the broker after so many ms. */
  admit(task: ActiveTask): 'now' | 'held' | number {
    task.pass = this.#limiter.passOf(task)
    if (task.pass === undefined) return 'now'
    if (this.size >= mostHeld && !this.#limiter.holdsAll) return longestHoldMs * (1 + 4 * this.#core.random())
    const line = this.#lines.get(task.pass.line)
    if (line === undefined) return 'now'
    const ms = this.#putOffMs(line, line.tasks.length)
    if (ms !== undefined) return ms
    line.tasks.push(task)
    this.#waiting++
    return 'held'
  }

  /** The pool would take the task. True: it is asked for first, and comes back by `onTurns`. */
  takes(task: ActiveTask): boolean {
    const { pass } = task
    if (pass === undefined || pass.isGranted) return false
    const line = this.#lines.get(pass.line)
    if (line === undefined) this.#ask(task)
    else {
      line.tasks.push(task)
      this.#waiting++
      this.#serve(line)
    }
    return true
  }

  /** The pool has places. */
  serve(): void {
    if (this.#lines.size === 0) return
    for (const line of [...this.#lines.values()]) {
      if (this.#places <= 0) return
      this.#serve(line)
    }
  }

  /** True when it waited here. */
  remove(task: ActiveTask): boolean {
    // Its answer finds it gone.
    if (this.#asking.delete(task)) return true
    const timer = this.#ahead.get(task)
    if (timer !== undefined) {
      timer.cancel()
      return this.#ahead.delete(task)
    }
    const line = this.#lines.get(task.pass?.line ?? '')
    const at = line?.tasks.indexOf(task) ?? -1
    if (line === undefined || at < 0) return false
    line.tasks.splice(at, 1)
    this.#waiting--
    if (line.tasks.length === 0) this.#drop(line)
    return true
  }

  /** Limits were changed. */
  again(): void {
    for (const line of this.#lines.values()) this.#unblock(line)
    this.serve()
  }

  readonly #freed = (names: ReadonlySet<string>): void => {
    for (const line of this.#lines.values()) if (line.by === 'slots' && line.pass.names.some((name) => names.has(name))) this.#unblock(line)
    this.serve()
  }

  #unblock(line: Line): void {
    line.timer?.cancel()
    line.timer = undefined
  }

  get #places(): number {
    return this.#parts.places() - this.#reserved
  }

  #now(): number {
    return this.#core.clock.monotonic()
  }

  #serve(line: Line): void {
    const lost: ActiveTask[] = []
    while (line.timer === undefined && this.#places > 0) {
      const task = line.tasks.shift()
      if (task === undefined) break
      this.#waiting--
      // Nothing is taken for what another worker has by now.
      if (task.delivery.isLost) lost.push(task)
      else this.#ask(task)
    }
    if (lost.length > 0) this.#parts.onTurns(lost)
  }

  #ask(task: ActiveTask): void {
    this.#asking.add(task)
    this.#reserved++
    this.#batch.push(task)
    // Those of one tick are asked together.
    if (this.#batch.length === 1) queueMicrotask(() => void this.#askAll())
  }

  async #askAll(): Promise<void> {
    const tasks = this.#batch
    this.#batch = []
    let reserved = tasks.length
    const unreserve = (): void => {
      this.#reserved -= reserved
      reserved = 0
    }
    const timer = this.#core.clock.setTimer(longestReservedMs, () => {
      unreserve()
      this.#parts.onTurns([])
    })
    let verdicts: readonly Verdict[]
    try {
      verdicts = await this.#limiter.ask(tasks.map(({ pass }) => pass as Pass)) // only tasks with one come here
    } catch (error) {
      this.#limiter.tellTrouble(error)
      verdicts = tasks.map(() => ({ status: 'wait', inMs: troubledMs, by: 'rate' }))
    }
    timer.cancel()
    unreserve()
    this.#decide(tasks, verdicts)
  }

  #decide(tasks: readonly ActiveTask[], verdicts: readonly Verdict[]): void {
    const turns: ActiveTask[] = []
    const refused: (readonly [ActiveTask, Verdict & { status: 'wait' }])[] = []
    for (const [index, task] of tasks.entries()) {
      const verdict = verdicts[index]
      // It was taken away meanwhile.
      if (!this.#asking.delete(task)) this.#limiter.giveBack(task.pass as Pass)
      else if (verdict?.status === 'wait') refused.push([task, verdict])
      else if (verdict?.status === 'dropped') this.#parts.onDropped(task)
      else if (verdict !== undefined) {
        this.#granted(task)
        if (verdict.inMs < 1) turns.push(task)
        else
          this.#ahead.set(
            task,
            this.#core.clock.setTimer(verdict.inMs, () => this.#ahead.delete(task) && this.#parts.onTurns([task])),
          )
      }
    }
    // They stay in front of those that came later, in their order.
    for (const [task, verdict] of refused.reverse()) this.#refused(task, verdict)
    for (const name of new Set(tasks.map(({ pass }) => pass?.line ?? ''))) this.#tidy(name)
    this.#parts.onTurns(turns)
  }

  #granted(task: ActiveTask): void {
    const pass = task.pass as Pass
    pass.isGranted = true
    const line = this.#lines.get(pass.line)
    if (line === undefined) return
    const now = this.#now()
    if (line.grantedMs !== undefined && line.by === 'slots')
      line.intervalMs = Math.max(1, 0.7 * line.intervalMs + 0.15 * (now - line.grantedMs))
    // What comes after a pause says nothing of the pace.
    line.grantedMs = line.tasks.length > 0 ? now : undefined
  }

  #refused(task: ActiveTask, { inMs, by }: Verdict & { status: 'wait' }): void {
    const pass = task.pass as Pass
    const now = this.#now()
    const line: Line = this.#lines.get(pass.line) ?? {
      pass,
      tasks: [],
      intervalMs: firstIntervalMs,
      nextMs: now,
      promisedMs: 0,
      grantedMs: undefined,
      timer: undefined,
      by,
    }
    this.#lines.set(pass.line, line)
    this.#limiter.onFreed.add(this.#freed)
    line.tasks.unshift(task)
    this.#waiting++
    line.by = by
    const rates = by === 'rate' ? pass.stages.flatMap((stage) => stage.rates()) : []
    if (rates.length > 0) line.intervalMs = Math.max(...rates.map(({ intervalMs }) => intervalMs))
    line.nextMs = now + inMs
    line.timer?.cancel()
    // Not all workers ask at the same moment.
    line.timer = this.#core.clock.setTimer(inMs * (1 + 0.1 * this.#core.random()), () => {
      line.timer = undefined
      if (line.tasks.length === 0) this.#drop(line)
      else this.#serve(line)
    })
  }

  /** Those whose turn is far away go back to the broker; a line that nobody waits in is forgotten when nothing more is known of it. */
  #tidy(name: string): void {
    const line = this.#lines.get(name)
    if (line === undefined) return
    if (line.timer === undefined) {
      if (line.tasks.length === 0) this.#drop(line)
      return
    }
    const kept: ActiveTask[] = []
    for (const task of line.tasks.splice(0)) {
      const ms = this.#putOffMs(line, kept.length)
      if (ms === undefined) kept.push(task)
      else {
        this.#waiting--
        this.#parts.onPutOff(task, ms)
      }
    }
    line.tasks.push(...kept)
    if (kept.length === 0 && this.#lines.size > mostHeld) this.#drop(line)
  }

  /** As for rates on one worker; but a line that waits for very long holds nobody, and spreads those who come back. */
  #putOffMs(line: Line, before: number): number | undefined {
    if (this.#limiter.holdsAll) return undefined
    const now = this.#now()
    const ms = putOffMs(line, now, before)
    if (ms === undefined || before > 0) return ms
    const backMs = Math.max(line.promisedMs, now + ms)
    line.promisedMs = backMs + line.intervalMs
    return Math.min(backMs - now, longestAwayMs * (1 + this.#core.random()))
  }

  #drop(line: Line): void {
    line.timer?.cancel()
    if (this.#lines.get(line.pass.line) === line) this.#lines.delete(line.pass.line)
    if (this.#lines.size === 0) this.#limiter.onFreed.delete(this.#freed)
  }
}
