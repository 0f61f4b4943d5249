/** Signals about tasks that the worker's main process gives. */
import type { AppCore } from '../app/core.js'
import type { ReceivedRequest } from '../app/signals.js'
import { TaskFailure } from '../errors.js'
import type { ActiveTask } from './active-task.js'
import { killedError, type TaskWatcher } from './task-events.js'

/** What all of them have. */
export function signalOf(task: ActiveTask): { readonly task: string; readonly id: string; readonly request: ReceivedRequest } {
  return { task: task.head.task, id: task.head.id, request: requestOf(task) }
}

function requestOf({ head, delivery }: ActiveTask): ReceivedRequest {
  return {
    id: head.id,
    task: head.task,
    rootId: head.rootId,
    parentId: head.parentId,
    retries: head.retries,
    queue: delivery.queue,
    redelivered: delivery.redelivered,
    headers: head.customHeaders,
    group: head.group,
    groupIndex: head.groupIndex,
    replacedTaskNesting: head.replacedTaskNesting,
    stamps: head.stamps,
    eta: head.etaMs === null ? null : new Date(head.etaMs),
    expires: head.expiresMs === null ? null : new Date(head.expiresMs),
    argsrepr: head.argsrepr,
    kwargsrepr: head.kwargsrepr,
  }
}

/** Ends that no process of the task can tell of: it was not there, or is not any more. */
export function taskSignals({ hooks, log }: Pick<AppCore, 'hooks' | 'log'>): TaskWatcher {
  return {
    ended(task, outcome) {
      if (outcome.status === 'killed')
        hooks.tell('taskFailure', log, () => ({ task: task.head.task, id: task.head.id, error: killedError(outcome) }))
      if (outcome.status === 'revoked')
        hooks.tell('taskRevoked', log, () => ({
          ...signalOf(task),
          reason: outcome.reason,
          terminated: outcome.reason === 'terminated',
          signal: task.killSignal ?? null,
          expired: outcome.reason === 'expired',
        }))
    },
    failed(task, error) {
      const { excType, excModule, excMessage, traceback } = error
      hooks.tell('taskFailure', log, () => ({
        task: task.head.task,
        id: task.head.id,
        error: new TaskFailure({ taskId: task.head.id, excType, excModule, args: excMessage, traceback }),
      }))
    },
  }
}
