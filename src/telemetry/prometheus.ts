/** Metrics of one worker as Prometheus reads them, with the names of celery-exporter where a worker alone can know them, and `celeriac_` for our own. */
import type { Clock } from '../internal/clock.js'
import type { Outcome } from '../pool.js'
import type { RemoteErrorData } from '../protocol/remote-error.js'
import type { ActiveTask } from '../worker/active-task.js'
import { killedError, type TaskWatcher } from '../worker/task-events.js'
import { EventLoopLag } from './event-loop-lag.js'
import { FlowerMetrics } from './flower-metrics.js'
import { openRegistry, type Registry } from './registry.js'
import { TaskMetrics, type TaskSeries } from './task-metrics.js'
import { waitSeconds } from './wait-time.js'
import { type WorkerGauges, workerGauges } from './worker-gauges.js'
import type { WorkerSource } from './worker-source.js'

export interface PrometheusOptions {
  readonly clock: Clock
  /** Under the names of Flower, too. */
  readonly flower: boolean
}

/** Throws DriverNotInstalledError without prom-client. */
export async function openPrometheus(source: WorkerSource, options: PrometheusOptions): Promise<Prometheus> {
  return new Prometheus(await openRegistry(), source, options)
}

export class Prometheus implements TaskWatcher {
  readonly #source: WorkerSource
  readonly #clock: Clock
  readonly #registry: Registry
  readonly #lag = new EventLoopLag()
  readonly #tasks: TaskMetrics
  readonly #gauges: WorkerGauges
  readonly #flower: FlowerMetrics | undefined

  constructor(registry: Registry, source: WorkerSource, { clock, flower }: PrometheusOptions) {
    this.#source = source
    this.#clock = clock
    this.#registry = registry
    this.#tasks = new TaskMetrics(registry)
    this.#gauges = workerGauges(registry)
    this.#flower = flower ? new FlowerMetrics(registry) : undefined
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** All that is known now. Never waits long for a broker that is away: what it would say is left out. */
  async text(): Promise<string> {
    const source = this.#source
    const { hostname, isUp, active, reserved, poolSize, queues } = source
    const gauges = this.#gauges
    gauges.up.set({ hostname }, isUp ? 1 : 0)
    gauges.active.set({ hostname }, active)
    gauges.reserved.set({ hostname }, reserved)
    gauges.lag.set({ hostname }, this.#lag.take())
    gauges.memory.set({}, process.memoryUsage.rss())
    this.#flower?.worker(hostname, isUp, active)
    const asked = await Promise.all([
      source.deadLetters(),
      ...queues.map(async (queue) => ({ queue, length: await source.queueLength(queue), age: await source.oldestSeconds(queue) })),
    ])
    // After everything is known: two scrapes at a time must not reset what the other one has set.
    const [dead, ...lines] = asked
    for (const gauge of [gauges.length, gauges.processes, gauges.workers, gauges.consumers, gauges.dead, gauges.oldest, gauges.paused])
      gauge.reset()
    if (dead !== undefined) gauges.dead.set({}, dead)
    for (const { queue, length, age } of lines) {
      const takes = isUp && !source.isPaused(queue) ? 1 : 0
      gauges.processes.set({ queue_name: queue }, poolSize)
      gauges.workers.set({ queue_name: queue }, takes)
      gauges.consumers.set({ queue_name: queue }, takes)
      gauges.paused.set({ queue }, source.isPaused(queue) ? 1 : 0)
      if (length !== undefined) gauges.length.set({ queue_name: queue }, length)
      if (age !== undefined) gauges.oldest.set({ queue }, age)
    }
    return this.#registry.text()
  }

  stop(): void {
    this.#lag.stop()
  }

  received(task: ActiveTask): void {
    this.#tasks.count('received', this.#seriesOf(task))
    this.#tellFlower('task-received', task)
  }

  started(task: ActiveTask): void {
    const series = this.#seriesOf(task)
    this.#tasks.count('started', series)
    const waited = waitSeconds(task.head, this.#clock.now())
    if (waited !== undefined) this.#tasks.waited(series, waited)
    this.#tellFlower('task-started', task)
  }

  ended(task: ActiveTask, outcome: Outcome): void {
    const series = this.#seriesOf(task)
    switch (outcome.status) {
      case 'success':
        this.#tasks.count('succeeded', series)
        this.#tasks.ran(series, outcome.runtimeMs / 1000)
        return this.#tellFlower('task-succeeded', task, outcome.runtimeMs / 1000)
      case 'failure':
        this.#tasks.fail(series, outcome.error.excType)
        this.#tasks.ran(series, outcome.runtimeMs / 1000)
        return this.#tellFlower('task-failed', task)
      case 'retry':
        this.#tasks.count('retried', series)
        return this.#tellFlower('task-retried', task)
      case 'rejected':
        this.#tasks.count('rejected', series)
        return this.#tellFlower('task-rejected', task)
      case 'revoked':
        this.#tasks.count('revoked', series)
        return this.#tellFlower('task-revoked', task)
      case 'killed':
        this.#tasks.fail(series, killedError(outcome).name)
        return this.#tellFlower('task-failed', task)
      case 'ignored':
      case 'replaced':
      case 'undecodable':
        return
      default:
        outcome satisfies never
    }
  }

  failed(task: ActiveTask, error: RemoteErrorData): void {
    this.#tasks.fail(this.#seriesOf(task), error.excType)
    this.#tellFlower('task-failed', task)
  }

  #tellFlower(type: string, task: ActiveTask, runtime?: number): void {
    const { head } = task
    this.#flower?.task({
      type,
      worker: this.#source.hostname,
      uuid: head.id,
      name: this.#seriesOf(task).name,
      timestamp: this.#clock.now() / 1000,
      hasEta: head.etaMs !== null,
      runtime,
    })
  }

  /** A name that is not registered here came from a message: anybody may have written it. */
  #seriesOf({ definition, head, delivery }: ActiveTask): TaskSeries {
    return { name: definition === undefined ? '(unknown)' : head.task, hostname: this.#source.hostname, queue: delivery.queue }
  }
}
