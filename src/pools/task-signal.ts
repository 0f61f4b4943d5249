import type { AbortCause, TaskRequest } from '../pool.js'
import { abortReason } from './abort-reason.js'

/** The abort signal of one run. Most tasks never ask for theirs, and an AbortController costs more than a small task: it is made on first use. */
export class TaskSignal {
  #controller: AbortController | undefined
  #cause: AbortCause | undefined

  constructor(readonly request: TaskRequest) {}

  /** Why the run is to end; undefined while it may go on. */
  get cause(): AbortCause | undefined {
    return this.#cause
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#cause !== undefined) this.#controller.abort(abortReason(this.#cause, this.request))
    }
    return this.#controller.signal
  }

  /** The first cause counts. */
  abort(cause: AbortCause): void {
    if (this.#cause !== undefined) return
    this.#cause = cause
    this.#controller?.abort(abortReason(cause, this.request))
  }
}
