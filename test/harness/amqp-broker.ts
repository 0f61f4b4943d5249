import { join } from 'node:path'
import type { AmqpMessage } from '../../dist/internal/amqp/amqplib.js'
import type { AmqpLink } from '../../dist/internal/amqp/link.js'
import { AmqpTarget } from '../../dist/internal/amqp/target.js'
import type { Message } from '../../dist/protocol/message.js'
import { readMessage, writeMessage } from '../../dist/transports/amqp/wire.js'
import { FaultProxy } from './fault-proxy.js'
import { type KeptMessage, queueName, type SceneBroker } from './scene-broker.js'

export type QueueType = 'classic' | 'quorum'

/** Found within two of them; the server's own is a minute. For rows in which nobody else may find a loss: a machine that is busy may be as silent. */
export const shortHeartbeatSeconds = 2
const heartbeatSeconds = 20

/** A virtual host of RabbitMQ, emptied when the scene is over, and a network in front of it that may fail. Results are in a file of the scene's. */
export class AmqpBroker implements SceneBroker {
  readonly name = 'rabbitmq'
  readonly url: string
  readonly type: QueueType
  readonly proxy: FaultProxy
  readonly options: Readonly<Record<string, unknown>>
  readonly results: string
  #link: Promise<AmqpLink> | undefined

  private constructor(folder: string, url: string, type: QueueType, proxy: FaultProxy, heartbeat: number) {
    this.url = url
    this.type = type
    this.proxy = proxy
    this.results = `sqlite://${join(folder, 'results.db')}`
    this.options = {
      resultBackend: this.results,
      brokerTransportOptions: { heartbeat },
      ...(type === 'classic' ? {} : { taskQueues: [{ name: queueName, arguments: { 'x-queue-type': 'quorum' } }] }),
    }
  }

  static async open(folder: string, url: string, type: QueueType, heartbeat = heartbeatSeconds): Promise<AmqpBroker> {
    return new AmqpBroker(folder, url, type, await FaultProxy.to(Number(new URL(url).port)), heartbeat)
  }

  /** Through the proxy. */
  get proxied(): string {
    return this.proxy.url(this.url)
  }

  /** Past every driver; a new one after its loss. */
  async link(): Promise<AmqpLink> {
    const known = await this.#link?.catch(() => undefined)
    if (known?.isOpen === true) return known
    const options = { tls: undefined, heartbeat: undefined, socketConnectTimeout: 10, clientName: undefined }
    this.#link = new AmqpTarget(this.url, options).open({ signal: AbortSignal.timeout(10_000), name: 'test' })
    const link = await this.#link
    link.hold()
    return link
  }

  /** Those that wait: of those that are out, nothing can be learned. */
  async messages(): Promise<KeptMessage[]> {
    const channel = await (await this.link()).openChannel()
    try {
      const { messageCount } = await channel.api.checkQueue(queueName)
      return Array.from({ length: messageCount }, () => ({ id: undefined, state: 'waiting', deliveries: 0 }))
    } catch {
      return []
    } finally {
      await channel.close()
    }
  }

  /** The messages that wait, as they are. Afterwards they are there again, and the broker counts that. */
  async waiting(queue: string = queueName): Promise<readonly KeptMessage[]> {
    return (await this.raw(queue)).map((raw) => {
      const { message, deliveries } = readMessage(raw)
      return { id: String(message.headers.id), state: 'waiting', deliveries }
    })
  }

  async raw(queue: string = queueName): Promise<readonly AmqpMessage[]> {
    const channel = await (await this.link()).openChannel()
    const found: AmqpMessage[] = []
    for (;;) {
      const message = await channel.api.get(queue)
      if (message === false) break
      found.push(message)
    }
    // A close alone would give them back a moment after its answer.
    channel.api.nackAll(true)
    await channel.close()
    return found
  }

  publishRaw = async (message: Message): Promise<void> => {
    const { content, properties } = writeMessage(message)
    const channel = await (await this.link()).openConfirmChannel()
    await new Promise<void>((resolve, reject) =>
      channel.api.publish('', queueName, content, properties, (error) => (error === null ? resolve() : reject(error))),
    )
    await channel.close()
  }

  async multiplyDeadLetters(): Promise<void> {
    throw new Error('no row on RabbitMQ needs it')
  }

  async leftovers(): Promise<readonly string[]> {
    return []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const link = await this.link()
    const channel = await link.openChannel()
    for (const queue of [queueName, 'celeriac.dead']) await channel.api.deleteQueue(queue)
    await channel.api.deleteExchange(queueName)
    await link.close()
    await this.proxy[Symbol.asyncDispose]()
  }
}
