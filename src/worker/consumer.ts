import { outsideTasks } from '../app/context.js'
import type { AppCore } from '../app/core.js'
import type { ResultBackend } from '../backend.js'
import { DecodeError, NotRegisteredError, WorkerLostError } from '../errors.js'
import type { Timer } from '../internal/clock.js'
import { failpoint } from '../internal/failpoints.js'
import { logs } from '../internal/logger.js'
import type { Pool } from '../pool.js'
import { errorToRemote } from '../protocol/remote-error.js'
import { isReady, type ResultMeta } from '../protocol/result.js'
import type { Consumer, Delivery } from '../transport.js'
import type { ActiveTask } from './active-task.js'
import { type Known, knownOf } from './known-tasks.js'
import { openOrReject } from './open-delivery.js'
import { hasOtherCopy } from './other-copy.js'
import { PoolFeed } from './pool-feed.js'
import type { RateLimits } from './rate-limits.js'
import type { RefusalLog } from './refusal-log.js'
import type { RevokedTasks } from './revoked.js'
import type { Settler } from './settler.js'
import type { TaskCounts } from './task-counts.js'
import type { TaskEvents } from './task-events.js'
import { signalOf } from './task-signals.js'
import type { WorkerQueues } from './worker-queues.js'

/** An unknown task that goes back to its queue waits so long: another worker may know it, or this one after its restart. */
const unknownTaskDelayMs = 10_000

/** With prefetch multiplier 0 (no limit), at most so many messages are held. */
const unlimitedPrefetch = 10_000

/** How long new tasks wait that nothing could be asked about. */
const askAgainMs = 1_000

/** How soon a running task learns that its lease is lost. */
const lookForLossMs = 250

interface ConsumerParts {
  readonly core: AppCore
  readonly backend: ResultBackend
  readonly pool: Pool
  readonly settler: Settler
  readonly refusals: RefusalLog
  readonly revoked: RevokedTasks
  readonly limits: RateLimits
  readonly events: TaskEvents
  readonly counts: TaskCounts
  readonly hostname: string
  /** Says which are to be left alone. */
  readonly queues: Pick<WorkerQueues, 'isPaused'>
}

/**
 * From deliveries to tasks that may run, and from their ends to the settler: reads the head, asks whether the task may run at all, and holds it until it is settled.
 *
 *   delivery ─▶ head readable? ─▶ revoked? expired? not yet due? known? ─▶ pool feed ─▶ settler
 */
export class TaskConsumer {
  readonly #parts: ConsumerParts
  /** Two deliveries may carry one id: a message that was sent twice. */
  readonly #active = new Set<ActiveTask>()
  readonly #feed: PoolFeed
  #draining = false
  /** Those that the backend is asked about. */
  #asking = 0
  /** How many messages it was given so far. */
  received = 0
  /** The repair of a deaf connection waits, and the end of the worker. */
  readonly #onIdle: (() => void)[] = []
  #lossTimer: Timer | undefined
  #consumer: Consumer | undefined
  #prefetched = 0

  constructor(parts: ConsumerParts) {
    this.#parts = parts
    this.#feed = new PoolFeed({
      ...parts,
      onChanged: () => this.#prefetchAgain(),
      onRunning: () => this.#watchLoss(),
      onEnded: (task, outcome) => parts.settler.settle(task, outcome, () => this.#close(task)),
      onLost: (task) => this.#close(task),
      onDropped: (task) => this.#after(task, parts.settler.refuse(task, 'revoked')),
      onPutOff: (task, ms) => this.#putOff(task, ms),
    })
  }

  /** Holds as many messages as the pool wants to have, times the prefetch multiplier: more while its runs are short. */
  follow(consumer: Consumer): void {
    this.#consumer = consumer
    this.#prefetched = 0
  }

  /** A broker is told when it is another, and not for each task that waits for its limits and goes on. */
  #prefetchAgain(): void {
    const count = this.prefetch
    if (count === this.#prefetched) return
    this.#prefetched = count
    this.#consumer?.setPrefetch(count)
  }

  /** Messages to hold at the moment. */
  get prefetch(): number {
    const { core, pool } = this.#parts
    const { workerPrefetchMultiplier } = core.config
    if (workerPrefetchMultiplier === 0) return unlimitedPrefetch
    // Those that wait for their limits take no place away from others.
    return Math.max(1, pool.window * workerPrefetchMultiplier) + this.#feed.limitedCount
  }

  /** Deliveries of one batch share their questions to the backend. Never throws. */
  readonly take = (deliveries: readonly Delivery[]): void => outsideTasks(() => this.#take(deliveries))

  #take(deliveries: readonly Delivery[]): void {
    this.received += deliveries.length
    failpoint('consume.after_claim')
    const tasks: ActiveTask[] = []
    for (const delivery of deliveries) {
      const task = openOrReject(this.#parts.core, this.#parts.refusals, delivery)
      if (task !== undefined) tasks.push(task)
    }
    if (tasks.length === 0) return
    const { backend, core } = this.#parts
    const known = knownOf(backend, tasks)
    if (!(known instanceof Promise)) return this.#admitAll(tasks, known)
    this.#asking += tasks.length
    const asked = known.then((all) => this.#admitAll(tasks, all))
    asked
      .finally(() => {
        this.#asking -= tasks.length
      })
      .catch((error: unknown) => {
        core.log.error({ err: error }, 'the result backend could not be asked about new tasks; they go back to their queue')
        // Not at once: they would come right back, as often as the machine can.
        core.clock.setTimer(askAgainMs, () => {
          for (const task of tasks) task.delivery.release()
        })
      })
  }

  /** The broker's driver could not even read it. */
  readonly refused = (queue: string, reason: string): void => {
    this.#parts.refusals.tell('unreadable', { queue }, `a message of queue ${queue} goes to the dead letters: ${reason}`)
    this.#parts.core.hooks.tell('taskRejected', this.#parts.core.log, () => ({ queue, error: new DecodeError(reason) }))
  }

  get activeCount(): number {
    return this.#active.size
  }

  /** It could take another message. */
  get hasPlace(): boolean {
    return this.#active.size + this.#asking < this.prefetch
  }

  /** What it has in its hands, in the order in which it came. */
  get held(): readonly ActiveTask[] {
    return [...this.#active]
  }

  holds(taskId: string): boolean {
    for (const task of this.#active) if (task.head.id === taskId) return true
    return false
  }

  /** A task that runs here reports a state of its own. */
  async report(taskId: string, state: string, meta: unknown): Promise<void> {
    const task = [...this.#active].find(({ head }) => head.id === taskId)
    if (task === undefined) return
    // The pool may tell both at once, and STARTED comes first.
    await task.run?.accepted
    return this.#parts.settler.report(task, state, meta)
  }

  /** Those that wait for their limits. */
  get limited(): readonly ActiveTask[] {
    return this.#feed.limited
  }

  /** The pool has become larger or smaller. */
  poolChanged(): void {
    this.#feed.pump()
  }

  limitsChanged(): void {
    this.#feed.limitsChanged()
  }

  /** A revoke that came in while this worker runs: waiting tasks end as REVOKED, running ones only with a signal. The ids of the latter. */
  endRevoked(signal: NodeJS.Signals | undefined, which: (task: ActiveTask) => boolean): readonly string[] {
    const ended: string[] = []
    for (const task of [...this.#active].filter(which)) {
      if (this.#feed.remove(task)) this.#after(task, this.#parts.settler.refuse(task, 'revoked'))
      else if (signal === undefined) task.run?.withdraw()
      else if (task.run !== undefined) {
        task.killSignal = signal
        task.run.terminate(signal)
        ended.push(task.head.id)
      }
    }
    return ended
  }

  /** Tasks that wait here go back to their queues, uncounted. */
  giveBack(which: (task: ActiveTask) => boolean): void {
    for (const task of this.#feed.tasks.filter(which)) {
      this.#feed.remove(task)
      task.delivery.release()
      this.#close(task)
    }
  }

  /** Waiting tasks go back to their queues, uncounted, and so does every delivery that still comes. */
  drain(): void {
    this.#draining = true
    this.giveBack(() => true)
  }

  /** Settles when no task is held any more. */
  async idle(): Promise<void> {
    while (this.#active.size > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
  }

  /** Tells running tasks to end: their signal aborts. */
  abortAll(cause: 'shutdown'): void {
    for (const task of this.#active) task.run?.abort(cause)
  }

  #admitAll(tasks: readonly ActiveTask[], { revoked, stored }: Known): void {
    for (const task of tasks) {
      if (revoked.size > 0 && revoked.has(task.head.id)) this.#parts.revoked.ids.add(task.head.id)
      this.#admit(task, stored.get(task.head.id))
    }
    this.#feed.pump()
  }

  #admit(task: ActiveTask, stored: ResultMeta | undefined): void {
    const { core, settler } = this.#parts
    const { delivery, head } = task
    if (this.#draining || this.#parts.queues.isPaused(delivery.queue)) return delivery.release()
    this.#active.add(task)
    if (!core.hooks.silent('taskReceived')) core.hooks.emit('taskReceived', signalOf(task), core.log)
    if (logs(core.log, 'debug'))
      core.log.debug({ task: head.task, task_id: head.id, queue: delivery.queue }, `Task ${head.task}[${head.id}] received`)
    if (stored !== undefined && isReady(stored.status)) return this.#after(task, settler.finishAgain(task, stored))
    if (head.resent && !delivery.redelivered && hasOtherCopy(task, stored, this.#active)) {
      core.log.info({ task: head.task, task_id: head.id }, `${head.task}[${head.id}] was sent twice; its other copy is at work`)
      if (task.lock !== undefined) task.lock.goesOn = true
      delivery.ack()
      return this.#close(task)
    }
    const limit = core.config.taskDeliveryLimit
    if (limit !== null && delivery.deliveries >= limit) {
      const reason = `it was delivered ${delivery.deliveries} times, and each time its worker was lost`
      return this.#after(task, settler.burials.bury(task, reason, errorToRemote(new WorkerLostError(reason))))
    }
    if (this.#parts.revoked.has(head.id, head.stampedHeaders, head.stamps)) return this.#after(task, settler.refuse(task, 'revoked'))
    const now = core.clock.now()
    if (head.expiresMs !== null && head.expiresMs <= now) return this.#after(task, settler.refuse(task, 'expired'))
    if (task.definition === undefined) return this.#unknown(task)
    if (head.etaMs !== null && head.etaMs > now) {
      delivery.defer(head.etaMs)
      return this.#close(task)
    }
    this.#feed.add(task, task.definition)
  }

  /** Back to the broker, to come again after so many ms. */
  #putOff(task: ActiveTask, ms: number): void {
    task.delivery.defer(this.#parts.core.clock.now() + ms)
    this.#close(task)
  }

  #unknown(task: ActiveTask): void {
    const { core, settler } = this.#parts
    core.hooks.tell('taskUnknown', core.log, () => signalOf(task))
    if (core.config.taskUnknown === 'requeue') {
      core.log.warn(
        { task: task.head.task, task_id: task.head.id },
        `no task ${task.head.task} is registered here; ${task.head.id} goes back to its queue for 10 s`,
      )
      task.delivery.defer(core.clock.now() + unknownTaskDelayMs)
      return this.#close(task)
    }
    const error = new NotRegisteredError(task.head.task)
    this.#after(task, settler.burials.bury(task, error.message, errorToRemote(error)))
  }

  /** Tells tasks that run on although another worker has their message by now. */
  #watchLoss(): void {
    this.#lossTimer ??= this.#parts.core.clock.setTimer(lookForLossMs, () => {
      this.#lossTimer = undefined
      if (this.#active.size === 0) return
      for (const task of this.#active) if (task.delivery.isLost) task.run?.abort('lock lost')
      this.#watchLoss()
    })
  }

  #after(task: ActiveTask, settled: Promise<void>): void {
    const { id } = task.head
    settled
      .catch((error: unknown) => {
        this.#parts.core.log.error({ err: error, task_id: id }, `task ${id} could not be settled and goes back to its queue`)
        task.delivery.release()
      })
      .finally(() => this.#close(task))
  }

  #close(task: ActiveTask): void {
    this.#active.delete(task)
    this.#parts.limits.shared.end(task)
    if (this.#active.size === 0 && this.#onIdle.length > 0) for (const resolve of this.#onIdle.splice(0)) resolve()
  }
}
