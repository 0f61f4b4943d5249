import type { AppCore } from '../app/core.js'
import type { TaskDefinition } from '../app/task.js'
import { TooLargeError } from '../errors.js'
import type { Run } from '../pool.js'
import { upgradeProtocol1 } from '../protocol/protocol-1.js'
import { isProtocol2, TaskHead } from '../protocol/task-head.js'
import { json } from '../serializers/json.js'
import type { Delivery } from '../transport.js'
import { type HeldLock, heldLock } from './limits/held-lock.js'
import type { Pass } from './limits/pass.js'

/** A task that this worker holds: from its delivery to its settlement. A class, as all that lives as long as a message: see decision 40. */
export class ActiveTask {
  readonly delivery: Delivery
  /** What the head says; the message may be a protocol 1 message put into the form of protocol 2. */
  readonly message: Delivery['message']
  readonly head: TaskHead
  readonly definition: TaskDefinition | undefined
  /** Acked when it ends. False: when it starts (Celery's default). */
  readonly acksLate: boolean
  /** Undefined while it waits for a place in the pool. */
  run: Run | undefined = undefined
  /** Its function has started. */
  started = false
  /** What its limits say; undefined until they are looked at, and for the many tasks that have none. */
  pass: Pass | undefined = undefined
  /** The lock of a unique task. */
  readonly lock: HeldLock | undefined
  /** What a terminate ended it with, or is to end it with. */
  killSignal: NodeJS.Signals | undefined = undefined

  /** What a delivery says before its body is looked at. Throws what is wrong with it. */
  constructor(core: AppCore, delivery: Delivery) {
    const limit = core.config.messageMaxBytes
    const { body } = delivery.message
    const bytes = typeof body === 'string' ? body.length : body.byteLength
    if (limit !== null && bytes > limit) throw new TooLargeError('the message body', bytes, limit)
    this.message = isProtocol2(delivery.message) ? delivery.message : upgraded(core, delivery.message)
    this.head = new TaskHead(this.message)
    this.definition = core.registry.get(this.head.task)
    this.acksLate = this.definition?.options.acksLate ?? core.config.taskAcksLate
    this.lock = heldLock(this.message, delivery)
    this.delivery = this.lock?.delivery ?? delivery
  }
}

/** Protocol 1 keeps its head in the body. */
function upgraded(core: AppCore, message: Delivery['message']): Delivery['message'] {
  const compression = message.headers.compression
  const content = { ...message, ...(typeof compression === 'string' ? { compression } : {}) }
  // The worker loads every accepted serializer before it consumes, so that the body is here and no promise of it.
  return upgradeProtocol1(message, core.serializers.decode(content, { accept: core.config.acceptContent }), json)
}
