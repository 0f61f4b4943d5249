import { constants } from 'node:os'
import { TimeLimitExceeded, WorkerLostError } from '../errors.js'
import type { EventDispatcher } from '../events/dispatcher.js'
import type { Outcome } from '../pool.js'
import { errorToRemote, type RemoteErrorData } from '../protocol/remote-error.js'
import { repr } from '../protocol/repr.js'
import { toIso } from '../protocol/time.js'
import type { ActiveTask } from './active-task.js'

/** Who is told, in this process, what happens to tasks. Must not throw. */
export interface TaskWatcher {
  received?(task: ActiveTask): void
  started?(task: ActiveTask): void
  /** What the end of a run is to others. */
  ended?(task: ActiveTask, outcome: Outcome): void
  /** It could not be run at all. */
  failed?(task: ActiveTask, error: RemoteErrorData): void
}

/** What a worker tells monitors, and watchers of its own, about its tasks: a method for each event. With neither, each is one look at a boolean. */
export class TaskEvents {
  readonly #dispatcher: EventDispatcher
  readonly #watchers: TaskWatcher[] = []
  #enabled: boolean
  /** Somebody is to be told. */
  #heard: boolean

  constructor(dispatcher: EventDispatcher, { enabled }: { readonly enabled: boolean }) {
    this.#dispatcher = dispatcher
    this.#enabled = enabled
    this.#heard = enabled
  }

  /** `-E`, `enable_events`, `disable_events`. */
  get enabled(): boolean {
    return this.#enabled
  }

  set enabled(enabled: boolean) {
    this.#enabled = enabled
    this.#heard = enabled || this.#watchers.length > 0
  }

  /** For as long as the worker lives. */
  watch(watcher: TaskWatcher): void {
    this.#watchers.push(watcher)
    this.#heard = true
  }

  /** Whether anybody wants to know when a task starts: that costs a promise for each. */
  get wantsStarts(): boolean {
    return this.#heard && (this.#enabled || this.#watchers.some(({ started }) => started !== undefined))
  }

  received(task: ActiveTask): void {
    if (!this.#heard) return
    for (const watcher of this.#watchers) watcher.received?.(task)
    if (!this.#tellsOf(task)) return
    const { head } = task
    this.#send('task-received', task, {
      name: head.shadow ?? head.task,
      args: head.argsrepr ?? '',
      kwargs: head.kwargsrepr ?? '',
      root_id: head.rootId,
      parent_id: head.parentId,
      retries: head.retries,
      eta: head.etaMs === null ? null : toIso(head.etaMs),
      expires: head.expiresMs === null ? null : toIso(head.expiresMs),
    })
  }

  started(task: ActiveTask): void {
    if (!this.#heard) return
    for (const watcher of this.#watchers) watcher.started?.(task)
    if (this.#tellsOf(task)) this.#send('task-started', task, {})
  }

  /** What the end of a run is to others. An outcome that is dropped or run again ends nothing: it is not told here. */
  ended(task: ActiveTask, outcome: Outcome): void {
    if (!this.#heard) return
    for (const watcher of this.#watchers) watcher.ended?.(task, outcome)
    if (!this.#tellsOf(task)) return
    switch (outcome.status) {
      case 'success':
        return this.#send('task-succeeded', task, { result: outcome.repr, runtime: outcome.runtimeMs / 1000 })
      case 'failure':
        return this.#sendFailed(task, outcome.error)
      case 'retry':
        return this.#send('task-retried', task, { exception: shown(outcome.error), traceback: outcome.error?.traceback ?? null })
      case 'rejected':
        return this.#send('task-rejected', task, { requeue: outcome.requeue })
      case 'revoked': {
        const terminated = outcome.reason === 'terminated'
        const signum = terminated && task.killSignal !== undefined ? constants.signals[task.killSignal] : null
        return this.#send('task-revoked', task, { terminated, signum, expired: outcome.reason === 'expired' })
      }
      case 'killed':
        return this.#sendFailed(task, errorToRemote(killedError(outcome)))
      case 'ignored':
      case 'replaced':
      case 'undecodable':
        return
      default:
        outcome satisfies never
    }
  }

  /** It could not be run at all. */
  failed(task: ActiveTask, error: RemoteErrorData): void {
    if (!this.#heard) return
    for (const watcher of this.#watchers) watcher.failed?.(task, error)
    if (this.#tellsOf(task)) this.#sendFailed(task, error)
  }

  #sendFailed(task: ActiveTask, error: RemoteErrorData): void {
    this.#send('task-failed', task, { exception: shown(error), traceback: error.traceback ?? '' })
  }

  /** The worker stops before its end, and it goes back to its queue. */
  cancelled(task: ActiveTask): void {
    if (this.#tellsOf(task)) this.#send('task-cancelled', task, {})
  }

  #tellsOf({ definition }: ActiveTask): boolean {
    return this.#enabled && definition?.options.sendEvents !== false
  }

  #send(type: string, { head }: ActiveTask, fields: Readonly<Record<string, unknown>>): void {
    this.#dispatcher.send(type, { uuid: head.id, ...fields })
  }
}

/** What a task is told to have failed with whose process was killed. */
export function killedError(outcome: Outcome & { status: 'killed' }): Error {
  return outcome.by === 'time limit' ? new TimeLimitExceeded((outcome.limitMs ?? 0) / 1000) : new WorkerLostError(outcome.detail)
}

/** As Python's repr of an exception: `ValueError('no good', 42)`. */
function shown(error: RemoteErrorData | null): string {
  return error === null ? 'None' : `${error.excType}(${error.excMessage.map((part) => repr(part)).join(', ')})`
}
