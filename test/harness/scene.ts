/** One fault test's world: a folder, an empty broker of short leases, a producer in this process, workers in their own. */
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type AsyncResult, Celeriac, type Sig } from '../../dist/index.js'
import type { Message } from '../../dist/protocol/message.js'
import type { ResultTuple } from '../../dist/protocol/result.js'
import type { Connection, DeadLetter } from '../../dist/transport.js'
import { until, within } from '../conformance/wait.js'
import { Recorder } from './recorder.js'
import { queueName, type SceneBroker } from './scene-broker.js'
import { judge, Ledger, type Verdict } from './verdict.js'
import { processesOf, WorkerProcess, type WorkerSettings } from './worker-process.js'

const fixtureApp = fileURLToPath(new URL('../faults/fixtures/app.mjs', import.meta.url))
export interface WorkerOfScene extends Partial<Omit<WorkerSettings, 'folder'>> {
  /** The broker as this worker sees it; the scene's by default. */
  readonly url?: string
  /** Of its app. */
  readonly options?: Readonly<Record<string, unknown>>
}

type SendOptions = NonNullable<Parameters<Celeriac['sendTask']>[2]>

export class Scene<Broker extends SceneBroker = SceneBroker> implements AsyncDisposable {
  readonly folder: string
  readonly broker: Broker
  readonly recorder: Recorder
  readonly ledger = new Ledger()
  readonly workers: WorkerProcess[] = []
  readonly app: Celeriac

  private constructor(folder: string, broker: Broker) {
    this.folder = folder
    this.broker = broker
    // The system's folder for temporary files is one of the test's own: what is left there is seen.
    mkdirSync(join(this.folder, 'tmp'))
    this.recorder = new Recorder(join(this.folder, 'runs'))
    this.app = new Celeriac('producer', { brokerUrl: broker.url, ...broker.options })
  }

  static async open<Broker extends SceneBroker>(makeBroker: (folder: string) => Broker | Promise<Broker>): Promise<Scene<Broker>> {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-fault-')))
    return new Scene(folder, await makeBroker(folder))
  }

  get url(): string {
    return this.broker.url
  }

  /** Starts a worker; `ready` settles when it consumes. */
  start(settings: WorkerOfScene = {}): WorkerProcess {
    const { url = this.url, options = {}, env, ...rest } = settings
    const worker = new WorkerProcess({
      app: fixtureApp,
      ...rest,
      folder: this.folder,
      env: {
        CELERIAC_BROKER_URL: url,
        TMPDIR: join(this.folder, 'tmp'),
        FAULTS_OPTIONS: JSON.stringify({ ...this.broker.options, ...options }),
        ...env,
      },
    })
    this.workers.push(worker)
    return worker
  }

  worker(settings: WorkerOfScene = {}): Promise<WorkerProcess> {
    return this.start(settings).ready()
  }

  /** Sends one call and enters it into the ledger; its id. */
  async send(
    task: string,
    args: readonly unknown[] = [],
    options: SendOptions = {},
    kwargs: Record<string, unknown> = {},
  ): Promise<string> {
    const id = options.taskId ?? randomUUID()
    this.ledger.attempted.add(id)
    await this.app.sendTask(task, { args: [...args], kwargs }, { ...options, taskId: id })
    this.ledger.confirmed.add(id)
    return id
  }

  sendMany(count: number, task: string, args: readonly unknown[] = [], options: SendOptions = {}): Promise<string[]> {
    return Promise.all(Array.from({ length: count }, () => this.send(task, args, options)))
  }

  /** Sends a workflow and enters all its tasks into the ledger; its result. */
  async sendCanvas<R>(sig: Sig<never, R, true>): Promise<AsyncResult<R>> {
    const result = await sig.delay()
    this.expect(result)
    return result
  }

  /** Enters the tasks of a workflow that was sent otherwise. */
  expect(result: AsyncResult<unknown>): void {
    for (const id of tasksIn(result.asTuple())) {
      this.ledger.attempted.add(id)
      this.ledger.confirmed.add(id)
    }
  }

  /** A signature of a task of the fixture, which takes what it is given. `app`: who sends it, if it is not the scene's own. */
  sig(task: string, args: readonly unknown[] = [], options: SendOptions = {}, app = this.app): Sig<unknown, unknown, true> {
    // Which of its arguments a chain fills, the test knows.
    const remote = app.remote(task) as unknown as { s(...args: unknown[]): Sig<unknown, unknown, true> }
    return remote.s(...args).set(options)
  }

  /** Never runs, as another has failed: it needs an end, and no run. */
  neverRuns(id: string): void {
    this.ledger.confirmed.delete(id)
  }

  /** Puts a message into the broker as it is, past every check of the sender. */
  async publishRaw(message: Message): Promise<void> {
    if (this.broker.publishRaw !== undefined) return this.broker.publishRaw(message)
    const connection = await this.connection()
    await connection.publish(message, { exchange: '', routingKey: queueName }, { deadlineMs: 10_000 })
  }

  connection(): Promise<Connection> {
    return Celeriac.internals(this.app).core.connections.publisher()
  }

  /** What `hold` and `spin` wait for. */
  release(name: string): void {
    writeFileSync(join(this.folder, name), '')
  }

  /** The value, or the error as a value. */
  result(id: string, ms = 30_000): Promise<unknown> {
    return within(this.app.result(id).get({ propagate: false }), `the result of ${id}`, ms)
  }

  /** Until every confirmed task has a terminal state and the queue is empty. */
  async drained(ms = 60_000): Promise<void> {
    const backend = await Celeriac.internals(this.app).core.connections.backend()
    const ids = [...this.ledger.confirmed]
    let open: readonly string[] = ids
    try {
      await until(
        async () => {
          const metas = await backend.getMany(open)
          open = open.filter((id) => !isTerminal(metas.get(id)?.status))
          if (open.length === 0 && (await this.broker.messages()).length === 0) return true
          await new Promise((resolve) => setTimeout(resolve, 20))
          return false
        },
        'the drain',
        ms,
      )
    } catch (error) {
      const logs = this.workers.map((worker) => worker.output.slice(-3_000)).join('\n---\n')
      const kept = (await this.broker.messages()).map(({ id, state }) => `${id} ${state}`)
      const runs = open.map((id) => `${id} started ${this.recorder.starts(id).length} ended ${this.recorder.ends(id).length}`)
      throw new Error(
        [
          `${error instanceof Error ? error.message : error}: ${open.length} of ${ids.length} open`,
          ...runs,
          'in the queue:',
          ...kept,
          logs,
        ].join('\n'),
      )
    }
  }

  /** The newest first. */
  async deadLetters(): Promise<readonly DeadLetter[]> {
    return this.app.deadLetters.list({ limit: 100_000 })
  }

  async deadLettersReach(count: number, ms?: number): Promise<readonly DeadLetter[]> {
    // A broker that is busy with the message may be slow to answer.
    await until(async () => (await this.app.deadLetters.count().catch(() => 0)) >= count, `${count} dead letters`, ms)
    return this.deadLetters()
  }

  /** Warm stop of all workers that still run. */
  async stopWorkers(ms?: number): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.end('SIGTERM', ms)))
  }

  /** After the workers have ended. `expected`: messages that stay in the queue on purpose. */
  async verdict(expected = 0): Promise<Verdict & { readonly orphans: readonly string[]; readonly left: number }> {
    const backend = await Celeriac.internals(this.app).core.connections.backend()
    const metas = await backend.getMany([...this.ledger.confirmed])
    const terminal = new Set([...metas.values()].filter((meta) => isTerminal(meta.status)).map((meta) => meta.taskId))
    const dead = new Set((await this.deadLetters()).map((letter) => String(letter.message.headers.id)))
    // A result can be read a moment before its message is acked.
    await until(async () => (await this.broker.messages()).length <= expected, 'every ack').catch(() => undefined)
    const left = (await this.broker.messages()).length
    // A killed worker's children may not have seen yet that it is gone.
    await until(() => processesOf(this.folder).length === 0, 'every process is gone').catch(() => undefined)
    return {
      ...judge({ ledger: this.ledger, runs: this.recorder.lines(), dead, terminal }),
      orphans: [
        ...processesOf(this.folder).map((pid) => `process ${pid}`),
        ...readdirSync(join(this.folder, 'tmp')),
        // What holds the messages that are left is no orphan.
        ...(left > 0 ? [] : await this.broker.leftovers()),
      ],
      left,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.close()
    // Killing one may make its parent start another.
    await until(() => {
      const pids = processesOf(this.folder)
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // It has ended meanwhile.
        }
      }
      return pids.length === 0
    }, 'every process is killed')
    await this.broker[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true })
  }
}

/** Ids of all tasks of a result: its parents and members. */
export function tasksIn(result: ResultTuple): readonly string[] {
  const found: string[] = []
  const waiting: ResultTuple[] = [result]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [[id, parent], members] = next
    if (members === null) found.push(id)
    else waiting.push(...members)
    if (parent !== null) waiting.push(parent)
  }
  return found
}

function isTerminal(status: string | undefined): boolean {
  return status === 'SUCCESS' || status === 'FAILURE' || status === 'REVOKED'
}
