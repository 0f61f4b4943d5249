/** A virtual host of RabbitMQ for tests of the driver: emptied between them, and looked into behind the driver's back. */

import type { AmqpLink } from '../../dist/internal/amqp/link.js'
import { AmqpTarget } from '../../dist/internal/amqp/target.js'
import type { Clock } from '../../dist/internal/clock.js'
import type { Queue } from '../../dist/protocol/topology.js'
import type { Connection, Transport } from '../../dist/transport.js'
import { type AmqpBrokerOptions, defaultAmqpBrokerOptions } from '../../dist/transports/amqp/options.js'
import { AmqpTransport } from '../../dist/transports/amqp.js'

export const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const linkOptions = { tls: undefined, heartbeat: undefined, socketConnectTimeout: 5, clientName: undefined }

export function transportTo(url: string, clock: Clock, more: Partial<AmqpBrokerOptions> = {}, log = silent): AmqpTransport {
  return new AmqpTransport(new AmqpTarget(url, linkOptions), { ...defaultAmqpBrokerOptions, ...more }, { clock, log })
}

/** Every plain queue is declared as a quorum queue. */
export function onQuorumQueues(transport: Transport): Transport {
  const isPlain = ({ durable, exclusive, autoDelete, arguments: given }: Queue): boolean =>
    durable && !exclusive && !autoDelete && given['x-max-priority'] === undefined && given['x-expires'] === undefined
  return {
    name: transport.name,
    supports: transport.supports,
    async connect(options) {
      const connection = await transport.connect(options)
      const declare: Connection['declare'] = ({ exchanges, queues }) =>
        connection.declare({
          exchanges,
          queues: queues.map((queue) =>
            isPlain(queue) ? { ...queue, arguments: { ...queue.arguments, 'x-queue-type': 'quorum' } } : queue,
          ),
        })
      return new Proxy(connection, {
        get: (target, name) => {
          if (name === 'declare') return declare
          const value: unknown = Reflect.get(target, name, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    },
  }
}

/** A link of the test's own. */
export class Peek implements AsyncDisposable {
  readonly link: AmqpLink

  private constructor(link: AmqpLink) {
    this.link = link
    // The test's process must wait for its answers.
    link.hold()
  }

  static async open(url: string): Promise<Peek> {
    return new Peek(await new AmqpTarget(url, linkOptions).open({ signal: AbortSignal.timeout(10_000), name: 'test' }))
  }

  async delete(queues: readonly string[], exchanges: readonly string[]): Promise<void> {
    const channel = await this.link.openChannel()
    for (const name of queues) await channel.api.deleteQueue(name)
    for (const name of exchanges) await channel.api.deleteExchange(name)
    await channel.close()
  }

  /** What still waits for its time is of no test any more. */
  async purgeDelays(): Promise<void> {
    const channel = await this.link.openChannel()
    try {
      for (let level = 0; level < 28; level++) await channel.api.purgeQueue(`celery_delayed_${level}`)
    } catch {
      // Nothing was ever delayed.
    } finally {
      await channel.close()
    }
  }

  /** Whether a message of that id waits in one of the queues. They count as delivered by it. */
  async finds(taskId: string, queues: readonly string[]): Promise<boolean> {
    for (const queue of queues) {
      const channel = await this.link.openChannel()
      try {
        for (;;) {
          const message = await channel.api.get(queue)
          if (message === false) break
          if (message.properties.headers?.id === taskId) return true
        }
      } catch {
        // There is no such queue.
      } finally {
        await channel.close()
      }
    }
    return false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.link.close()
  }
}
