import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Message } from '../../dist/protocol/message.js'
import { type RedisOptions, startRedis } from '../../scripts/services.mjs'
import { FaultProxy } from './fault-proxy.js'
import { type KeptMessage, leaseTtlMs, queueName, type SceneBroker } from './scene-broker.js'

/** The lists of a queue in kombu's layout, most urgent first. */
const lists = [queueName, ...[3, 6, 9].map((step) => `${queueName}\x06\x16${step}`)]

/** What a server may keep when all is done: results, bindings, dead letters. */
const mayStay = /^(celery-task-meta-|_kombu\.binding\.|celeriac\.(dead|revoked)(\.|$))/

/** A Redis server of its own, a network in front of it that may fail, and a client that looks into it past the driver. */
export class RedisBroker implements SceneBroker {
  readonly name = 'redis'
  readonly options = { brokerTransportOptions: { leaseTtl: leaseTtlMs / 1000, sweepInterval: 0.25 } }
  readonly server: Awaited<ReturnType<typeof startRedis>>
  readonly proxy: FaultProxy
  readonly raw: Redis

  private constructor(server: RedisBroker['server'], proxy: FaultProxy) {
    this.server = server
    this.proxy = proxy
    this.raw = inspector(server.url)
  }

  static async start(options: RedisOptions = {}): Promise<RedisBroker> {
    const server = await startRedis({ ...options, args: ['--enable-debug-command', 'local', ...(options.args ?? [])] })
    return new RedisBroker(server, await FaultProxy.to(server.port))
  }

  get url(): string {
    return this.server.url
  }

  /** Through the proxy. */
  get proxied(): string {
    return this.proxy.url(this.server.url)
  }

  async messages(): Promise<KeptMessage[]> {
    const waiting = await Promise.all(lists.map((list) => this.raw.lrange(list, 0, -1)))
    const unacked = Object.entries(await this.raw.hgetall('unacked'))
    return [
      ...waiting.flat().map((envelope) => kept('waiting', () => JSON.parse(envelope))),
      ...unacked.map(([lease, entry]) => kept(lease.startsWith('c:eta:') ? 'delayed' : 'leased', () => JSON.parse(entry)[0])),
    ]
  }

  publishRaw = async (message: Message): Promise<void> => {
    await this.push(envelopeOf(message))
  }

  /** A raw string, whatever it is, to where a message would stand. */
  async push(...envelopes: readonly string[]): Promise<void> {
    await this.raw.lpush(queueName, ...envelopes)
  }

  async multiplyDeadLetters(count: number): Promise<void> {
    const [[id, value] = []] = Object.entries(await this.raw.hgetall('celeriac.dead'))
    const score = id === undefined ? null : await this.raw.zscore('celeriac.dead.index', id)
    if (id === undefined || value === undefined || score === null) throw new Error('there is no dead letter')
    for (let from = 0; from < count; from += 500) {
      const copies = Array.from({ length: Math.min(500, count - from) }, (_, n) => `${id}-copy-${from + n}`)
      await this.raw.hset('celeriac.dead', ...copies.flatMap((copy) => [copy, value]))
      await this.raw.zadd('celeriac.dead.index', ...copies.flatMap((copy) => [score, copy]))
    }
  }

  async leftovers(): Promise<readonly string[]> {
    return (await this.raw.keys('*')).filter((key) => !mayStay.test(key)).map((key) => `key ${key}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.raw.disconnect()
    await this.proxy[Symbol.asyncDispose]()
    await this.server.stop()
  }
}

/** A client that outlives its server's restarts. */
export function inspector(url: string): Redis {
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null })
  client.on('error', () => {})
  return client
}

function kept(state: KeptMessage['state'], read: () => unknown): KeptMessage {
  try {
    // An envelope of kombu's, or nonsense: then reading it throws.
    const { headers, properties } = read() as { headers: { id?: string }; properties: { celeriac_deliveries?: number } }
    return { id: headers.id, state, deliveries: properties.celeriac_deliveries ?? 0 }
  } catch {
    return { id: undefined, state, deliveries: 0 }
  }
}

/** As kombu writes it. */
export function envelopeOf({ body, headers, properties, contentType, contentEncoding }: Message): string {
  const { correlationId, replyTo, deliveryMode, priority } = properties
  return JSON.stringify({
    body: Buffer.from(body).toString('base64'),
    'content-encoding': contentEncoding,
    'content-type': contentType,
    headers,
    properties: {
      correlation_id: correlationId,
      reply_to: replyTo,
      delivery_mode: deliveryMode ?? 2,
      delivery_info: { exchange: '', routing_key: queueName },
      priority: priority ?? 0,
      body_encoding: 'base64',
      delivery_tag: randomUUID(),
    },
  })
}
