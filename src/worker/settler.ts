import { continuerAt } from '../app/continue/at-broker.js'
import type { Continuer, Next } from '../app/continue/continuer.js'
import { continuationsIn } from '../app/continue/embed.js'
import { endOf } from '../app/continue/ended.js'
import { leaving } from '../app/continue/leaving.js'
import type { AppCore } from '../app/core.js'
import { finalState, type MetaParts, retryMessage, succeeded, withChildren } from '../app/outcomes.js'
import type { Sender } from '../app/sender.js'
import type { ResultBackend } from '../backend.js'
import { DecodeError, WorkerLostError } from '../errors.js'
import { failpoint } from '../internal/failpoints.js'
import type { Continuations, Outcome } from '../pool.js'
import { errorToRemote, remoteToWire } from '../protocol/remote-error.js'
import type { ResultMeta } from '../protocol/result.js'
import type { Embed } from '../protocol/task-body.js'
import type { Connection } from '../transport.js'
import type { ActiveTask } from './active-task.js'
import { Burials } from './burials.js'
import { ChordHeaders } from './chord-headers.js'
import { endedTask, type Follow, followOf, placeOf } from './ended-task.js'
import type { RefusalLog } from './refusal-log.js'
import { ResultKeeper } from './result-keeper.js'
import type { TaskEvents } from './task-events.js'
import { briefly, fields, label, logFailure, logRevoked, tellSuccess } from './task-words.js'

interface SettlerParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly backend: ResultBackend
  readonly connection: Connection
  readonly refusals: RefusalLog
  readonly events: TaskEvents
  readonly hostname: string
  /** Whether this worker has a message of that task in its hands. */
  readonly isHeld: (taskId: string) => boolean
}

/**
 * The only place that turns an outcome into anything, always in this order: store the state (the first terminal one wins), publish what follows, ack.
 * A crash between two steps repeats the later ones, never skips one: each can be done twice.
 */
export class Settler {
  readonly burials: Burials
  readonly #parts: SettlerParts
  readonly #results: ResultKeeper
  readonly #continuer: Continuer
  readonly #headers = new ChordHeaders()

  constructor(parts: SettlerParts) {
    this.#parts = parts
    const { core, events, refusals } = parts
    this.#results = new ResultKeeper(core, parts.backend, parts.connection, parts.hostname)
    this.#continuer = continuerAt(parts)
    this.burials = new Burials({ core, events, refusals, results: this.#results, continuer: this.#continuer })
  }

  /** What cannot be settled goes back to its queue; then, too, `done` is called once. */
  settle(task: ActiveTask, outcome: Outcome, done: () => void): void {
    if (outcome.status === 'success' && outcome.continuations === null && !task.delivery.isLost) this.#succeedPlainly(task, outcome, done)
    else void this.#settleFollowed(task, outcome).then(done)
  }

  #settleFollowed(task: ActiveTask, outcome: Outcome): Promise<void> {
    const { instrument } = this.#parts.core.hooks
    if (outcome.status === 'success' && outcome.continuations !== null && !task.delivery.isLost && instrument === undefined) {
      const embed = this.#headers.embedOf(outcome.continuations)
      if (embed !== undefined) return this.#succeedAsPart(task, outcome, embed)
    }
    if (instrument === undefined) return this.#settleFully(task, outcome)
    return instrument.following(outcome.trace ?? task.head.customHeaders, () => this.#settleFully(task, outcome))
  }

  /** As `#succeed`, for the header tasks of chords, which may be very many: nothing is sent after them, so nothing can be wrong with it. */
  async #succeedAsPart(task: ActiveTask, outcome: Outcome & { status: 'success' }, embed: Embed): Promise<void> {
    try {
      const final = succeeded(outcome)
      if (!(await this.#results.store(task, final))) return this.#settleFully(task, outcome)
      failpoint('result.after_store')
      await this.#continuer.returnPart(endedTask(this.#parts.core, task, endOf(final), embed))
    } catch (error) {
      return this.burials.giveUp(task, error)
    }
    this.#told(task, outcome)
  }

  /** As `#succeed`, for the many that nothing follows: each promise is paid for by every task. */
  #succeedPlainly(task: ActiveTask, outcome: Outcome & { status: 'success' }, done: () => void): void {
    this.#results.end(
      task,
      succeeded(outcome),
      (stored) => {
        if (!stored) return void this.#settleFully(task, outcome).then(done)
        failpoint('result.after_store')
        this.#told(task, outcome)
        done()
      },
      (cause) => void this.#succeedLater(task, outcome, cause).then(done),
    )
  }

  /** Its result could not be stored at once. */
  async #succeedLater(task: ActiveTask, outcome: Outcome & { status: 'success' }, cause: unknown): Promise<void> {
    try {
      if (!(await this.#results.storeAgain(task, succeeded(outcome), cause))) return await this.#settleFully(task, outcome)
      failpoint('result.after_store')
      this.#told(task, outcome)
    } catch (error) {
      await this.burials.giveUp(task, error)
    }
  }

  /** Its end is stored, and nothing follows it. */
  #told(task: ActiveTask, outcome: Outcome & { status: 'success' }): void {
    const { core, events } = this.#parts
    events.ended(task, outcome)
    failpoint('ack.before_send')
    task.delivery.ack()
    tellSuccess(core.log, task, outcome)
  }

  async #settleFully(task: ActiveTask, outcome: Outcome): Promise<void> {
    const { log } = this.#parts.core
    if (task.delivery.isLost) {
      log.warn(fields(task), `Task ${label(task)} was taken over by another worker; its outcome (${outcome.status}) is dropped`)
      return
    }
    try {
      await this.#settle(task, outcome)
    } catch (error) {
      await this.burials.giveUp(task, error)
    }
  }

  /** A task that may not run any more: it was revoked, or has expired. */
  async refuse(task: ActiveTask, reason: 'revoked' | 'expired'): Promise<void> {
    await this.#settleFollowed(task, { status: 'revoked', reason, continuations: await this.#continuationsIn(task) })
  }

  /** STARTED, or a state of the task's own. */
  async report(task: ActiveTask, state: string, value: unknown): Promise<void> {
    if (task.delivery.isLost) return
    await this.#results.store(task, { status: state, result: value, done: false })
  }

  /** The task had ended before this delivery of it: only what may be missing after the end is done again. The links stand in the message. */
  async finishAgain(task: ActiveTask, stored: ResultMeta): Promise<void> {
    const follow = followOf(this.#parts.core, task, stored, await this.#continuationsIn(task))
    if (follow === undefined) return task.delivery.ack()
    const ended = { ...follow.ended, again: true }
    let next: Next | undefined
    try {
      if (ended.end.status === 'SUCCESS') next = await this.#continuer.next(ended)
    } catch (error) {
      // It could be sent when the task ended, and cannot any more. Who waits for it is told; the message is kept for whoever can help it.
      const reason = `it has ended, and what follows it cannot be sent: ${error instanceof Error ? error.message : String(error)}`
      this.#parts.core.log.error({ ...fields(task), err: error }, `Task ${label(task)} goes to the dead letters: ${reason}`)
      await this.#continuer.after({ ...ended, end: { status: 'FAILURE', error: errorToRemote(error) } })
      return task.delivery.reject(reason)
    }
    await this.#continuer.after(ended, next)
    task.delivery.ack()
  }

  #continuationsIn({ message, head }: ActiveTask): Promise<Continuations | null> {
    return continuationsIn(this.#parts.core, message, head)
  }

  #settle(task: ActiveTask, outcome: Outcome): Promise<void> | undefined {
    switch (outcome.status) {
      case 'success':
        return this.#succeed(task, outcome)
      case 'failure':
        return this.#fail(task, outcome)
      case 'revoked':
        this.#revoked(task, outcome.reason)
        return this.#finish(task, outcome)
      case 'retry':
        return this.#retry(task, outcome)
      case 'replaced':
        return this.#replace(task, outcome)
      case 'ignored':
      case 'rejected':
        return this.#leave(task, outcome)
      case 'undecodable':
        return this.burials.bury(task, outcome.reason, errorToRemote(new DecodeError(outcome.reason)))
      case 'killed':
        return this.#killed(task, outcome)
      default:
        return outcome satisfies never
    }
  }

  async #finish(task: ActiveTask, outcome: Outcome & { status: 'failure' | 'killed' | 'revoked' }, acked = true): Promise<void> {
    // A process that died may have taken with it what it knew of the message.
    const continuations = outcome.continuations ?? (outcome.status === 'killed' ? await this.#continuationsIn(task) : null)
    const final = finalState(task.head, outcome)
    if (!(await this.#end(task, outcome, final, final && followOf(this.#parts.core, task, final, continuations)))) return
    if (acked) task.delivery.ack()
    else task.delivery.reject(`the task failed: ${outcome.status}`)
  }

  /** False: the task had ended already, by another run of it, and this outcome is dropped. */
  async #end(task: ActiveTask, outcome: Outcome, final: MetaParts | undefined, follow: Follow | undefined): Promise<boolean> {
    if (final !== undefined && !(await this.#results.store(task, withChildren(final, follow?.next?.children)))) {
      const stored = await this.#parts.backend.get(task.head.id)
      // It may have expired or been forgotten meanwhile: then nothing contradicts this outcome.
      if (stored !== undefined) {
        await this.#late(task, outcome, stored)
        return false
      }
    }
    failpoint('result.after_store')
    if (follow !== undefined) await this.#continuer.after(follow.ended, follow.next)
    // That it was revoked is told when that is decided, whoever stores it first.
    if (outcome.status !== 'revoked') this.#parts.events.ended(task, outcome)
    failpoint('ack.before_send')
    return true
  }

  /** As Celery: a task whose links cannot be sent has failed. What the end of another makes wrong is found before anything is stored. */
  async #succeed(task: ActiveTask, outcome: Outcome & { status: 'success' }): Promise<void> {
    const final = finalState(task.head, outcome)
    let follow: Follow | undefined
    try {
      follow = final && followOf(this.#parts.core, task, final, outcome.continuations)
      if (follow !== undefined) follow = { ...follow, next: await this.#continuer.next(follow.ended) }
    } catch (error) {
      const { runtimeMs, children, continuations } = outcome
      return this.#fail(task, { status: 'failure', error: errorToRemote(error), expected: false, runtimeMs, children, continuations })
    }
    if (!(await this.#end(task, outcome, final, follow))) return
    task.delivery.ack()
    tellSuccess(this.#parts.core.log, task, outcome)
  }

  /** Nothing is stored: the task goes on under its id, as another. */
  async #replace(task: ActiveTask, outcome: Outcome & { status: 'replaced' }): Promise<void> {
    const { core } = this.#parts
    const replaced = placeOf(core, task, outcome.continuations)
    let next: Next
    try {
      next = await this.#continuer.replacement(replaced, outcome.signature)
    } catch (error) {
      const { runtimeMs, continuations } = outcome
      return this.#fail(task, { status: 'failure', error: errorToRemote(error), expected: false, runtimeMs, children: [], continuations })
    }
    await this.#continuer.replace(replaced, next)
    failpoint('ack.before_send')
    task.delivery.ack()
    core.log.info(fields(task), `Task ${label(task)} replaced by new task`)
  }

  #revoked(task: ActiveTask, reason: string): void {
    this.#parts.events.ended(task, { status: 'revoked', reason, continuations: null })
    logRevoked(this.#parts.core.log, task, reason)
  }

  /** The task ended its run itself, and nothing is stored of it. */
  #leave(task: ActiveTask, outcome: Outcome & { status: 'ignored' | 'rejected' }): Promise<void> | undefined {
    const { delivery, acksLate } = task
    const requeues = outcome.status === 'rejected' && outcome.requeue
    const what = outcome.status === 'ignored' ? 'ignored' : `rejected${requeues ? ' (requeued)' : ''}`
    this.#parts.core.log.info(fields(task), `Task ${label(task)} ${what}`)
    const settle = (): void => {
      if (outcome.status === 'ignored') delivery.ack()
      else if (acksLate) {
        requeues ? delivery.release() : delivery.reject(outcome.reason)
        this.#parts.events.ended(task, outcome)
      }
    }
    if (outcome.continuations === null || (requeues && acksLate)) {
      settle()
      return undefined
    }
    return this.#continuer.after(leaving(placeOf(this.#parts.core, task, outcome.continuations), outcome.status)).then(settle)
  }

  #fail(task: ActiveTask, outcome: Outcome & { status: 'failure' }): Promise<void> {
    logFailure(this.#parts.core.log, task, outcome)
    return this.#finish(
      task,
      outcome,
      task.definition?.options.acksOnFailureOrTimeout ?? this.#parts.core.config.taskAcksOnFailureOrTimeout,
    )
  }

  async #late(task: ActiveTask, outcome: Outcome, stored: ResultMeta): Promise<void> {
    this.#parts.core.log.warn(
      fields(task),
      `Task ${label(task)} had ended as ${stored.status} before; this outcome (${outcome.status}) is dropped`,
    )
    await this.finishAgain(task, stored)
  }

  async #retry(task: ActiveTask, outcome: Outcome & { status: 'retry' }): Promise<void> {
    const { core, sender } = this.#parts
    const { etaMs, options } = outcome.retry
    const queue = typeof options.queue === 'string' ? options.queue : task.delivery.queue
    const message = retryMessage(core, task.message, task.head, outcome.retry)
    const to = { exchange: '', routingKey: queue }
    await this.#results.store(task, {
      status: 'RETRY',
      result: outcome.error === null ? null : remoteToWire(outcome.error),
      traceback: outcome.error?.traceback ?? null,
      children: outcome.children,
      done: false,
    })
    // After the state and the event: the next run may begin at once, and what it reports must not be overwritten.
    this.#parts.events.ended(task, outcome)
    await sender.publish({ message, routed: { to, queue, priority: message.properties.priority }, notBefore: etaMs ?? undefined })
    task.delivery.ack()
    const wait = etaMs === null ? 'now' : `in ${Math.max(0, (etaMs - core.clock.now()) / 1000).toFixed(1)}s`
    core.log.info(fields(task), `Task ${label(task)} retry: Retry ${wait}${outcome.error === null ? '' : `: ${briefly(outcome.error)}`}`)
  }

  async #killed(task: ActiveTask, outcome: Outcome & { status: 'killed' }): Promise<void> {
    const { core } = this.#parts
    switch (outcome.by) {
      case 'time limit':
        core.log.error(fields(task), `Task ${label(task)} ran into its time limit and was killed: ${outcome.detail}`)
        await this.#finish(task, outcome, task.definition?.options.acksOnFailureOrTimeout ?? core.config.taskAcksOnFailureOrTimeout)
        return
      case 'terminated':
        this.#revoked(task, 'terminated')
        await this.#finish(task, { status: 'revoked', reason: 'terminated', continuations: outcome.continuations })
        return
      case 'shutdown':
        if (task.started) this.#parts.events.cancelled(task)
        if (task.acksLate || !task.started) return task.delivery.release()
        await this.#finish(task, outcome)
        return
      case 'lost':
        return this.#lost(task, outcome)
      default:
        return outcome.by satisfies never
    }
  }

  /** The process died under the task. Another run may do better, but not for ever: a task that kills every process it runs in is buried. */
  async #lost(task: ActiveTask, outcome: Outcome & { status: 'killed' }): Promise<void> {
    const { core } = this.#parts
    const { delivery, definition } = task
    core.log.error(fields(task), `Task ${label(task)} lost what ran it: ${outcome.detail}`)
    const again = task.acksLate && (definition?.options.rejectOnWorkerLost ?? core.config.taskRejectOnWorkerLost)
    if (!again) {
      await this.#finish(task, outcome)
      return
    }
    const limit = core.config.taskDeliveryLimit
    if (limit === null || delivery.deliveries + 1 < limit) return delivery.release({ counted: true })
    const reason = `it was delivered ${delivery.deliveries + 1} times and what ran it died each time (${outcome.detail})`
    await this.burials.bury(task, reason, errorToRemote(new WorkerLostError(reason)))
  }
}
