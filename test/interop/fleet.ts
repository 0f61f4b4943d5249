/** A fleet of both languages on one Redis: a Python and a Node worker, a Python and a Node client. Started once a file, as starting takes seconds. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { type AppOptions, Celeriac } from '../../dist/index.js'
import { startRedis } from '../../scripts/services.mjs'
import { until } from '../conformance/wait.js'
import { WorkerProcess } from '../harness/worker-process.js'
import { type Caller, NodeCaller, PythonCaller } from './caller.js'
import { PythonClient, PythonWorker } from './python-process.js'

const nodeApp = fileURLToPath(new URL('node/app.mjs', import.meta.url))

export interface FleetSettings {
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
  readonly url: string
  /** To look at what is there, and to open gates. */
  readonly redis: Redis
  readonly nodeWorkers: WorkerProcess[] = []
  readonly pythonWorkers: PythonWorker[] = []
  readonly client: PythonClient
  readonly app: Celeriac
  readonly callers: { readonly python: PythonCaller; readonly node: NodeCaller }
  readonly #settings: FleetSettings
  readonly #stopRedis: () => Promise<void>

  static async start(settings: FleetSettings): Promise<Fleet> {
    const server = await startRedis()
    const fleet = new Fleet(settings, server)
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

  private constructor(settings: FleetSettings, { url, stop }: { url: string; stop: () => Promise<void> }) {
    this.#settings = settings
    this.#stopRedis = stop
    this.url = url.replace(/\d+$/, String(settings.db ?? 0))
    this.redis = new Redis(this.url)
    this.client = new PythonClient({ broker: this.url, backend: this.url, config: settings.pythonConfig ?? {} })
    this.app = this.another(settings.nodeOptions ?? {})
    this.callers = { python: new PythonCaller(this.client), node: new NodeCaller(this.app) }
  }

  async startPython(queues: readonly string[]): Promise<PythonWorker> {
    const { pythonConfig: config = {}, concurrency = 1, flags = [] } = this.#settings
    const name = `python${this.pythonWorkers.length}@%h`
    const worker = new PythonWorker({ broker: this.url, backend: this.url, config, queues, name, concurrency, flags })
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
        CELERIAC_RESULT_BACKEND: this.url,
        INTEROP_BROKER: this.url,
        INTEROP_CONFIG: JSON.stringify(nodeOptions),
      },
    })
    this.nodeWorkers.push(worker)
    return worker.ready()
  }

  /** A Node app of other options on this Redis. */
  another(options: AppOptions): Celeriac {
    return new Celeriac('another', { brokerUrl: this.url, resultBackend: this.url, ...options })
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
    const held = async (): Promise<number> => (await this.redis.hlen('unacked')) + (await this.redis.zcard('unacked_index'))
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
    this.redis.disconnect()
    await this.#stopRedis()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A name that no other test uses. */
export const fresh = (name: string): string => `${name}-${randomUUID().slice(0, 8)}`
