import type { AppCore } from '../app/core.js'
import { decodeBroadcast, decodeRevoke, pidboxExchange } from '../protocol/mailbox.js'
import type { Connection, Consumer, Delivery } from '../transport.js'

/** What the worker does when it is told to. */
export interface Commands {
  revoke(taskId: string, terminate: NodeJS.Signals | undefined): void
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
    const name = `${this.#hostname}.celery.pidbox`
    const queue = {
      name,
      durable: false,
      exclusive: false,
      autoDelete: true,
      arguments: {},
      bindings: [{ exchange: pidboxExchange.name, routingKey: '' }],
    }
    await connection.declare({ exchanges: [pidboxExchange], queues: [queue] })
    return connection.consume({
      queues: [name],
      prefetch: 100,
      onDeliveries: (deliveries) => {
        for (const delivery of deliveries) this.#take(delivery)
      },
    })
  }

  #take(delivery: Delivery): void {
    delivery.ack()
    try {
      const request = decodeBroadcast(this.#core.serializers.decode(delivery.message, { accept: ['json'] }))
      if (request.destination !== null && !request.destination.includes(this.#hostname)) return
      if (request.method !== 'revoke') {
        this.#core.log.warn({ method: request.method }, `this worker does not know the command ${request.method}`)
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
