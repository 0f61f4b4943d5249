import { randomUUID } from 'node:crypto'
import type { AppCore } from '../app/core.js'
import { DeclarationMismatchError } from '../errors.js'
import { decodeBroadcast, decodeRevoke, decodeRevokeByStamps, pidboxExchange } from '../protocol/mailbox.js'
import type { Queue } from '../protocol/topology.js'
import type { Connection, Consumer, Delivery } from '../transport.js'

/** What the worker does when it is told to. */
export interface Commands {
  revoke(taskId: string, terminate: NodeJS.Signals | undefined): void
  revokeByStamps(stamps: ReadonlyMap<string, readonly unknown[]>, terminate: NodeJS.Signals | undefined): void
}

/** Broadcasts to this worker (Celery's pidbox): a queue of its own on the fan-out exchange. A request that cannot be read is logged and forgotten. */
export class Mailbox {
  readonly #core: AppCore
  readonly #hostname: string
  readonly #commands: Commands

  constructor(core: AppCore, hostname: string, commands: Commands) {
    this.#core = core
    this.#hostname = hostname
    this.#commands = commands
  }

  async open(connection: Connection): Promise<Consumer> {
    const queue = await this.#declare(connection)
    return connection.consume({
      queues: [queue],
      prefetch: 100,
      onDeliveries: (deliveries) => {
        for (const delivery of deliveries) this.#take(delivery)
      },
    })
  }

  /** Two workers of one name would share one queue, and each request would reach only one of them. */
  async #declare(connection: Connection): Promise<string> {
    const pidbox = pidboxExchange(this.#core.config.controlExchange)
    const named = (name: string): Queue => ({
      name,
      durable: false,
      exclusive: true,
      autoDelete: true,
      arguments: {},
      bindings: [{ exchange: pidbox.name, routingKey: '' }],
    })
    const name = `${this.#hostname}.${pidbox.name}`
    try {
      await connection.declare({ exchanges: [pidbox], queues: [named(name)] })
      return name
    } catch (error) {
      if (!(error instanceof DeclarationMismatchError)) throw error
      this.#core.log.warn(
        { hostname: this.#hostname },
        `another worker is called ${this.#hostname}: give each a name of its own (--hostname), or nobody can tell them apart`,
      )
      const own = `${this.#hostname}.${randomUUID()}.${pidbox.name}`
      await connection.declare({ exchanges: [pidbox], queues: [named(own)] })
      return own
    }
  }

  #take(delivery: Delivery): void {
    delivery.ack()
    try {
      const request = decodeBroadcast(this.#core.serializers.decode(delivery.message, { accept: ['json'] }))
      if (request.destination !== null && !request.destination.includes(this.#hostname)) return
      if (request.method === 'revoke_by_stamped_headers') {
        const { stamps, terminate, signal } = decodeRevokeByStamps(request.arguments)
        this.#commands.revokeByStamps(stamps, terminate ? (signal as NodeJS.Signals) : undefined) // as below
        this.#core.log.info(
          { stamps: Object.fromEntries(stamps) },
          `Tasks with these stamps flagged as revoked: ${[...stamps.keys()].join(', ')}`,
        )
        return
      }
      if (request.method !== 'revoke') {
        // Python workers greet all others at each of their starts: that is no news.
        this.#core.log.debug({ method: request.method }, `this worker does not know the command ${request.method}`)
        return
      }
      const { taskIds, terminate, signal } = decodeRevoke(request.arguments)
      // The name was checked to look like a signal's; one that the system does not have is refused when it is sent.
      for (const taskId of taskIds) this.#commands.revoke(taskId, terminate ? (signal as NodeJS.Signals) : undefined)
      this.#core.log.info({ task_ids: taskIds }, `${terminate ? 'Terminating' : 'Tasks flagged as revoked:'} ${taskIds.join(', ')}`)
    } catch (error) {
      this.#core.log.error({ err: error }, 'a remote control request could not be read')
    }
  }
}
