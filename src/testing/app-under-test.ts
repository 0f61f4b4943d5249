import { randomUUID } from 'node:crypto'
import { Celeriac } from '../app/app.js'
import { Connections } from '../app/connections.js'
import type { RequestInfo } from '../app/context.js'
import type { AppCore } from '../app/core.js'
import { executeWith } from '../app/execute.js'
import { requestOf } from '../app/run-request.js'
import type { Sender } from '../app/sender.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { NotSupportedError, Retry, TaskFailure } from '../errors.js'
import { type Duration, toMs } from '../internal/duration.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import { MemoryLimitStore } from '../limits/memory.js'
import { decodeBody } from '../protocol/task-body.js'
import { TaskHead } from '../protocol/task-head.js'
import { decodeJson } from '../serializers/json.js'
import { MemoryTransport } from '../transports/memory.js'
import type { DrainCounts, DrainOptions, TestApp } from './index.js'
import { type Published, PublishLog } from './publish-log.js'
import { runDue } from './run-due.js'
import { ToldBackend } from './told-backend.js'
import { VirtualClock } from './virtual-clock.js'

const drainNames: NamesOf<Required<DrainOptions>> = { queues: true, withScheduled: true, withRetries: true }
const requestNames: NamesOf<RequestInfo> = {
  id: true,
  rootId: true,
  parentId: true,
  retries: true,
  maxRetries: true,
  queue: true,
  redelivered: true,
  headers: true,
  deadline: true,
  group: true,
  groupIndex: true,
  replacedTaskNesting: true,
  stamps: true,
  worker: true,
}

/** Takes the place of an app's clock and connections; the rest of the app and the whole pipeline of the worker are the real ones. */
export class AppUnderTest implements TestApp {
  readonly #core: AppCore
  readonly #sender: Sender
  readonly #clock: VirtualClock
  readonly #published: PublishLog
  /** Undefined when it is closed. */
  #restore: (() => Promise<void>) | undefined

  static async open(app: Celeriac, { mode = 'manual' }: { mode?: 'manual' | 'eager' }): Promise<AppUnderTest> {
    const { core, sender } = Celeriac.internals(app)
    const before = { clock: core.clock, connections: core.connections, config: core.config }
    const clock = new VirtualClock()
    const published = new PublishLog(new MemoryTransport('memory://', { clock }))
    const backend = new ToldBackend('memory://', { clock, isRunning: () => published.drains > 0 })
    core.clock = clock
    // What waits for a rate would wait for the test to move the clock, which waits for it.
    core.config = { ...core.config, taskAlwaysEager: mode === 'eager', workerDisableRateLimits: true }
    core.connections = new Connections({
      brokers: ['memory://'],
      backend: 'memory://',
      connectTimeoutMs: Number.MAX_SAFE_INTEGER,
      clock,
      drivers: {
        openTransport: async () => published,
        openBackend: async () => backend,
        openLimits: async () => new MemoryLimitStore(undefined, clock),
      },
    })
    const restore = async (): Promise<void> => {
      const used = core.connections
      Object.assign(core, before)
      await used.close()
    }
    return new AppUnderTest(core, sender, clock, published, restore)
  }

  private constructor(core: AppCore, sender: Sender, clock: VirtualClock, published: PublishLog, restore: () => Promise<void>) {
    this.#core = core
    this.#sender = sender
    this.#clock = clock
    this.#published = published
    this.#restore = restore
  }

  enqueued(task: { readonly name: string }): never {
    const calls = this.#published.waiting.filter(({ message }) => message.headers.task === task.name).map((one) => this.#callOf(one))
    // The task's own type says what its arguments are.
    return calls as never
  }

  async drain(options: DrainOptions = {}): Promise<DrainCounts> {
    checkNames(options, drainNames)
    const { queues, withScheduled = false, withRetries = false } = options
    const counts: DrainCounts = { succeeded: 0, failed: 0, retried: 0 }
    const { hooks } = this.#core
    const off = [
      hooks.on('taskSuccess', () => void counts.succeeded++),
      hooks.on('taskFailure', () => void counts.failed++),
      hooks.on('taskRetry', () => void counts.retried++),
    ]
    const wanted = ({ queue }: Published): boolean => queues === undefined || queues.includes(queue)
    try {
      for (;;) {
        await runDue(this.#core, this.#sender, this.#published, wanted)
        const next = this.#nextDue((one) => wanted(one) && (one.retries > 0 ? withRetries : withScheduled))
        if (next === undefined) return counts
        await this.#clock.moveTo(next)
      }
    } finally {
      for (const stop of off) stop()
    }
  }

  async advance(time: Duration): Promise<void> {
    await this.#clock.moveTo(this.#clock.now() + toMs(time, 'time'))
  }

  async run(task: { readonly name: string }, args: readonly unknown[], request: Partial<RequestInfo> = {}): Promise<never> {
    const core = this.#core
    checkNames(request, requestNames, 'request.')
    const definition = core.registry.need(task.name)
    const id = request.id ?? randomUUID()
    const { message, routed } = await this.#sender.writer.write({ task: task.name, definition, args, kwargs: {}, options: {} }, id)
    const plain = requestOf(core, message, new TaskHead(message), definition, {
      queue: routed.queue ?? '',
      redelivered: false,
      worker: 'test',
    })
    const { deadline, maxRetries, ...seen } = request
    if (maxRetries !== undefined) throw new NotSupportedError('request.maxRetries', 'it comes from the options of the task')
    let thrown: { readonly error: unknown } | undefined
    const off = core.hooks.on('taskFailure', (event) => {
      if (event.id === id) thrown = { error: event.error }
    })
    try {
      const limits = deadline === undefined || deadline === null ? {} : { softTimeLimitMs: deadline.getTime() - core.clock.now() }
      const outcome = await executeWith(core, this.#sender)(
        { ...plain, context: { ...plain.context, ...seen, ...limits, id } },
        { signal: new AbortController().signal, abortCause: undefined, accepted: () => {}, storeState: async () => {} },
      )
      // The task's own type says what it returns.
      if (outcome.status === 'success') return decodeJson(outcome.result) as never
      if (thrown !== undefined) throw thrown.error
      if (outcome.status === 'retry')
        throw new Retry('the task asked to be run again', {
          cause: outcome.error === null ? undefined : new TaskFailure({ taskId: id, ...outcome.error, args: outcome.error.excMessage }),
        })
      throw new Error(`the task ended as ${outcome.status}${'reason' in outcome ? `: ${outcome.reason}` : ''}`)
    } finally {
      off()
    }
  }

  async close(): Promise<void> {
    const restore = this.#restore
    this.#restore = undefined
    await restore?.()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The earliest time after now at which one of these becomes due. */
  #nextDue(counts: (published: Published) => boolean): number | undefined {
    const times = this.#published.waiting.filter((one) => one.notBefore !== undefined && counts(one)).map((one) => one.notBefore ?? 0)
    return times.length === 0 ? undefined : Math.min(...times)
  }

  #callOf({ message, queue }: Published): { args: readonly unknown[]; kwargs: Readonly<Record<string, unknown>>; options: ApplyOptions } {
    const head = new TaskHead(message)
    const compression = head.compression === null ? {} : { compression: head.compression }
    const { args, kwargs } = decodeBody(
      this.#core.serializers.decode({ ...message, ...compression }, { accept: this.#core.config.acceptContent }),
    )
    const options: ApplyOptions = {
      taskId: head.id,
      queue,
      priority: message.properties.priority ?? 0,
      headers: { ...head.customHeaders },
      ...(head.etaMs === null ? {} : { eta: new Date(head.etaMs), countdown: (head.etaMs - this.#clock.now()) / 1000 }),
      ...(head.expiresMs === null ? {} : { expires: new Date(head.expiresMs) }),
      ...(head.timeLimit === null ? {} : { timeLimit: head.timeLimit }),
      ...(head.softTimeLimit === null ? {} : { softTimeLimit: head.softTimeLimit }),
      ...(head.ignoreResult === null ? {} : { ignoreResult: head.ignoreResult }),
      ...(head.shadow === null ? {} : { shadow: head.shadow }),
    }
    return { args, kwargs, options }
  }
}
