/** Errors on the wire (celery/backends/base.py prepare_exception, exception_to_python): always data. No name that comes in is imported or looked up. */
import { TaskFailure, TaskRevokedError } from '../errors.js'
import { decodeJson } from '../serializers/json.js'
import { JsonText } from './json-text.js'
import { isRecord } from './plain.js'
import { pythonError } from './python-errors.js'
import type { ResultMeta } from './result.js'
import { traceback } from './traceback.js'

/** An error as Celery stores it (celery/backends/base.py prepare_exception): the three keys of the wire, and the traceback beside them. */
export interface RemoteErrorData {
  readonly excType: string
  readonly excModule: string | null
  /** The error's arguments: JSON values. */
  readonly excMessage: readonly unknown[]
  readonly traceback: string | null
}

/** The keys of the wire: the `result` of a meta in FAILURE, RETRY and REVOKED. */
export interface WireError {
  readonly exc_type: string
  readonly exc_message: readonly unknown[]
  readonly exc_module: string | null
}

/**
 * What a task threw, as data: type, module and arguments as a Python peer expects them (python-errors.ts), the stack with its causes as the traceback.
 * Never throws, whatever was thrown.
 */
export function errorToRemote(error: unknown): RemoteErrorData {
  return { ...pythonError(error), traceback: traceback(error) }
}

export function remoteToWire({ excType, excMessage, excModule }: RemoteErrorData): WireError {
  return { exc_type: excType, exc_message: excMessage, exc_module: excModule }
}

/** Reads a stored error; whatever is malformed in it becomes an error that shows what was stored. Never throws. */
export function wireToRemote(value: unknown, traceback: string | null): RemoteErrorData {
  const wire = value instanceof JsonText ? decodeJson(value.text) : value
  if (!isRecord(wire))
    return { excType: 'Error', excModule: null, excMessage: wire === null || wire === undefined ? [] : [wire], traceback }
  const { exc_type: type, exc_message: message, exc_module: module } = wire
  return {
    excType: typeof type === 'string' && type !== '' ? type : 'Error',
    excModule: typeof module === 'string' ? module : null,
    excMessage: Array.isArray(message) ? message : message === null || message === undefined ? [] : [message],
    traceback,
  }
}

/** The error that `get()` throws for a meta in FAILURE or REVOKED. */
export function failureFrom(meta: ResultMeta): TaskFailure | TaskRevokedError {
  const { excType, excModule, excMessage, traceback } = wireToRemote(meta.result, meta.traceback)
  if (meta.status === 'REVOKED') {
    const [reason] = excMessage
    return new TaskRevokedError(meta.taskId, typeof reason === 'string' && reason !== '' ? reason : 'revoked')
  }
  return new TaskFailure({ taskId: meta.taskId, excType, excModule, args: excMessage, traceback })
}
