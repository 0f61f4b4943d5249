import { LockLost, SoftTimeLimitExceeded, TaskRevoked, WorkerShutdown } from '../errors.js'
import type { AbortCause, TaskRequest } from '../pool.js'

/** The reason that a task's signal aborts with: made in the process that runs it, so that `instanceof` works there. */
export function abortReason(cause: AbortCause, request: TaskRequest): Error {
  switch (cause) {
    case 'soft time limit':
      return new SoftTimeLimitExceeded((request.softTimeLimitMs ?? request.timeLimitMs ?? 0) / 1000)
    case 'revoked':
      return new TaskRevoked(`task ${request.id} was revoked while it ran`)
    case 'shutdown':
      return new WorkerShutdown('the worker shuts down; the task goes back to its queue')
    case 'lock lost':
      return new LockLost('the broker gave this delivery to another worker; nothing of this run is kept')
    default:
      return cause satisfies never
  }
}
