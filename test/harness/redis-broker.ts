import { randomUUID } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Message } from '../../dist/protocol/message.js'
import { type RedisOptions, startRedis, startSentinel } from '../../scripts/services.mjs'
import { until } from '../conformance/wait.js'
import { FaultProxy, type Link } from './fault-proxy.js'
import { type KeptMessage, leaseTtlMs, queueName, type SceneBroker } from './scene-broker.js'
import { mountSmallDisk, unmountSmallDisk } from './small-disk.js'

/** The lists of a queue in kombu's layout, most urgent first. */
const lists = [queueName, ...[3, 6, 9].map((step) => `${queueName}\x06\x16${step}`)]

/** What a server may keep when all is done: results, chords that have ended, bindings, dead letters. */
const mayStay = /^(celery-task-meta-|celery-taskset-meta-[^.]+(\.c)?$|_kombu\.binding(_permanent)?\.|celeriac\.(dead|revoked)(\.|$))/

type Server = Awaited<ReturnType<typeof startRedis>>
type Sentinel = Awaited<ReturnType<typeof startSentinel>>

/** For DEBUG SLEEP. */
const debugging = ['--enable-debug-command', 'local']
/** Outlives its server's restarts. */
const patient = { retryStrategy: () => 50, sentinelRetryStrategy: () => 50, maxRetriesPerRequest: null } as const

/** Short leases, as every scene has them. */
const shortLeases = { leaseTtl: leaseTtlMs / 1000, sweepInterval: 0.25 }

/** A Redis server of its own, a network in front of it that may fail, and a client that looks into it past the driver. */
export class RedisBroker implements SceneBroker {
  readonly name = 'redis'
  readonly options: Readonly<Record<string, unknown>> = { brokerTransportOptions: shortLeases }
  readonly server: Server
  readonly proxy: FaultProxy
  readonly raw: Redis

  protected constructor(server: Server, proxy: FaultProxy, raw: Redis) {
    this.server = server
    this.proxy = proxy
    this.raw = raw
    // Servers come and go.
    raw.on('error', () => {})
  }

  static async start(options: RedisOptions = {}): Promise<RedisBroker> {
    const server = await startRedis({ ...options, args: [...debugging, ...(options.args ?? [])] })
    return new RedisBroker(server, await FaultProxy.to(server.port), new Redis(server.url, patient))
  }

  get url(): string {
    return this.server.url
  }

  /** Through the proxy. */
  get proxied(): string {
    return this.proxy.url(this.server.url)
  }

  async messages(): Promise<KeptMessage[]> {
    // Not in one step, which a cluster and a full server refuse: what moves meanwhile may be seen twice.
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

/** A server whose append-only file lies on a disk of its own, and a small one. */
export class RedisOnSmallDisk extends RedisBroker {
  #filler = ''

  /** Under this folder; only some hundred kilobytes are free. */
  static async open(folder: string): Promise<RedisOnSmallDisk> {
    const disk = join(folder, 'disk')
    mountSmallDisk(disk, '4m')
    const filler = join(disk, 'filler')
    writeFileSync(filler, Buffer.alloc(3 * 1024 * 1024))
    const server = await startRedis({ folder: disk, appendonly: true, args: ['--auto-aof-rewrite-percentage', '0'] })
    const broker = new RedisOnSmallDisk(server, await FaultProxy.to(server.port), new Redis(server.url, patient))
    broker.#filler = filler
    return broker
  }

  makeRoom(): void {
    rmSync(this.#filler)
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]()
    unmountSmallDisk(this.server.folder)
  }
}

/** A primary, its replica, and a Sentinel that makes the one the other's successor. All reach the primary through the proxy. */
export class RedisGroup extends RedisBroker {
  override readonly options: Readonly<Record<string, unknown>>
  readonly replica: Server
  /** Between the replica and its primary, as long as their roles are these. */
  readonly replication: Link
  readonly sentinel: Sentinel

  private constructor(
    server: Server,
    proxy: FaultProxy,
    raw: Redis,
    others: Pick<RedisGroup, 'replica' | 'replication' | 'sentinel'>,
    more: object,
  ) {
    super(server, proxy, raw)
    this.replica = others.replica
    this.replication = others.replication
    this.sentinel = others.sentinel
    const { name: masterName } = others.sentinel
    this.options = { brokerTransportOptions: { ...shortLeases, masterName, ...more }, resultBackendTransportOptions: { masterName } }
  }

  /** `more`: further transport options of its apps. */
  static async open(more: object = {}): Promise<RedisGroup> {
    const server = await startRedis({ args: debugging })
    const proxy = await FaultProxy.to(server.port)
    const replicating = proxy.before({ direction: 'up', bytes: 'PSYNC' }, () => {})
    const replica = await startRedis({ replicaOf: proxy.port, args: debugging })
    // It corrects replicas that replicate from another address than the one it watches.
    const sentinel = await startSentinel({ port: proxy.port })
    const raw = new Redis({ ...patient, sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: sentinel.name })
    const group = new RedisGroup(server, proxy, raw, { replica, replication: await replicating, sentinel }, more)
    const asked = new Redis({ port: sentinel.port })
    try {
      await until(async () => /slave0:.*state=online/.test(await raw.info('replication')), 'the replica is there')
      // The Sentinel asks the primary for its replicas now and then only.
      await until(
        async () => ((await asked.call('sentinel', 'replicas', sentinel.name)) as unknown[]).length === 1,
        'the Sentinel knows it',
      )
    } finally {
      asked.disconnect()
    }
    return group
  }

  override get url(): string {
    return `sentinel://127.0.0.1:${this.sentinel.port}/0`
  }

  /** Until the replica has all that was written so far. */
  async replicated(): Promise<void> {
    // WAIT looks no further than what its own client wrote last.
    await this.raw.set('replicated', '')
    await this.raw.del('replicated')
    await until(async () => (await this.raw.wait(1, 1_000)) === 1, 'the replica has it')
  }

  /** The Sentinel changes the roles of the two, as an operator may ask for. */
  async swap(): Promise<void> {
    const asked = new Redis({ port: this.sentinel.port })
    try {
      await asked.call('sentinel', 'failover', this.sentinel.name)
    } finally {
      asked.disconnect()
    }
    await this.replicaLeads()
  }

  /** Until the one that was the replica is the primary. */
  async replicaLeads(): Promise<void> {
    const asked = new Redis(this.replica.url, patient)
    try {
      await until(async () => (await asked.info('replication')).includes('role:master'), 'the replica is the primary')
    } finally {
      asked.disconnect()
    }
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]()
    await Promise.all([this.sentinel.stop(), this.replica.stop()])
  }
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
