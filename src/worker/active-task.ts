import type { TaskDefinition } from '../app/task.js'
import type { Run } from '../pool.js'
import type { TaskHead } from '../protocol/task-head.js'
import type { Delivery } from '../transport.js'

/** A task that this worker holds: from its delivery to its settlement. */
export interface ActiveTask {
  readonly delivery: Delivery
  /** What the head says; the message may be a protocol 1 message put into the form of protocol 2. */
  readonly message: Delivery['message']
  readonly head: TaskHead
  readonly definition: TaskDefinition | undefined
  /** Acked when it ends. False: when it starts (Celery's default). */
  readonly acksLate: boolean
  /** Undefined while it waits for a place in the pool. */
  run: Run | undefined
  /** Its function has started. */
  started: boolean
  /** What a terminate ended it with, or is to end it with. */
  killSignal: NodeJS.Signals | undefined
}
