/** The metrics of Flower, for dashboards that were made for it (`flowerCompat`). They are made of events, as Flower makes them. */
import { FewValues } from './few-values.js'
import type { Counter, Gauge, Histogram, Registry } from './registry.js'

/** What is read of an event of a task. */
export interface FlowerEvent {
  readonly type: string
  readonly worker: string
  readonly uuid: string
  readonly name: string
  /** Seconds since the epoch, by the worker's clock. */
  readonly timestamp: number
  /** It waits in the worker for its time, and not for a place. */
  readonly hasEta: boolean
  readonly runtime?: number | undefined
}

/** prom-client's own, of requests: Flower has those of Python's client, which are the same but for one. */
const runtimeBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const mostNames = 500
/** Those without news for longest are forgotten. */
const mostHeld = 10_000

interface Held {
  readonly worker: string
  readonly task: string
  readonly timestamp: number
}

export class FlowerMetrics {
  readonly #names = new FewValues(mostNames)
  readonly #events: Counter
  readonly #runtime: Histogram
  readonly #prefetchTime: Gauge
  readonly #prefetched: Gauge
  readonly #online: Gauge
  readonly #executing: Gauge
  /** Received and not started. */
  readonly #held = new Map<string, Held>()
  readonly #counts = new Map<string, number>()

  constructor(registry: Registry) {
    this.#events = registry.counter('flower_events_total', 'Events of tasks.', 'worker', 'type', 'task')
    this.#runtime = registry.histogram('flower_task_runtime_seconds', 'How long runs took.', runtimeBuckets, 'worker', 'task')
    this.#prefetchTime = registry.gauge(
      'flower_task_prefetch_time_seconds',
      'How long the task waited in its worker that was started last; 0 when it has ended.',
      'worker',
      'task',
    )
    this.#prefetched = registry.gauge('flower_worker_prefetched_tasks', 'Tasks that wait in a worker for a place.', 'worker', 'task')
    this.#online = registry.gauge('flower_worker_online', 'Whether the worker is online.', 'worker')
    this.#executing = registry.gauge('flower_worker_number_of_currently_executing_tasks', 'Tasks that run.', 'worker')
  }

  worker(worker: string, isOnline: boolean, executing: number): void {
    this.#online.set({ worker }, isOnline ? 1 : 0)
    this.#executing.set({ worker }, executing)
  }

  task({ type, worker, uuid, name, timestamp, hasEta, runtime }: FlowerEvent): void {
    const task = this.#names.of(name)
    this.#events.inc({ worker, type, task })
    if (runtime !== undefined) this.#runtime.observe({ worker, task }, runtime)
    if (type === 'task-sent') return
    const held = this.#release(uuid)
    if (type === 'task-received') {
      if (!hasEta) this.#hold(uuid, { worker, task, timestamp })
    } else if (type === 'task-started' && held !== undefined)
      this.#prefetchTime.set({ worker, task }, Math.max(0, timestamp - held.timestamp))
    else if (type === 'task-succeeded' || type === 'task-failed') this.#prefetchTime.set({ worker, task }, 0)
  }

  /** Its tasks went with it. */
  forget(worker: string): void {
    for (const [uuid, held] of this.#held) if (held.worker === worker) this.#held.delete(uuid)
    for (const key of this.#counts.keys()) if (key.startsWith(`${worker} `)) this.#counts.delete(key)
  }

  #hold(uuid: string, held: Held): void {
    this.#held.set(uuid, held)
    this.#count(held, 1)
    const [oldest] = this.#held.keys()
    if (this.#held.size > mostHeld && oldest !== undefined) this.#release(oldest)
  }

  #release(uuid: string): Held | undefined {
    const held = this.#held.get(uuid)
    if (held === undefined) return undefined
    this.#held.delete(uuid)
    this.#count(held, -1)
    return held
  }

  #count({ worker, task }: Held, change: number): void {
    const key = `${worker} ${task}`
    const count = (this.#counts.get(key) ?? 0) + change
    this.#counts.set(key, count)
    this.#prefetched.set({ worker, task }, count)
  }
}
