import { continuationsAfter } from '../app/continuations.js'
import type { AppCore } from '../app/core.js'
import { failed, finalState, isStored, type MetaParts, metaOf, retryMessage } from '../app/outcomes.js'
import type { Prepared, Sender } from '../app/sender.js'
import type { ResultBackend, StoreOptions } from '../backend.js'
import { CeleriacError, ConnectionError, DecodeError, NotPublishedError, PublishUncertainError, show, WorkerLostError } from '../errors.js'
import { Backoff } from '../internal/backoff.js'
import { failpoint } from '../internal/failpoints.js'
import { logs } from '../internal/logger.js'
import type { Outcome } from '../pool.js'
import { errorToRemote, type RemoteErrorData } from '../protocol/remote-error.js'
import type { ResultMeta } from '../protocol/result.js'
import { decodeBody } from '../protocol/task-body.js'
import { encodeJson } from '../serializers/json.js'
import type { Connection } from '../transport.js'
import type { ActiveTask } from './active-task.js'
import type { RefusalLog } from './refusal-log.js'
import type { TaskEvents } from './task-events.js'

/** How long a result that cannot be stored is tried again before its task goes back to the queue. */
const storeForMs = 30_000

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
  readonly #parts: SettlerParts
  /** Outcomes that were dropped because another worker has the message by now. */
  lateFinishers = 0

  constructor(parts: SettlerParts) {
    this.#parts = parts
  }

  /** Never rejects: what cannot be settled goes back to its queue. */
  async settle(task: ActiveTask, outcome: Outcome): Promise<void> {
    const { log } = this.#parts.core
    if (task.delivery.isLost) {
      this.lateFinishers++
      log.warn(fields(task), `Task ${label(task)} was taken over by another worker; its outcome (${outcome.status}) is dropped`)
      return
    }
    try {
      await this.#settle(task, outcome)
    } catch (error) {
      if (isForGood(error)) return this.#buryUnsettled(task, error)
      log.error({ ...fields(task), err: error }, `Task ${label(task)} could not be settled and goes back to its queue`)
      task.delivery.release()
    }
  }

  async #buryUnsettled(task: ActiveTask, error: CeleriacError): Promise<void> {
    try {
      await this.bury(task, `it ran, and what follows it cannot be done: ${error.message}`, errorToRemote(error))
    } catch (cause) {
      this.#parts.core.log.error({ ...fields(task), err: cause }, `the failure of task ${label(task)} could not be stored`)
    }
  }

  /** A message that nobody can run, with the reason. Its task fails where its id is known, so that nobody waits for it. */
  async bury(task: ActiveTask, reason: string, error: RemoteErrorData): Promise<void> {
    this.#parts.refusals.tell(error.excType, fields(task), `Task ${label(task)} goes to the dead letters: ${reason}`)
    try {
      await this.#store(task, failed(error, []))
    } finally {
      this.#parts.events.failed(task, error)
      task.delivery.reject(reason)
    }
  }

  /** STARTED, or a state of the task's own. */
  async report(task: ActiveTask, state: string, value: unknown): Promise<void> {
    if (task.delivery.isLost) return
    await this.#store(task, { status: state, result: value, done: false })
  }

  /** The task had ended before this delivery of it: only what may be missing after the end is done again. */
  async finishAgain(task: ActiveTask, stored: ResultMeta): Promise<void> {
    for (const next of await this.#sendable(task, await this.#endOf(task, stored))) {
      if (!(await this.#isKnown(next.id))) await this.#parts.sender.publish(next)
    }
    task.delivery.ack()
  }

  /** A stored end as the outcome that it was, as far as what follows it is concerned: the links stand in the message. */
  async #endOf({ message, head }: ActiveTask, stored: ResultMeta): Promise<Outcome> {
    const { core } = this.#parts
    const { embed } = decodeBody(
      await core.serializers.decode({ ...message, compression: head.compression }, { accept: core.config.acceptContent }),
    )
    const rest = { runtimeMs: 0, children: [], continuations: embed }
    if (stored.status === 'SUCCESS') return { status: 'success', result: encodeJson(stored.result, 'result'), repr: '', ...rest }
    if (stored.status === 'REVOKED') return { status: 'revoked', reason: 'revoked', continuations: embed }
    return { status: 'failure', error: { excType: '', excModule: null, excMessage: [], traceback: null }, expected: true, ...rest }
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
      case 'ignored':
        this.#parts.core.log.info(fields(task), `Task ${label(task)} ignored`)
        task.delivery.ack()
        return undefined
      case 'rejected':
        this.#parts.core.log.info(fields(task), `Task ${label(task)} rejected${outcome.requeue ? ' (requeued)' : ''}`)
        if (!task.acksLate) return undefined
        outcome.requeue ? task.delivery.release() : task.delivery.reject(outcome.reason)
        this.#parts.events.ended(task, outcome)
        return undefined
      case 'undecodable':
        return this.bury(task, outcome.reason, errorToRemote(new DecodeError(outcome.reason)))
      case 'killed':
        return this.#killed(task, outcome)
      default:
        return outcome satisfies never
    }
  }

  async #finish(task: ActiveTask, outcome: Outcome, acked = true): Promise<void> {
    if (!(await this.#end(task, outcome, await this.#sendable(task, outcome)))) return
    if (acked) task.delivery.ack()
    else task.delivery.reject(`the task failed: ${outcome.status}`)
  }

  /** False: the task had ended already, by another run of it, and this outcome is dropped. */
  async #end(task: ActiveTask, outcome: Outcome, follow: readonly Prepared[]): Promise<boolean> {
    const final = finalState(task.head, outcome)
    if (final !== undefined && !(await this.#store(task, follow.length === 0 ? final : withChildren(final, follow)))) {
      const stored = await this.#parts.backend.get(task.head.id)
      // It may have expired or been forgotten meanwhile: then nothing contradicts this outcome.
      if (stored !== undefined) {
        await this.#late(task, outcome, stored)
        return false
      }
    }
    failpoint('result.after_store')
    for (const next of follow) {
      await this.#parts.sender.publish(next)
      failpoint('continuation.after_one')
    }
    this.#parts.events.ended(task, outcome)
    failpoint('ack.before_send')
    return true
  }

  /** As Celery: a task whose links cannot be sent has failed. What the end of another makes wrong is found before anything is stored. */
  async #succeed(task: ActiveTask, outcome: Outcome & { status: 'success' }): Promise<void> {
    const { core, sender } = this.#parts
    const follow: Prepared[] = []
    try {
      for (const { id, call } of continuationsAfter(core, task.head, outcome)) follow.push(await sender.prepare(call, id))
    } catch (error) {
      const { runtimeMs, children, continuations } = outcome
      return this.#fail(task, { status: 'failure', error: errorToRemote(error), expected: false, runtimeMs, children, continuations })
    }
    if (!(await this.#end(task, outcome, follow))) return
    task.delivery.ack()
    if (!logs(core.log, 'info')) return
    core.log.info(
      { ...fields(task), run_ms: outcome.runtimeMs },
      `Task ${label(task)} succeeded in ${seconds(outcome.runtimeMs)}: ${outcome.repr}`,
    )
  }

  #fail(task: ActiveTask, outcome: Outcome & { status: 'failure' }): Promise<void> {
    this.#logFailure(task, outcome)
    return this.#finish(
      task,
      outcome,
      task.definition?.options.acksOnFailureOrTimeout ?? this.#parts.core.config.taskAcksOnFailureOrTimeout,
    )
  }

  async #late(task: ActiveTask, outcome: Outcome, stored: ResultMeta): Promise<void> {
    this.lateFinishers++
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
    const error =
      outcome.error === null
        ? null
        : { exc_type: outcome.error.excType, exc_message: outcome.error.excMessage, exc_module: outcome.error.excModule }
    await this.#store(task, {
      status: 'RETRY',
      result: error,
      traceback: outcome.error?.traceback ?? null,
      children: outcome.children,
      done: false,
    })
    // After the state: the next run may begin at once, and what it reports must not be overwritten.
    await sender.publish({ message, routed: { to, queue, priority: message.properties.priority }, notBefore: etaMs ?? undefined })
    task.delivery.ack()
    this.#parts.events.ended(task, outcome)
    const wait = etaMs === null ? 'now' : `in ${Math.max(0, (etaMs - core.clock.now()) / 1000).toFixed(1)}s`
    core.log.info(fields(task), `Task ${label(task)} retry: Retry ${wait}${outcome.error === null ? '' : `: ${briefly(outcome.error)}`}`)
  }

  async #killed(task: ActiveTask, outcome: Outcome & { status: 'killed' }): Promise<void> {
    const { core } = this.#parts
    switch (outcome.by) {
      case 'time limit':
        core.log.error(fields(task), `Task ${label(task)} ran into its time limit: its process ${outcome.pid} was killed`)
        await this.#finish(task, outcome, task.definition?.options.acksOnFailureOrTimeout ?? core.config.taskAcksOnFailureOrTimeout)
        return
      case 'terminated':
        this.#revoked(task, 'terminated')
        await this.#finish(task, { status: 'revoked', reason: 'terminated', continuations: outcome.continuations })
        return
      case 'shutdown':
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
    core.log.error(fields(task), `Process ${outcome.pid} died while it ran task ${label(task)}: ${outcome.detail}`)
    const again = task.acksLate && (definition?.options.rejectOnWorkerLost ?? core.config.taskRejectOnWorkerLost)
    if (!again) {
      await this.#finish(task, outcome)
      return
    }
    const limit = core.config.taskDeliveryLimit
    if (limit === null || delivery.deliveries + 1 < limit) return delivery.release({ counted: true })
    await this.#bury(task, outcome, `it was delivered ${delivery.deliveries + 1} times and its process died each time (${outcome.detail})`)
  }

  async #bury(task: ActiveTask, outcome: Outcome & { status: 'killed' }, reason: string): Promise<void> {
    await this.bury(task, reason, errorToRemote(new WorkerLostError(reason)))
    for (const next of await this.#sendable(task, outcome)) await this.#parts.sender.publish(next)
  }

  /** Tries for a while when the backend cannot be reached; rejects after it. False: a terminal state was there already. */
  #store(task: ActiveTask, parts: MetaParts): Promise<boolean> {
    const { core, backend, hostname } = this.#parts
    if (!backend.supports.results || !isStored(core, task.head, task.definition, parts.status)) return stored
    const meta = metaOf(core, task.head, parts, { queue: task.delivery.queue, worker: hostname })
    const { replyTo, correlationId } = task.message.properties
    const options = { expiresSeconds: core.config.resultExpires, replyTo, correlationId }
    return backend.store(meta, options).catch((error: unknown) => {
      core.log.warn({ ...fields(task), err: error }, `the result of task ${label(task)} could not be stored; trying again`)
      return this.#storeAgain(meta, options)
    })
  }

  async #storeAgain(meta: ResultMeta, options: StoreOptions): Promise<boolean> {
    const { core, backend } = this.#parts
    const backoff = new Backoff({ firstMs: 50, maxMs: 2_000, random: core.random })
    const untilMs = core.clock.monotonic() + storeForMs
    for (;;) {
      await new Promise<void>((resolve) => core.clock.setTimer(backoff.next(), resolve, { keepAlive: true }))
      try {
        return await backend.store(meta, options)
      } catch (error) {
        if (core.clock.monotonic() > untilMs) throw error
      }
    }
  }

  /** What follows and can be sent; a link that cannot is logged, and does not keep the others back. */
  async #sendable(task: ActiveTask, outcome: Outcome): Promise<readonly Prepared[]> {
    const { core, sender } = this.#parts
    const prepared: Prepared[] = []
    for (const { id, call } of continuationsAfter(core, task.head, outcome)) {
      try {
        prepared.push(await sender.prepare(call, id))
      } catch (error) {
        core.log.error({ ...fields(task), err: error }, `${call.task}, linked to task ${label(task)}, cannot be sent`)
      }
    }
    return prepared
  }

  /** Whether a task of that id is on its way already, or has ended. */
  async #isKnown(taskId: string): Promise<boolean> {
    const { backend, connection, isHeld } = this.#parts
    // A dead worker's messages mostly come to one and the same other, and not every broker can be asked where a message is.
    if (isHeld(taskId)) return true
    const place = await connection.locate(taskId)
    return place === 'waiting' || place === 'leased' || (await backend.get(taskId)) !== undefined
  }

  #revoked(task: ActiveTask, reason: string): void {
    const { core } = this.#parts
    core.log.info(
      fields(task),
      reason === 'expired' ? `Discarding expired task: ${label(task)}` : `Discarding ${reason} task: ${label(task)}`,
    )
    if (!core.hooks.silent('taskRevoked')) core.hooks.emit('taskRevoked', { task: task.head.task, id: task.head.id, reason }, core.log)
  }

  #logFailure(task: ActiveTask, outcome: Outcome & { status: 'failure' }): void {
    const { log } = this.#parts.core
    const error = { type: outcome.error.excType, message: outcome.error.excMessage, stack: outcome.error.traceback }
    if (outcome.expected) log.info({ ...fields(task), error }, `Task ${label(task)} raised expected: ${briefly(outcome.error)}`)
    else
      log.error(
        { ...fields(task), error },
        `Task ${label(task)} raised unexpected: ${briefly(outcome.error)}${outcome.error.traceback === null ? '' : `\n${outcome.error.traceback}`}`,
      )
  }
}

const stored = Promise.resolve(true)

/** Their ids are fixed, so they can be told before they are sent. */
function withChildren(final: MetaParts, follow: readonly Prepared[]): MetaParts {
  return { ...final, children: [...(final.children ?? []), ...follow.map(({ id }) => [[id, null], null] as const)] }
}

/** With at most six digits, as short as it is exact enough. */
function seconds(ms: number): string {
  return `${Number((ms / 1000).toFixed(6))}s`
}

/** Another run would end the same way: with a link to a queue that does not exist, for instance. */
function isForGood(error: unknown): error is CeleriacError {
  return (
    error instanceof CeleriacError &&
    !(error instanceof ConnectionError || error instanceof NotPublishedError || error instanceof PublishUncertainError)
  )
}

function label({ head }: ActiveTask): string {
  return `${head.shadow ?? head.task}[${head.id}]`
}

function fields({ head, delivery }: ActiveTask): Record<string, unknown> {
  return { task: head.task, task_id: head.id, queue: delivery.queue, retries: head.retries }
}

function briefly({ excType, excMessage }: RemoteErrorData): string {
  return `${excType}(${excMessage.map((part) => show(part)).join(', ')})`
}
