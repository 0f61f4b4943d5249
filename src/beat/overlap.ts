/** Whether the run before has ended, for entries whose runs must not overlap. */
import type { AppCore } from '../app/core.js'
import { isReady } from '../protocol/result.js'

/** True while the task waits or runs, as far as results and the broker can tell. What they have forgotten has ended, and so has what only another process is told of. */
export async function isUnfinished(core: AppCore, taskId: string, sentAtMs: number): Promise<boolean> {
  const backend = await core.connections.backend()
  const meta = await backend.get(taskId)
  if (meta !== undefined) return !isReady(meta.status)
  // Its result goes to another process: this one will never hear of its end.
  if (backend.inbox?.expects(taskId) === false) return false
  const place = await (await core.connections.publisher()).locate(taskId)
  if (place !== 'unknown') return place !== 'absent'
  // A broker that cannot look: a task without a state waits, or had a result that has expired.
  const { resultExpires } = core.config
  return resultExpires === null || core.clock.now() - sentAtMs < resultExpires * 1000
}

/** Settles when the task has ended. Rejects when the signal aborts or results cannot be read. */
export async function ended(core: AppCore, taskId: string, signal: AbortSignal): Promise<void> {
  const backend = await core.connections.backend()
  for await (const meta of backend.wait([taskId], { signal })) if (isReady(meta.status)) return
}
