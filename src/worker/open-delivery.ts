import type { AppCore } from '../app/core.js'
import { CeleriacError } from '../errors.js'
import type { Delivery } from '../transport.js'
import { ActiveTask } from './active-task.js'
import type { RefusalLog } from './refusal-log.js'

/** The task of a delivery. What is none goes to the dead letters, with a word in the log. */
export function openOrReject(core: AppCore, refusals: RefusalLog, delivery: Delivery): ActiveTask | undefined {
  try {
    return new ActiveTask(core, delivery)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const kind = error instanceof CeleriacError ? error.code : 'unknown'
    refusals.tell(kind, { queue: delivery.queue, err: error }, `a message of queue ${delivery.queue} goes to the dead letters: ${reason}`)
    delivery.reject(reason)
    core.hooks.tell('taskRejected', core.log, () => ({ queue: delivery.queue, error }))
    return undefined
  }
}
