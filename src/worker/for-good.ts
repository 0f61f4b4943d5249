import { CeleriacError, ConnectionError, NotPublishedError, PublishUncertainError } from '../errors.js'

/** What keeps a task from being settled would do so again: a link to a queue that does not exist, for instance. */
export function isForGood(error: unknown): error is CeleriacError {
  return (
    error instanceof CeleriacError &&
    !(error instanceof ConnectionError || error instanceof NotPublishedError || error instanceof PublishUncertainError)
  )
}
