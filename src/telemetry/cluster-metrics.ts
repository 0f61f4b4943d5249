/** Metrics of a cluster, of workers of both languages, as their events tell of it and as its broker says: the names of celery-exporter, and ours. */
import type { ClusterState, TaskView } from '../events/cluster-state.js'
import type { Clock } from '../internal/clock.js'
import { sentAtMs } from '../internal/task-id.js'
import type { ClusterEvent } from '../protocol/events.js'
import { FewValues } from './few-values.js'
import { FlowerMetrics } from './flower-metrics.js'
import type { Counter, Gauge, Registry } from './registry.js'
import { TaskMetrics, type TaskSeries } from './task-metrics.js'
import { type QueueGauges, queueGauges } from './worker-gauges.js'

export interface QueueLook {
  readonly queue: string
  readonly length: number
  readonly workers: number
  readonly consumers: number
  readonly processes: number
  /** Undefined: the broker does not say. */
  readonly oldestSeconds: number | undefined
  readonly isPaused: boolean
}

export interface ScheduleLook {
  readonly name: string
  readonly lastRunAtMs: number | undefined
  readonly missed: number
}

/** What no event tells. */
export interface ClusterLook {
  readonly queues: readonly QueueLook[]
  /** By queue; under an empty name those of which it is not known. */
  readonly dead: ReadonlyMap<string, number>
  readonly schedules: readonly ScheduleLook[]
}

export interface ClusterMetricsOptions {
  readonly clock: Clock
  readonly flower: boolean
}

/** Series of a worker that is gone for so long go, too. */
const goneMs = 600_000
const mostHosts = 1_000
const mostQueues = 500
/** A sender tells of a task after it is sent: a worker may be quicker. So long is waited for it, which alone knows the queue. */
const sentMs = 1_000
/** Tasks that were received and not started, and those whose sender was not heard. */
const mostWaiting = 10_000

export class ClusterMetrics {
  readonly #registry: Registry
  readonly #state: ClusterState
  readonly #clock: Clock
  readonly #tasks: TaskMetrics
  readonly #sent: Counter
  readonly #flower: FlowerMetrics | undefined
  readonly #queues: QueueGauges
  readonly #up: Gauge
  readonly #active: Gauge
  readonly #dead: Gauge
  readonly #lastRun: Gauge
  readonly #missed: Counter
  readonly #hosts = new FewValues(mostHosts)
  readonly #schedules = new FewValues(mostHosts)
  /** Since when each task waits, ms. */
  readonly #waiting = new Map<string, number | undefined>()
  /** What happened to tasks whose queue is not known yet. */
  readonly #early = new Map<string, { readonly sinceMs: number; readonly events: ClusterEvent[] }>()
  readonly #queuesHeard = new Set<string>()
  /** What was counted already. */
  readonly #missedBefore = new Map<string, number>()

  constructor(registry: Registry, state: ClusterState, { clock, flower }: ClusterMetricsOptions) {
    this.#registry = registry
    this.#state = state
    this.#clock = clock
    this.#tasks = new TaskMetrics(registry)
    this.#sent = registry.counter('celery_task_sent_total', 'Tasks that were sent.', 'name', 'hostname', 'queue_name')
    this.#flower = flower ? new FlowerMetrics(registry) : undefined
    this.#queues = queueGauges(registry)
    this.#up = registry.gauge('celery_worker_up', 'Whether the worker is heard.', 'hostname')
    this.#active = registry.gauge('celery_worker_tasks_active', 'Tasks that run.', 'hostname')
    this.#dead = registry.gauge('celeriac_dead_letters', 'Messages that could not be run and were kept.', 'queue')
    this.#lastRun = registry.gauge('celeriac_schedule_last_run_timestamp_seconds', 'When the entry was last sent.', 'schedule')
    this.#missed = registry.counter('celeriac_schedule_missed_total', 'How often times of the entry were missed.', 'schedule')
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Those that tasks were sent to, also where nobody takes from. */
  get queuesHeard(): Iterable<string> {
    return this.#queuesHeard
  }

  /** The state has taken it in. */
  take(event: ClusterEvent): void {
    const { type, uuid } = event
    if (!type.startsWith('task-') || typeof uuid !== 'string') return
    if (type === 'task-sent') {
      this.#show(event, uuid)
      return this.#showEarly(uuid)
    }
    const early = this.#early.get(uuid)
    if (early !== undefined) early.events.push(event)
    else if (this.#state.task(uuid)?.queue !== undefined) this.#show(event, uuid)
    else this.#early.set(uuid, { sinceMs: this.#clock.monotonic(), events: [event] })
    this.#showLate()
  }

  /** Undefined: the broker could not be asked, and what it would say is left out. */
  async text(look: ClusterLook | undefined): Promise<string> {
    this.#showLate()
    await this.#showWorkers()
    for (const gauge of [...Object.values(this.#queues), this.#dead, this.#lastRun]) gauge.reset()
    for (const { queue, length, workers, consumers, processes, oldestSeconds, isPaused } of look?.queues ?? []) {
      this.#queues.length.set({ queue_name: queue }, length)
      this.#queues.workers.set({ queue_name: queue }, workers)
      this.#queues.consumers.set({ queue_name: queue }, consumers)
      this.#queues.processes.set({ queue_name: queue }, processes)
      this.#queues.paused.set({ queue }, isPaused ? 1 : 0)
      if (oldestSeconds !== undefined) this.#queues.oldest.set({ queue }, oldestSeconds)
    }
    for (const [queue, count] of look?.dead ?? []) this.#dead.set({ queue }, count)
    for (const schedule of look?.schedules ?? []) this.#showSchedule(schedule)
    return this.#registry.text()
  }

  /** Of tasks whose sender has not been heard for so long, and will not be. */
  #showLate(): void {
    const now = this.#clock.monotonic()
    for (const [uuid, { sinceMs }] of this.#early) {
      if (now - sinceMs < sentMs && this.#early.size <= mostWaiting) return
      this.#showEarly(uuid)
    }
  }

  #showEarly(uuid: string): void {
    const early = this.#early.get(uuid)
    this.#early.delete(uuid)
    for (const event of early?.events ?? []) this.#show(event, uuid)
  }

  #show(event: ClusterEvent, uuid: string): void {
    const { type } = event
    const task = this.#state.task(uuid)
    const name = task?.name ?? '(unknown)'
    const series = { name, hostname: this.#hosts.of(hostOf(event)), queue: task?.queue ?? '(unknown)' }
    this.#count(event, uuid, task, series)
    this.#flower?.task({
      type: flowerTypes.has(type) ? type : 'task-other',
      worker: series.hostname,
      uuid,
      name,
      timestamp: event.timestamp,
      hasEta: typeof event.eta === 'string',
      runtime: runtimeOf(event),
    })
  }

  #count(event: ClusterEvent, uuid: string, task: TaskView | undefined, series: TaskSeries): void {
    const { type, eta, retries, timestamp } = event
    if (type === 'task-sent') {
      if (task?.queue !== undefined && this.#queuesHeard.size < mostQueues) this.#queuesHeard.add(task.queue)
      return this.#sent.inc(this.#tasks.labels(series))
    }
    if (type === 'task-received') {
      this.#tasks.count('received', series)
      return this.#wait(uuid, typeof eta === 'string' ? etaMs(eta) : retries === 0 ? sentAt(uuid, task) : undefined)
    }
    const sinceMs = this.#waiting.get(uuid)
    this.#waiting.delete(uuid)
    switch (type) {
      case 'task-started':
        this.#tasks.count('started', series)
        if (sinceMs !== undefined) this.#tasks.waited(series, Math.max(0, timestamp - sinceMs / 1000))
        return
      case 'task-succeeded': {
        this.#tasks.count('succeeded', series)
        const runtime = runtimeOf(event)
        if (runtime !== undefined) this.#tasks.ran(series, runtime)
        return
      }
      case 'task-failed':
        return this.#tasks.fail(series, exceptionName(event.exception))
      case 'task-retried':
        return this.#tasks.count('retried', series)
      case 'task-rejected':
        return this.#tasks.count('rejected', series)
      case 'task-revoked':
        return this.#tasks.count('revoked', series)
      default:
    }
  }

  #wait(uuid: string, sinceMs: number | undefined): void {
    this.#waiting.set(uuid, sinceMs)
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > mostWaiting && oldest !== undefined) this.#waiting.delete(oldest)
  }

  async #showWorkers(): Promise<void> {
    const now = this.#clock.now()
    for (const { hostname, isAlive, active, heardAtMs } of this.#state.workers()) {
      if (!isAlive && now - heardAtMs > goneMs) {
        await this.#forget(hostname)
        continue
      }
      const label = this.#hosts.of(hostname)
      this.#up.set({ hostname: label }, isAlive ? 1 : 0)
      this.#active.set({ hostname: label }, isAlive ? active : 0)
      this.#flower?.worker(label, isAlive, isAlive ? active : 0)
    }
  }

  async #forget(hostname: string): Promise<void> {
    // Once: later there is nothing to be found.
    if (!this.#hosts.has(hostname)) return
    this.#hosts.forget(hostname)
    this.#flower?.forget(hostname)
    await this.#registry.forget('hostname', hostname)
    await this.#registry.forget('worker', hostname)
  }

  #showSchedule({ name, lastRunAtMs, missed }: ScheduleLook): void {
    const schedule = this.#schedules.of(name)
    if (lastRunAtMs !== undefined) this.#lastRun.set({ schedule }, lastRunAtMs / 1000)
    // One that was made anew counts from 0 again.
    const before = this.#missedBefore.get(name) ?? 0
    this.#missed.inc({ schedule }, missed >= before ? missed - before : missed)
    this.#missedBefore.set(name, missed)
  }
}

const flowerTypes: ReadonlySet<string> = new Set(
  ['sent', 'received', 'started', 'succeeded', 'failed', 'rejected', 'revoked', 'retried', 'cancelled'].map((what) => `task-${what}`),
)

/** Those who only send are called after their process, which is another one with each start: `gen@host`. */
function hostOf({ hostname }: ClusterEvent): string {
  return hostname.replace(/^gen\d+@/, 'gen@')
}

function runtimeOf({ type, runtime }: ClusterEvent): number | undefined {
  return type === 'task-succeeded' && typeof runtime === 'number' && Number.isFinite(runtime) && runtime >= 0 ? runtime : undefined
}

function sentAt(uuid: string, task: TaskView | undefined): number | undefined {
  const seconds = task?.times.sent
  return seconds === undefined ? sentAtMs(uuid) : seconds * 1000
}

function etaMs(eta: string): number | undefined {
  const ms = Date.parse(eta)
  return Number.isNaN(ms) ? undefined : ms
}

/** `ValueError` of `ValueError('no good')`. */
function exceptionName(exception: unknown): string {
  return (typeof exception === 'string' ? /^[\w.$]+/.exec(exception)?.[0] : undefined) ?? '(unknown)'
}
