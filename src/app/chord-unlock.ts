import type { ChordPart, ResultBackend } from '../backend.js'
import { signatureAt } from '../canvas/members.js'
import { InvalidMessageError, MaxRetriesExceededError, show } from '../errors.js'
import { isReady, isResultTuple, type ResultTuple } from '../protocol/result.js'
import type { TaskContext } from './context.js'
import { continuerInTask } from './continue/from-task.js'
import type { AppCore } from './core.js'
import { given, list, type RawCall } from './raw-call.js'
import type { Sender } from './sender.js'

/** Seconds between two looks (Celery's `result_chord_retry_interval`). */
export const unlockIntervalSeconds = 1

/**
 * Looks whether all headers of a chord have ended, and runs itself again until they have: for Python peers whose result backend counts no parts.
 * Then the body is sent, or told of the header that failed.
 */
export function chordUnlock(core: AppCore, sender: Sender): (call: RawCall, self: TaskContext) => Promise<null> {
  return async (call, self) => {
    const groupId = given(call, 0, 'group_id')
    if (typeof groupId !== 'string') throw new InvalidMessageError(`expected group_id of a chord to be text, got: ${show(groupId)}`)
    const body = signatureAt(given(call, 1, 'callback'), 'callback')
    const [interval, maxRetries] = [given(call, 2, 'interval'), given(call, 3, 'max_retries')]
    const headers = list(given(call, 4, 'result'), 'result').map((tuple, index) => {
      if (isResultTuple(tuple)) return tuple
      throw new InvalidMessageError(`expected result[${index}] of a chord to be a result tuple, got: ${show(tuple)}`)
    })
    const { id, rootId, redelivered } = self.request
    const closing = { id, rootId, groupId, again: redelivered, priority: undefined }
    const continuer = await continuerInTask(core, sender)
    const parts = await endedParts(await core.connections.backend(), headers)
    if (parts !== undefined) {
      await continuer.close(body, closing, parts, [[groupId, null], headers])
      return null
    }
    try {
      return self.retry({
        countdown: typeof interval === 'number' ? interval : unlockIntervalSeconds,
        maxRetries: typeof maxRetries === 'number' ? maxRetries : null,
      })
    } catch (error) {
      // Nobody will look again: the chord must end here.
      if (error instanceof MaxRetriesExceededError)
        await continuer.abandon(body, closing, `chord_unlock could not be retried: ${error.message}`)
      throw error
    }
  }
}

/** The headers in their order; undefined while one of them has not ended. */
async function endedParts(backend: ResultBackend, headers: readonly ResultTuple[]): Promise<readonly ChordPart[] | undefined> {
  const ids = headers.flatMap(leaves)
  const metas = await backend.getMany(ids)
  const parts: ChordPart[] = []
  for (const [index, taskId] of ids.entries()) {
    const meta = metas.get(taskId)
    if (meta === undefined || !isReady(meta.status)) return undefined
    parts.push({ taskId, index, status: meta.status, result: meta.result })
  }
  return parts
}

function leaves([[id], members]: ResultTuple): readonly string[] {
  return members === null ? [id] : members.flatMap(leaves)
}
