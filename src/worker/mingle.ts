import type { AppCore } from '../app/core.js'
import { isRecord } from '../protocol/plain.js'
import { revokedIds } from './commands/cluster.js'
import type { RevokedTasks } from './revoked.js'

/** As Celery: neighbours on one network answer within milliseconds. */
const timeoutMs = 1_000

/** Asks the other workers which tasks are revoked and what time it is, logically. They learn the same of this one. Never rejects. */
export async function mingle(core: AppCore, hostname: string, revoked: RevokedTasks, signal: AbortSignal): Promise<void> {
  try {
    let nodes = 0
    await core.control.ask(
      { method: 'hello', arguments: { from_node: hostname, revoked: revoked.ids.ids() } },
      {
        timeoutMs,
        signal,
        // As they come: a worker that is ready sooner goes on with what it knows until then.
        onReply: ({ hostname: node, reply }) => {
          if (node === hostname || !isRecord(reply) || 'error' in reply) return
          nodes++
          core.lamport.adjust(reply.clock)
          revoked.add(revokedIds(reply.revoked))
        },
      },
    )
    core.log.debug({ nodes }, nodes === 0 ? 'mingle: all alone' : `mingle: sync with ${nodes} nodes`)
  } catch (error) {
    core.log.debug({ err: error }, 'mingle: the other workers could not be asked')
  }
}
