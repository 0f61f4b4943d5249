import type { AsyncResult } from '../canvas/handles.js'
import { JsonText } from '../protocol/json-text.js'
import { failureFrom } from '../protocol/remote-error.js'
import { isReady, type ResultMeta } from '../protocol/result.js'
import { decodeHead } from '../protocol/task-head.js'
import { decodeJson } from '../serializers/json.js'
import { StoredResult } from './async-result.js'
import { continuationsAfter } from './continuations.js'
import type { AppCore } from './core.js'
import { executeWith } from './execute.js'
import { finalState, isStored, metaOf, retryMessage } from './outcomes.js'
import type { ResultAccess } from './result-wait.js'
import { requestOf } from './run-request.js'
import type { OutgoingCall, Sender } from './sender.js'

interface EagerParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly access: ResultAccess
}

/**
 * Runs a call where it is made (`taskAlwaysEager`): the message is written and read as for a worker, retries follow at once, links run too.
 * No broker is touched; the backend only with `taskStoreEagerResult`.
 */
export async function runEagerly({ core, sender, access }: EagerParts, call: OutgoingCall, id: string): Promise<AsyncResult<unknown>> {
  const prepared = await sender.prepare(call, id)
  const where = { queue: prepared.routed.queue ?? prepared.routed.to.routingKey, worker: 'eager' }
  const execute = executeWith(core)
  let message = prepared.message
  let meta: ResultMeta | undefined
  const store = async (stored: ResultMeta): Promise<void> => {
    meta = plain(stored)
    if (core.config.taskStoreEagerResult && isStored(core, decodeHead(message), core.registry.get(call.task), stored.status))
      await (await core.connections.backend()).store(stored, { expiresSeconds: core.config.resultExpires })
  }
  for (;;) {
    const head = decodeHead(message)
    const request = requestOf(core, message, head, core.registry.get(head.task), { ...where, redelivered: false })
    const outcome = await execute(request, {
      signal: new AbortController().signal,
      abortCause: undefined,
      accepted: () => {},
      storeState: (state, value) => store(metaOf(core, head, { status: state, result: value, done: false }, where)),
    })
    if (outcome.status === 'retry') {
      message = retryMessage(core, message, head, outcome.retry)
      continue
    }
    const final = finalState(head, outcome)
    if (final !== undefined) await store(metaOf(core, head, final, where))
    for (const next of continuationsAfter(core, head, outcome)) await runEagerly({ core, sender, access }, next.call, next.id)
    break
  }
  if (core.config.taskEagerPropagates && meta !== undefined && isReady(meta.status) && meta.status !== 'SUCCESS') throw failureFrom(meta)
  // A task that ended by ignore() or reject() has no result: its handle says PENDING, as a stored one would.
  return new StoredResult(id, access, {
    local: meta ?? { taskId: id, status: 'PENDING', result: null, traceback: null, children: null, dateDone: null },
  })
}

/** A local result is read from the handle, not from JSON. */
function plain(meta: ResultMeta): ResultMeta {
  return meta.result instanceof JsonText ? { ...meta, result: decodeJson(meta.result.text) } : meta
}
