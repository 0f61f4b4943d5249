import type { AppCore } from '../app/core.js'
import type { Sender } from '../app/sender.js'
import type { WorkerOptions } from '../app/worker-options.js'
import type { Connection, Consumer } from '../transport.js'
import { callElected, Gossip } from './gossip.js'
import { mingle } from './mingle.js'
import type { Presence } from './presence.js'
import type { RevokedTasks } from './revoked.js'

interface NeighbourParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly hostname: string
  readonly presence: Presence
  readonly options: Pick<WorkerOptions, 'gossip' | 'mingle'>
}

/** The other workers: asked once at the start, and listened to from then on. */
export class Neighbours {
  readonly gossip: Gossip | undefined
  readonly #parts: NeighbourParts
  readonly #stopped = new AbortController()
  #mingling: Promise<void> | undefined

  constructor(parts: NeighbourParts) {
    const { core, sender, hostname, presence, options } = parts
    this.#parts = parts
    const callTask = (action: unknown): Promise<unknown> => callElected(core, sender, action)
    if (options.gossip ?? hasNeighbours(core)) this.gossip = new Gossip({ core, hostname, dispatcher: presence.dispatcher, callTask })
  }

  /** They are asked while the pool boots; whoever waits for neither has their answers a moment later. */
  meet(revoked: RevokedTasks, onRevoked: () => void): void {
    const { core, hostname, options } = this.#parts
    if (options.mingle ?? hasNeighbours(core)) this.#mingling = mingle(core, hostname, revoked, this.#stopped.signal).then(onRevoked)
  }

  /** Listens on this connection. */
  async join(connection: Connection): Promise<readonly Consumer[]> {
    return this.gossip === undefined ? [] : [await this.gossip.join(connection)]
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.gossip?.stop()
    await this.#mingling
  }
}

/** On one machine, every worker shares what is revoked through the file, and nobody needs to be met (as with Celery, where only some brokers have gossip). */
function hasNeighbours(core: AppCore): boolean {
  return !core.config.brokerUrl.every((address) => typeof address === 'string' && /^(sqlite|memory):/i.test(address))
}
