/** Processes of the Python that has Celery: a worker as a user starts it, and a client that takes commands. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Deferred } from '../../dist/internal/deferred.js'
import { until, within } from '../conformance/wait.js'
import { cleanEnvironment } from '../harness/worker-process.js'
import { python } from '../python.js'

const folder = fileURLToPath(new URL('python', import.meta.url))

export interface PythonSettings {
  readonly broker: string
  readonly backend: string
  /** The Redis that tasks write to. */
  readonly store: string
  /** Celery's configuration, in its own names. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** One process in a group of its own, so that all it has started can be ended with it. */
export class PythonProcess {
  /** The last that it wrote, without what a reader took from its standard output. */
  output = ''
  protected readonly child: ChildProcess
  readonly #exited: Promise<unknown>

  constructor(
    args: readonly string[],
    { broker, backend, store, config = {} }: PythonSettings,
    env: Readonly<Record<string, string>> = {},
  ) {
    this.child = spawn(python(), args, {
      cwd: folder,
      env: {
        ...cleanEnvironment(),
        PYTHONUNBUFFERED: '1',
        PYTHONDONTWRITEBYTECODE: '1',
        INTEROP_BROKER: broker,
        INTEROP_BACKEND: backend,
        INTEROP_STORE: store,
        INTEROP_CONFIG: JSON.stringify(config),
        ...env,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    })
    this.#exited = once(this.child, 'exit')
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.note(text))
  }

  protected note(text: string): void {
    this.output = (this.output + text).slice(-200_000)
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** kill -9, with all that it has started. */
  async kill(): Promise<void> {
    if (this.child.pid !== undefined) process.kill(-this.child.pid, 'SIGKILL')
    await this.#exited
  }

  /** Ends it in order, and by force when it takes too long. */
  async stop(name: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.isRunning) this.child.kill(name)
    try {
      await within(this.#exited, 'the exit of a Python process')
    } finally {
      try {
        if (this.child.pid !== undefined) process.kill(-this.child.pid, 'SIGKILL')
      } catch {
        // The whole group has ended.
      }
    }
  }
}

export interface PythonWorkerSettings extends PythonSettings {
  readonly queues: readonly string[]
  readonly name: string
  readonly concurrency?: number
  /** Further flags. */
  readonly flags?: readonly string[]
}

/** `celery worker`, unchanged: prefork, with its gossip, mingle and heartbeats. */
export class PythonWorker extends PythonProcess {
  constructor({ queues, name, concurrency = 1, flags: more = [], ...settings }: PythonWorkerSettings) {
    const flags = [...more, '-Q', queues.join(','), '-n', name, '-c', String(concurrency), '-l', 'INFO', '--pool', 'prefork']
    super(['-m', 'celery', '-A', 'interop_app', 'worker', ...flags], settings)
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.note(text))
  }

  async says(text: string | RegExp, ms = 60_000): Promise<void> {
    const said = (): boolean => (typeof text === 'string' ? this.output.includes(text) : text.test(this.output))
    try {
      await until(() => said() || !this.isRunning, `the Python worker says ${text}`, ms)
      if (!said()) throw new Error(`the Python worker ended before it said ${text}`)
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${this.output.slice(-4_000)}`)
    }
  }

  async ready(): Promise<this> {
    await this.says(/ready\./)
    return this
  }
}

/** client.py: one command after the other, each with its answer. */
export class PythonClient extends PythonProcess {
  readonly #waiting: Deferred<unknown>[] = []

  constructor(settings: PythonSettings) {
    super(['client.py'], settings)
    if (this.child.stdout === null) throw new Error('unreachable: stdout is a pipe')
    createInterface({ input: this.child.stdout }).on('line', (line) => this.#answered(line))
    this.child.once('exit', () => {
      for (const waiting of this.#waiting.splice(0)) waiting.reject(new Error(`the Python client ended\n${this.output.slice(-4_000)}`))
    })
  }

  /** The type is what client.py gives for that command. */
  async ask<Answer>(command: string, given: Readonly<Record<string, unknown>> = {}, ms = 60_000): Promise<Answer> {
    const answer = new Deferred<unknown>()
    this.#waiting.push(answer)
    this.child.stdin?.write(`${JSON.stringify({ do: command, ...given })}\n`)
    return (await within(answer.promise, `the answer of the Python client to ${command}`, ms)) as Answer
  }

  #answered(line: string): void {
    const { ok, failed } = JSON.parse(line) as { ok?: unknown; failed?: string }
    const waiting = this.#waiting.shift()
    if (failed === undefined) waiting?.resolve(ok)
    else waiting?.reject(new Error(failed))
  }

  override async stop(): Promise<void> {
    this.child.stdin?.end()
    await super.stop()
  }
}

export interface SeenEvent {
  readonly type: string
  readonly hostname: string
  readonly [field: string]: unknown
}

export interface SeenState {
  readonly workers: Readonly<Record<string, { readonly alive: boolean; readonly sw_ident: string }>>
  readonly tasks: Readonly<Record<string, { readonly state: string; readonly [field: string]: unknown }>>
}

/** monitor.py: what Celery's own Receiver and State see. */
export class PythonMonitor extends PythonProcess {
  readonly events: SeenEvent[] = []
  #state: SeenState | undefined
  #listens = false

  constructor(settings: PythonSettings) {
    super(['monitor.py'], settings)
    if (this.child.stdout === null) throw new Error('unreachable: stdout is a pipe')
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      const seen = JSON.parse(line)
      if (seen.type === 'listening') this.#listens = true
      else if (seen.type === 'state') this.#state = seen
      else this.events.push(seen)
    })
  }

  async ready(): Promise<this> {
    await until(() => this.#listens || !this.isRunning, 'the Python monitor listens')
    if (!this.#listens) throw new Error(`the Python monitor ended\n${this.output}`)
    return this
  }

  /** Until it has seen an event of this type of this task. */
  async sees(type: string, uuid: string): Promise<SeenEvent> {
    const find = (): SeenEvent | undefined => this.events.find((event) => event.type === type && event.uuid === uuid)
    await until(() => find() !== undefined, `${type} of ${uuid}; seen: ${this.events.filter((e) => e.uuid === uuid).map((e) => e.type)}`)
    return find() as SeenEvent // just found
  }

  /** What its State says in the end. */
  async ended(): Promise<SeenState> {
    this.child.stdin?.end()
    await until(() => this.#state !== undefined || !this.isRunning, `the state of the Python monitor\n${this.output}`)
    if (this.#state === undefined) throw new Error(`the Python monitor gave no state\n${this.output}`)
    return this.#state
  }
}
