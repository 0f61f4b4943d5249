/**
 * A fleet of both languages on one broker: a Python and a Node worker, a Python and a Node client. Started once a file, as starting takes seconds. Whatever the
 * broker is, there is a Redis that tasks write to and tests look into.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ChannelModel } from 'amqplib'
import { Redis } from 'ioredis'
import { afterAll } from 'vitest'
import { type AppOptions, Celeriac } from '../../dist/index.js'
import { startRedis } from '../../scripts/services.mjs'
import { until } from '../conformance/wait.js'
import { WorkerProcess } from '../harness/worker-process.js'
import { lookInto, type VirtualHost, virtualHost } from '../rabbit.js'
import { type Caller, NodeCaller, PythonCaller } from './caller.js'
import { PythonClient, type PythonSettings, PythonWorker } from './python-process.js'

const nodeApp = fileURLToPath(new URL('node/app.mjs', import.meta.url))

/** Where messages go: Redis, or RabbitMQ with that type of queues. */
export type Broker = 'redis' | 'classic' | 'quorum'

export interface FleetSettings {
  /** Default: redis. */
  readonly broker?: Broker
  /** Where results go; by default to Redis. */
  readonly backend?: 'redis' | 'rpc'
  /** Queues of the Python worker; none: there is no Python worker. */
  readonly python?: readonly string[]
  /** Queues of the Node worker; none: there is no Node worker. */
  readonly node?: readonly string[]
  readonly concurrency?: number
  /** Further flags of the workers of both languages, such as `-E`. */
  readonly flags?: readonly string[]
  /** The number of the Redis database. */
  readonly db?: number
  /** Celery's configuration of the Python worker and client, in its own names. */
  readonly pythonConfig?: Readonly<Record<string, unknown>>
  /** Options of the Node worker and client. */
  readonly nodeOptions?: AppOptions
}

export class Fleet implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'celeriac-interop-'))
  /** Of the broker. */
  readonly url: string
  readonly backendUrl: string
  readonly storeUrl: string
  /** To look at what is there, and to open gates. */
  readonly redis: Redis
  readonly nodeWorkers: WorkerProcess[] = []
  readonly pythonWorkers: PythonWorker[] = []
  readonly client: PythonClient
  readonly app: Celeriac
  readonly callers: { readonly python: PythonCaller; readonly node: NodeCaller }
  readonly #settings: FleetSettings
  readonly #stopRedis: () => Promise<void>
  readonly #host: VirtualHost | undefined
  #looking: Promise<ChannelModel> | undefined

  static async start(settings: FleetSettings): Promise<Fleet> {
    const host = (settings.broker ?? 'redis') === 'redis' ? undefined : await virtualHost()
    const fleet = new Fleet(settings, await startRedis(), host)
    try {
      const { python = [], node = [] } = settings
      await Promise.all([
        ...(python.length === 0 ? [] : [fleet.startPython(python)]),
        ...(node.length === 0 ? [] : [fleet.startNode(node)]),
        fleet.client.ask('versions'),
      ])
      return fleet
    } catch (error) {
      await fleet[Symbol.asyncDispose]()
      throw error
    }
  }

  private constructor(settings: FleetSettings, { url, stop }: { url: string; stop: () => Promise<void> }, host: VirtualHost | undefined) {
    this.#settings = settings
    this.#stopRedis = stop
    this.#host = host
    this.storeUrl = url.replace(/\d+$/, String(settings.db ?? 0))
    this.url = host?.url ?? this.storeUrl
    this.backendUrl = settings.backend === 'rpc' ? 'rpc://' : this.storeUrl
    this.redis = new Redis(this.storeUrl)
    this.client = new PythonClient(this.#pythonSettings)
    this.app = this.another(settings.nodeOptions ?? {})
    this.callers = { python: new PythonCaller(this.client), node: new NodeCaller(this.app) }
  }

  get #pythonSettings(): PythonSettings {
    const { broker, pythonConfig = {} } = this.#settings
    const types = broker === 'quorum' ? { task_default_queue_type: 'quorum', task_create_missing_queue_type: 'quorum' } : {}
    return { broker: this.url, backend: this.backendUrl, store: this.storeUrl, config: { ...types, ...pythonConfig } }
  }

  #nodeOptions(options: AppOptions): AppOptions {
    const types: AppOptions =
      this.#settings.broker === 'quorum' ? { taskDefaultQueueType: 'quorum', taskCreateMissingQueueType: 'quorum' } : {}
    return { ...types, ...options }
  }

  async startPython(queues: readonly string[]): Promise<PythonWorker> {
    const { concurrency = 1, flags = [] } = this.#settings
    const name = `python${this.pythonWorkers.length}@%h`
    const worker = new PythonWorker({ ...this.#pythonSettings, queues, name, concurrency, flags })
    this.pythonWorkers.push(worker)
    return worker.ready()
  }

  async startNode(queues: readonly string[], nodeOptions = this.#settings.nodeOptions ?? {}): Promise<WorkerProcess> {
    const { concurrency = 1, flags = [] } = this.#settings
    const name = `node${this.nodeWorkers.length}@%h`
    const worker = new WorkerProcess({
      app: nodeApp,
      folder: this.folder,
      concurrency,
      args: ['-Q', queues.join(','), '-n', name, ...flags],
      env: {
        CELERIAC_BROKER_URL: this.url,
        CELERIAC_RESULT_BACKEND: this.backendUrl,
        INTEROP_STORE: this.storeUrl,
        INTEROP_CONFIG: JSON.stringify(this.#nodeOptions(nodeOptions)),
      },
    })
    this.nodeWorkers.push(worker)
    return worker.ready()
  }

  /** A Node app of other options on this broker. */
  another(options: AppOptions): Celeriac {
    return new Celeriac('another', { brokerUrl: this.url, resultBackend: this.backendUrl, ...this.#nodeOptions(options) })
  }

  /** A connection to RabbitMQ, to look at what is there. */
  looking(): Promise<ChannelModel> {
    this.#looking ??= lookInto(this.url)
    return this.#looking
  }

  /** `rabbitmqctl` for this virtual host: the lines that it printed. */
  async ctl(command: string, ...args: readonly string[]): Promise<string[]> {
    if (this.#host === undefined) throw new Error('this fleet is not on RabbitMQ')
    const printed = await this.#host.ctl(command, '-p', this.#host.name, '--no-table-headers', ...args)
    return printed.split('\n').filter(Boolean)
  }

  /** Messages that wait in a queue, and no worker holds. */
  async waiting(queue: string): Promise<number> {
    if (this.#host === undefined) return this.redis.llen(queue)
    const channel = await (await this.looking()).createChannel()
    try {
      return (await channel.checkQueue(queue)).messageCount
    } finally {
      await channel.close()
    }
  }

  caller(language: 'python' | 'node'): Caller {
    return this.callers[language]
  }

  /** Until a task waits at this gate. */
  async atGate(name: string): Promise<void> {
    await this.listed(`at-gate:${name}`, 1)
  }

  async open(name: string): Promise<void> {
    await this.redis.rpush(`gate:${name}`, 'open')
  }

  /** The elements of a list, when it has that many. */
  async listed(key: string, count: number, ms?: number): Promise<string[]> {
    await until(async () => (await this.redis.llen(key)) >= count, `${count} elements in ${key}`, ms)
    return this.redis.lrange(key, 0, -1)
  }

  /** All that is known of one task, for the words of a failed test. */
  story(id: string, lines: readonly string[]): string {
    const said = [...this.nodeWorkers, ...this.pythonWorkers].flatMap(({ output }) => output.split('\n'))
    return [...lines, ...said].filter((line) => line.includes(id) || /warn|lost|"level":[4-6]0/i.test(line)).join('\n')
  }

  /** Until no worker holds a message any more. */
  async allAcked(): Promise<void> {
    const held = async (): Promise<number> => {
      if (this.#host === undefined) return (await this.redis.hlen('unacked')) + (await this.redis.zcard('unacked_index'))
      return (await this.ctl('list_queues', 'messages_unacknowledged')).reduce((sum, line) => sum + Number(line), 0)
    }
    await until(async () => (await held()) === 0, 'every message is acknowledged')
  }

  /** Until a worker has said this. */
  async workerSays(text: string | RegExp): Promise<void> {
    const has = (output: string): boolean => (typeof text === 'string' ? output.includes(text) : text.test(output))
    await until(
      () => [...this.nodeWorkers, ...this.pythonWorkers].some(({ output }) => has(output)),
      `a worker says ${text}\n${this.said()}`,
    )
  }

  /** What the workers said last: for the words of a failed test. */
  said(): string {
    return [...this.nodeWorkers, ...this.pythonWorkers].map((worker) => worker.output.slice(-3_000)).join('\n---\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.close()
    await Promise.all([
      this.client.stop(),
      ...this.pythonWorkers.map((worker) => worker.stop()),
      ...this.nodeWorkers.map((worker) => worker.end('SIGTERM')),
    ])
    await (await this.#looking)?.close()
    this.redis.disconnect()
    await this.#stopRedis()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** One fleet for several parts of a file: started by the first of them, stopped after the last. */
export function oneFleet(settings: FleetSettings): () => Promise<Fleet> {
  let fleet: Promise<Fleet> | undefined
  afterAll(async () => (await fleet?.catch(() => undefined))?.[Symbol.asyncDispose]())
  return () => {
    fleet ??= Fleet.start(settings)
    return fleet
  }
}

/** A name that no other test uses. */
export const fresh = (name: string): string => `${name}-${randomUUID().slice(0, 8)}`
