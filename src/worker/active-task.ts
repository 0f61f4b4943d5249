import type { AppCore } from '../app/core.js'
import type { TaskDefinition } from '../app/task.js'
import { CeleriacError, TooLargeError } from '../errors.js'
import type { Run } from '../pool.js'
import { upgradeProtocol1 } from '../protocol/protocol-1.js'
import { decodeHead, isProtocol2, type TaskHead } from '../protocol/task-head.js'
import { json } from '../serializers/json.js'
import type { Delivery } from '../transport.js'
import type { RefusalLog } from './refusal-log.js'

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

/** What a delivery says before its body is looked at. Throws what is wrong with it. */
function openTask(core: AppCore, delivery: Delivery): ActiveTask {
  const limit = core.config.messageMaxBytes
  const { body } = delivery.message
  const bytes = typeof body === 'string' ? body.length : body.byteLength
  if (limit !== null && bytes > limit) throw new TooLargeError('the message body', bytes, limit)
  const message = isProtocol2(delivery.message) ? delivery.message : upgraded(core, delivery.message)
  const head = decodeHead(message)
  const definition = core.registry.get(head.task)
  return {
    delivery,
    message,
    head,
    definition,
    acksLate: definition?.options.acksLate ?? core.config.taskAcksLate,
    run: undefined,
    started: false,
    killSignal: undefined,
  }
}

/** As `openTask`; what is none goes to the dead letters, and the log tells why. */
export function openOrRefuse(core: AppCore, delivery: Delivery, refusals: RefusalLog): ActiveTask | undefined {
  try {
    return openTask(core, delivery)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const kind = error instanceof CeleriacError ? error.code : 'unknown'
    const { queue } = delivery
    refusals.tell(kind, { queue, err: error }, `a message of queue ${queue} goes to the dead letters: ${reason}`)
    delivery.reject(reason)
    core.hooks.tell('taskRejected', core.log, () => ({ queue, error }))
    return undefined
  }
}

/** Protocol 1 keeps its head in the body. */
function upgraded(core: AppCore, message: Delivery['message']): Delivery['message'] {
  const compression = message.headers.compression
  const content = { ...message, ...(typeof compression === 'string' ? { compression } : {}) }
  // The worker loads every accepted serializer before it consumes, so that the body is here and no promise of it.
  return upgradeProtocol1(message, core.serializers.decode(content, { accept: core.config.acceptContent }), json)
}
