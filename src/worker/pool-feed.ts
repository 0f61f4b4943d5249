import type { AppCore } from '../app/core.js'
import { requestOf } from '../app/run-request.js'
import type { TaskDefinition } from '../app/task.js'
import { failpoint, failpoints } from '../internal/failpoints.js'
import type { Outcome, Pool } from '../pool.js'
import type { ActiveTask } from './active-task.js'
import { LimitedTasks } from './limited-tasks.js'
import { Gate } from './limits/gate.js'
import type { RateLimits } from './rate-limits.js'
import type { Settler } from './settler.js'
import type { TaskCounts } from './task-counts.js'
import type { TaskEvents } from './task-events.js'
import { WaitingTasks } from './waiting-tasks.js'

interface PoolFeedParts {
  readonly core: AppCore
  readonly pool: Pool
  /** Told that a run has started, where that is stored. */
  readonly settler: Pick<Settler, 'report'>
  readonly limits: RateLimits
  readonly events: TaskEvents
  readonly counts: TaskCounts
  readonly hostname: string
  /** Another number of tasks waits here beside the prefetch, or the pool has another number of places. */
  readonly onChanged: () => void
  /** A run goes on for a while. */
  readonly onRunning: () => void
  readonly onEnded: (task: ActiveTask, outcome: Outcome) => void
  /** Its message was another delivery before its turn came. */
  readonly onLost: (task: ActiveTask) => void
  /** Another has taken its lock. */
  readonly onDropped: (task: ActiveTask) => void
  /** To go back to the broker for so many ms. */
  readonly onPutOff: (task: ActiveTask, ms: number) => void
}

/**
 * Gives tasks to the pool, as it has places for them and their limits let them run; what cannot run yet waits here, or goes back to the broker for longer.
 *
 *   added ─▶ limits of this worker ─▶ waiting for a place ─▶ limits of the cluster ─▶ pool ─▶ ended
 *                (limited tasks)        (waiting tasks)            (gate)
 */
export class PoolFeed {
  readonly #parts: PoolFeedParts
  readonly #limited: LimitedTasks
  readonly #waiting = new WaitingTasks()
  readonly #gate: Gate
  #inPool = 0
  #isPumping = false

  constructor(parts: PoolFeedParts) {
    const { core, limits, pool, onDropped, onPutOff } = parts
    this.#parts = parts
    this.#limited = new LimitedTasks(limits, core.clock, (task) => this.#onTurns([task]))
    const places = (): number => pool.window - this.#inPool
    this.#gate = new Gate(core, limits.shared, { places, onTurns: (tasks) => this.#onTurns(tasks), onDropped, onPutOff })
  }

  /** All that wait here. */
  get tasks(): readonly ActiveTask[] {
    return [...this.#waiting.tasks, ...this.limited]
  }

  /** Those of them that wait for their limits. */
  get limited(): readonly ActiveTask[] {
    return [...this.#limited.tasks, ...this.#gate.tasks]
  }

  /** How many wait for their limits: they take no place away from others. */
  get limitedCount(): number {
    return this.#limited.size + this.#gate.size
  }

  /** Runs it when it may; `pump` is to follow. */
  add(task: ActiveTask, definition: TaskDefinition): void {
    let turn = this.#limited.admit(task, definition)
    if (turn === 'now') turn = this.#gate.admit(task)
    if (typeof turn === 'number') return this.#parts.onPutOff(task, turn)
    this.#parts.events.received(task)
    if (turn === 'now') this.#waiting.push(task)
    else this.#parts.onChanged()
  }

  /** True when it waited here. */
  remove(task: ActiveTask): boolean {
    return this.#waiting.remove(task) || this.#limited.remove(task) || this.#gate.remove(task)
  }

  limitsChanged(): void {
    this.#limited.again()
    this.#gate.again()
  }

  /** Fills the places of the pool. */
  pump(): void {
    // A run that has ended at once comes back here.
    if (this.#isPumping) return
    this.#isPumping = true
    try {
      this.#parts.onChanged()
      this.#gate.serve()
      this.#runWaiting()
    } finally {
      this.#isPumping = false
    }
  }

  /** Their limits let them run, before those that came later. */
  #onTurns(tasks: readonly ActiveTask[]): void {
    this.#waiting.unshift(...tasks)
    this.#parts.onChanged()
    this.pump()
  }

  #runWaiting(): void {
    const { pool } = this.#parts
    while (this.#inPool + this.#gate.reserved < pool.window) {
      const task = this.#waiting.next(pool)
      if (task === undefined) return
      if (task.delivery.isLost) this.#parts.onLost(task)
      else if (!this.#gate.takes(task)) this.#run(task)
    }
  }

  #run(task: ActiveTask): void {
    const { core, pool, settler, events, counts, hostname } = this.#parts
    const { delivery, head, message, definition } = task
    this.#inPool++
    counts.add(head.task)
    failpoint('consume.before_start')
    const run = pool.run(
      requestOf(core, message, head, definition, { queue: delivery.queue, redelivered: delivery.redelivered, worker: hostname }),
    )
    task.run = run
    const tracks = definition?.options.trackStarted ?? core.config.taskTrackStarted
    // Most tasks change nothing when they start, and pay for no promise of it.
    const tellsStart = !task.acksLate || tracks || events.wantsStarts || failpoints
    if (tellsStart)
      void run.accepted.then(({ pid }) => {
        task.started = true
        events.started(task)
        failpoint('run.started')
        if (!task.acksLate) delivery.ack()
        if (tracks)
          settler
            .report(task, 'STARTED', { pid, hostname })
            .catch((error: unknown) => core.log.warn({ err: error }, `STARTED of ${head.id} could not be stored`))
      })
    // Nor do those that have ended pay for one of their end. Their start is told first.
    if (run.ended !== undefined && !tellsStart) return this.#ended(task, run.ended)
    this.#parts.onRunning()
    void run.outcome.then((outcome) => this.#ended(task, outcome))
  }

  #ended(task: ActiveTask, outcome: Outcome): void {
    failpoint('run.after_return')
    this.#inPool--
    if (task.lock !== undefined) task.lock.goesOn = outcome.status === 'retry' || outcome.status === 'replaced'
    this.pump()
    this.#parts.onEnded(task, outcome)
  }
}
