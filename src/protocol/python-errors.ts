/**
 * Which Python error a Python peer sees for an error of ours. In this order:
 *
 *   a failure of another task that was thrown on        the type, module and arguments that it came with
 *   celeriac's own errors that Celery has too           Celery's: celery.exceptions, billiard.exceptions
 *   a class (or its parent) with a static `python`      what it says: `static python = { module: 'shop.errors', type: 'CardDeclined' }`
 *   JavaScript's errors with a counterpart in Python    builtins: TypeError, RangeError as ValueError ...
 *   all others                                          their own name in the module `node`, which Python shows as `celery.exceptions.<name>`
 */
import {
  ArgumentsInvalidError,
  MaxRetriesExceededError,
  NotRegisteredError,
  SoftTimeLimitExceeded,
  show,
  TaskFailure,
  TaskRevoked,
  TaskRevokedError,
  TimeLimitExceeded,
  TimeoutError,
  WorkerLostError,
} from '../errors.js'
import { encodeJson } from '../serializers/json.js'
import { isRecord } from './plain.js'
import { repr } from './repr.js'

export interface PythonError {
  readonly excType: string
  readonly excModule: string | null
  /** JSON values. */
  readonly excMessage: readonly unknown[]
}

/** Never throws, whatever was thrown. */
export function pythonError(error: unknown): PythonError {
  try {
    if (error instanceof TaskFailure) return { excType: error.excType, excModule: error.excModule, excMessage: error.args.map(dataOf) }
    if (error instanceof Error)
      return (
        ofCelery(error) ?? ofClass(error) ?? builtin(error) ?? { excType: nameOf(error), excModule: 'node', excMessage: [messageOf(error)] }
      )
  } catch {
    // A getter of the error threw.
    return { excType: 'Error', excModule: 'node', excMessage: ['an error that cannot be shown'] }
  }
  return {
    excType: 'Error',
    excModule: 'node',
    excMessage: [typeof error === 'string' ? error : `the task threw ${show(error)}, which is not an Error`],
  }
}

function ofCelery(error: Error): PythonError | undefined {
  if (error instanceof SoftTimeLimitExceeded) return billiard('SoftTimeLimitExceeded', [])
  if (error instanceof TimeLimitExceeded) return billiard('TimeLimitExceeded', [error.seconds])
  if (error instanceof WorkerLostError) return billiard('WorkerLostError', [error.message])
  if (error instanceof TaskRevokedError) return celery('TaskRevokedError', [error.reason])
  if (error instanceof TaskRevoked) return celery('TaskRevokedError', [error.message])
  if (error instanceof NotRegisteredError) return celery('NotRegistered', [error.task])
  if (error instanceof MaxRetriesExceededError) return celery('MaxRetriesExceededError', [error.message])
  // A call that does not fit the signature is a TypeError in Python.
  if (error instanceof ArgumentsInvalidError) return { excType: 'TypeError', excModule: 'builtins', excMessage: [error.message] }
  if (error instanceof TimeoutError) return { excType: 'TimeoutError', excModule: 'builtins', excMessage: [error.message] }
  return undefined
}

const billiard = (excType: string, excMessage: readonly unknown[]): PythonError => ({
  excType,
  excModule: 'billiard.exceptions',
  excMessage,
})
const celery = (excType: string, excMessage: readonly unknown[]): PythonError => ({ excType, excModule: 'celery.exceptions', excMessage })

/** `static python = { module, type }`, inherited as classes inherit. */
function ofClass(error: Error): PythonError | undefined {
  const python: unknown = 'python' in error.constructor ? error.constructor.python : undefined
  if (!isRecord(python) || typeof python.module !== 'string' || typeof python.type !== 'string') return undefined
  return { excType: python.type, excModule: python.module, excMessage: [messageOf(error)] }
}

// Only names whose Python class takes one text: Python's reader calls it with the arguments.
const builtins: Readonly<Record<string, string>> = {
  TypeError: 'TypeError',
  RangeError: 'ValueError',
  URIError: 'ValueError',
  ReferenceError: 'NameError',
  SyntaxError: 'SyntaxError',
  AssertionError: 'AssertionError',
  // Of AbortSignal.timeout().
  TimeoutError: 'TimeoutError',
}

function builtin(error: Error): PythonError | undefined {
  const excType = Object.hasOwn(builtins, error.name) ? builtins[error.name] : undefined
  return excType === undefined ? undefined : { excType, excModule: 'builtins', excMessage: [messageOf(error)] }
}

/** A class of the user says more than the inherited `name` "Error". */
function nameOf(error: Error): string {
  const ownName: unknown = error.name
  const name: unknown = ownName === 'Error' || ownName === '' ? error.constructor.name : ownName
  return typeof name === 'string' && name !== '' ? name : 'Error'
}

/** The argument, or how it looks when it cannot be written, as in Python. */
function dataOf(arg: unknown): unknown {
  try {
    encodeJson(arg, 'args')
    return arg
  } catch {
    return repr(arg)
  }
}

/** Text, whatever somebody assigned to it. */
function messageOf(error: Error): string {
  const message: unknown = error.message
  return typeof message === 'string' ? message : show(message)
}
