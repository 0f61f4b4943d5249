import { NotSupportedError } from '../errors.js'
import { encodeBroadcast, encodeRevoke, pidboxExchange } from '../protocol/mailbox.js'
import { json } from '../serializers/json.js'
import type { AppCore } from './core.js'
import { revokedMeta } from './outcomes.js'

/** Revoked ids are kept for a day at least: as long as results are, or longer. */
const revokeSecondsAtLeast = 86_400

/** Steers workers from any program that has the app. */
export class Control {
  readonly #core: AppCore

  constructor(core: AppCore) {
    this.#core = core
  }

  /**
   * These tasks will not start, on workers that are up and on those that start later (where the backend can remember it).
   * With `terminate`, running ones are stopped: their process gets `signal` (default SIGTERM); pools without processes abort `ctx.signal`.
   */
  async revoke(
    id: string | string[],
    { terminate = false, signal = 'SIGTERM' }: { terminate?: boolean; signal?: NodeJS.Signals } = {},
  ): Promise<void> {
    const ids = Array.isArray(id) ? id : [id]
    const { connections, config } = this.#core
    const backend = await connections.backend()
    if (backend.supports.durableRevoke) {
      await backend.revoke(ids, { expiresSeconds: Math.max(config.resultExpires ?? 0, revokeSecondsAtLeast) })
    }
    const connection = await connections.publisher()
    const pidbox = pidboxExchange(config.controlExchange)
    await connection.declare({ exchanges: [pidbox], queues: [] })
    const broadcast = {
      method: 'revoke',
      arguments: encodeRevoke({ taskIds: ids, terminate, signal }),
      destination: null,
      pattern: null,
      matcher: null,
    }
    const request = encodeBroadcast(broadcast, json, { clock: 0 })
    await connection.publish(request, { exchange: pidbox.name, routingKey: '' }, { deadlineMs: config.publishTimeout * 1000 })
    if (!backend.supports.results || !backend.supports.durableRevoke) return
    // A message that nobody has taken will be refused by whoever takes it: its end can be told now, not when its eta comes.
    for (const taskId of ids) {
      if ((await connection.locate(taskId)) !== 'waiting') continue
      await backend.store(revokedMeta(this.#core, taskId), { expiresSeconds: config.resultExpires })
    }
  }

  /** Removes all waiting messages of a queue; how many they were. Default: the default queues. */
  async purge(queue?: string): Promise<number> {
    const connection = await this.#core.connections.publisher()
    const queues = queue === undefined ? this.#core.routes.defaultQueues() : [queue]
    let purged = 0
    for (const name of queues) purged += await connection.purge(name)
    return purged
  }

  inspect(): Promise<unknown> {
    return unavailable('control.inspect()')
  }

  rateLimit(_task: string, _rate: string): Promise<void> {
    return unavailable('control.rateLimit()')
  }

  pause(_queue: string): Promise<void> {
    return unavailable('control.pause()')
  }

  resume(_queue: string): Promise<void> {
    return unavailable('control.resume()')
  }
}

function unavailable(what: string): Promise<never> {
  return Promise.reject(new NotSupportedError(what, 'workers of this version take revoke only'))
}
