/** Metrics of one worker as Prometheus reads them, with the names of celery-exporter where a worker alone can know them, and `celeriac_` for our own. */
import type { Clock } from '../internal/clock.js'
import { importPeer } from '../internal/import-peer.js'
import type { Outcome } from '../pool.js'
import type { RemoteErrorData } from '../protocol/remote-error.js'
import type { ActiveTask } from '../worker/active-task.js'
import { killedError, type TaskWatcher } from '../worker/task-events.js'
import { EventLoopLag } from './event-loop-lag.js'
import { FewValues } from './few-values.js'
import { waitSeconds } from './wait-time.js'
import type { WorkerSource } from './worker-source.js'

type Labels = Readonly<Record<string, string>>

interface MetricOptions {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  readonly registers: readonly Registry[]
  readonly buckets?: readonly number[]
}

interface Registry {
  readonly contentType: string
  metrics(): Promise<string>
}
interface Counter {
  inc(labels: Labels, value?: number): void
}
interface Gauge {
  set(labels: Labels, value: number): void
  reset(): void
}
interface Histogram {
  observe(labels: Labels, value: number): void
}

/** What is used of prom-client. */
interface PromClient {
  readonly Registry: new () => Registry
  readonly Counter: new (options: MetricOptions) => Counter
  readonly Gauge: new (options: MetricOptions) => Gauge
  readonly Histogram: new (options: MetricOptions) => Histogram
}

/** celery-exporter's, of a runtime. */
const runtimeBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300]
const waitBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800]

const taskLabels = ['name', 'hostname', 'queue_name'] as const

/** Each name and each error is a series of its own, for ever: errors may have any name. */
const mostNames = 500
const mostExceptions = 100

/** Throws DriverNotInstalledError without prom-client. */
export async function openPrometheus(source: WorkerSource, clock: Clock): Promise<Prometheus> {
  // A CommonJS package: its exports stand beside `default` where Node finds their names.
  const loaded = await importPeer<PromClient & { readonly default?: PromClient }>('--metrics-port', 'prom-client')
  return new Prometheus(loaded.default ?? loaded, source, clock)
}

export class Prometheus implements TaskWatcher {
  readonly #source: WorkerSource
  readonly #clock: Clock
  readonly #registry: Registry
  readonly #lag = new EventLoopLag()
  readonly #names = new FewValues(mostNames)
  readonly #exceptions = new FewValues(mostExceptions)
  readonly #counters: Readonly<Record<'received' | 'started' | 'succeeded' | 'failed' | 'rejected' | 'revoked' | 'retried', Counter>>
  readonly #runtime: Histogram
  readonly #wait: Histogram
  readonly #gauges: {
    readonly up: Gauge
    readonly active: Gauge
    readonly reserved: Gauge
    readonly length: Gauge
    readonly processes: Gauge
    readonly workers: Gauge
    readonly consumers: Gauge
    readonly dead: Gauge
    readonly lag: Gauge
    readonly memory: Gauge
  }

  constructor({ Registry, Counter, Gauge, Histogram }: PromClient, source: WorkerSource, clock: Clock) {
    this.#source = source
    this.#clock = clock
    this.#registry = new Registry()
    const registers = [this.#registry]
    const tasks = (what: string, more: readonly string[] = []): Counter =>
      new Counter({ name: `celery_task_${what}_total`, help: `Tasks that were ${what}.`, labelNames: [...taskLabels, ...more], registers })
    this.#counters = {
      received: tasks('received'),
      started: tasks('started'),
      succeeded: tasks('succeeded'),
      failed: tasks('failed', ['exception']),
      rejected: tasks('rejected'),
      revoked: tasks('revoked'),
      retried: tasks('retried'),
    }
    const seconds = (name: string, help: string, buckets: readonly number[]): Histogram =>
      new Histogram({ name, help, labelNames: taskLabels, registers, buckets })
    this.#runtime = seconds('celery_task_runtime', 'How long runs took, in seconds.', runtimeBuckets)
    this.#wait = seconds(
      'celery_task_queue_wait_time',
      'How long tasks waited from their sending (or eta) to their start, in seconds.',
      waitBuckets,
    )
    const gauge = (name: string, help: string, ...labelNames: string[]): Gauge => new Gauge({ name, help, labelNames, registers })
    this.#gauges = {
      up: gauge('celery_worker_up', 'Whether the worker takes tasks.', 'hostname'),
      active: gauge('celery_worker_tasks_active', 'Tasks that run.', 'hostname'),
      reserved: gauge('celeriac_worker_tasks_reserved', 'Tasks that the worker holds and that do not run yet.', 'hostname'),
      length: gauge('celery_queue_length', 'Messages that wait.', 'queue_name'),
      processes: gauge('celery_active_process_count', 'Processes of this worker that take tasks of the queue.', 'queue_name'),
      workers: gauge(
        'celery_active_worker_count',
        'Whether this worker takes tasks of the queue: the sum over workers is their number.',
        'queue_name',
      ),
      consumers: gauge('celery_active_consumer_count', 'The same: a worker has one consumer.', 'queue_name'),
      dead: gauge('celeriac_dead_letters', 'Messages that could not be run and were kept.'),
      lag: gauge(
        'celeriac_event_loop_lag_seconds',
        "The longest delay of the main process's event loop since the last scrape.",
        'hostname',
      ),
      memory: gauge('process_resident_memory_bytes', 'Memory of the main process.'),
    }
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** All that is known now. Never waits long for a broker that is away: what it would say is left out. */
  async text(): Promise<string> {
    const { hostname, isUp, active, reserved, poolSize, queues } = this.#source
    const gauges = this.#gauges
    gauges.up.set({ hostname }, isUp ? 1 : 0)
    gauges.active.set({ hostname }, active)
    gauges.reserved.set({ hostname }, reserved)
    gauges.lag.set({ hostname }, this.#lag.take())
    gauges.memory.set({}, process.memoryUsage.rss())
    for (const gauge of [gauges.length, gauges.processes, gauges.workers, gauges.consumers, gauges.dead]) gauge.reset()
    for (const queue of queues) {
      gauges.processes.set({ queue_name: queue }, poolSize)
      gauges.workers.set({ queue_name: queue }, isUp ? 1 : 0)
      gauges.consumers.set({ queue_name: queue }, isUp ? 1 : 0)
    }
    const [dead, ...lengths] = await Promise.all([this.#source.deadLetters(), ...queues.map((queue) => this.#source.queueLength(queue))])
    if (dead !== undefined) gauges.dead.set({}, dead)
    for (const [index, queue] of queues.entries()) {
      const length = lengths[index]
      if (length !== undefined) gauges.length.set({ queue_name: queue }, length)
    }
    return this.#registry.metrics()
  }

  stop(): void {
    this.#lag.stop()
  }

  received(task: ActiveTask): void {
    this.#counters.received.inc(this.#labels(task))
  }

  started(task: ActiveTask): void {
    const labels = this.#labels(task)
    this.#counters.started.inc(labels)
    const waited = waitSeconds(task.head, this.#clock.now())
    if (waited !== undefined) this.#wait.observe(labels, waited)
  }

  ended(task: ActiveTask, outcome: Outcome): void {
    const labels = this.#labels(task)
    switch (outcome.status) {
      case 'success':
        this.#counters.succeeded.inc(labels)
        return this.#runtime.observe(labels, outcome.runtimeMs / 1000)
      case 'failure':
        this.#fail(labels, outcome.error.excType)
        return this.#runtime.observe(labels, outcome.runtimeMs / 1000)
      case 'retry':
        return this.#counters.retried.inc(labels)
      case 'rejected':
        return this.#counters.rejected.inc(labels)
      case 'revoked':
        return this.#counters.revoked.inc(labels)
      case 'killed':
        return this.#fail(labels, killedError(outcome).name)
      case 'ignored':
      case 'replaced':
      case 'undecodable':
        return
      default:
        outcome satisfies never
    }
  }

  failed(task: ActiveTask, error: RemoteErrorData): void {
    this.#fail(this.#labels(task), error.excType)
  }

  #fail(labels: Labels, exception: string): void {
    this.#counters.failed.inc({ ...labels, exception: this.#exceptions.of(exception) })
  }

  /** A name that is not registered here came from a message: anybody may have written it. */
  #labels({ definition, head, delivery }: ActiveTask): Labels {
    const name = definition === undefined ? '(unknown)' : this.#names.of(head.task)
    return { name, hostname: this.#source.hostname, queue_name: delivery.queue }
  }
}
