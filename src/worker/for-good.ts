import {
  CeleriacError,
  ConnectionError,
  DeclarationMismatchError,
  NotPublishedError,
  NotSupportedError,
  PublishUncertainError,
} from '../errors.js'

/** What keeps a task from being settled would do so again: a link to a queue that does not exist, for instance. */
export function isForGood(error: unknown): error is CeleriacError {
  return (
    error instanceof CeleriacError &&
    !(error instanceof ConnectionError || error instanceof NotPublishedError || error instanceof PublishUncertainError)
  )
}

/** The broker has other queues than this worker is told of: it would refuse them again, however often it is asked. */
export function isDisagreement(error: unknown): error is CeleriacError {
  return error instanceof DeclarationMismatchError || error instanceof NotSupportedError
}
