/** What happens to tasks, under the names and labels of celery-exporter: of one worker, or of a cluster. */
import { FewValues } from './few-values.js'
import type { Counter, Histogram, Labels, Registry } from './registry.js'

/** celery-exporter's, of a runtime. */
const runtimeBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300]
const waitBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800]

const taskLabels = ['name', 'hostname', 'queue_name'] as const

/** Each name and each error is a series of its own, for ever: errors may have any name. */
const mostNames = 500
const mostExceptions = 100

export interface TaskSeries {
  readonly name: string
  readonly hostname: string
  readonly queue: string
}

type Happening = 'received' | 'started' | 'succeeded' | 'rejected' | 'revoked' | 'retried'

export class TaskMetrics {
  readonly #names = new FewValues(mostNames)
  readonly #queues = new FewValues(mostNames)
  readonly #exceptions = new FewValues(mostExceptions)
  readonly #counters: Readonly<Record<Happening, Counter>>
  readonly #failed: Counter
  readonly #runtime: Histogram
  readonly #wait: Histogram

  constructor(registry: Registry) {
    const tasks = (what: string, ...more: string[]): Counter =>
      registry.counter(`celery_task_${what}_total`, `Tasks that were ${what}.`, ...taskLabels, ...more)
    this.#counters = {
      received: tasks('received'),
      started: tasks('started'),
      succeeded: tasks('succeeded'),
      rejected: tasks('rejected'),
      revoked: tasks('revoked'),
      retried: tasks('retried'),
    }
    this.#failed = tasks('failed', 'exception')
    this.#runtime = registry.histogram('celery_task_runtime', 'How long runs took, in seconds.', runtimeBuckets, ...taskLabels)
    this.#wait = registry.histogram(
      'celery_task_queue_wait_time',
      'How long tasks waited from their sending (or eta) to their start, in seconds.',
      waitBuckets,
      ...taskLabels,
    )
  }

  count(what: Happening, series: TaskSeries): void {
    this.#counters[what].inc(this.labels(series))
  }

  fail(series: TaskSeries, exception: string): void {
    this.#failed.inc({ ...this.labels(series), exception: this.#exceptions.of(exception) })
  }

  ran(series: TaskSeries, seconds: number): void {
    this.#runtime.observe(this.labels(series), seconds)
  }

  waited(series: TaskSeries, seconds: number): void {
    this.#wait.observe(this.labels(series), seconds)
  }

  labels({ name, hostname, queue }: TaskSeries): Labels {
    return { name: this.#names.of(name), hostname, queue_name: this.#queues.of(queue) }
  }
}
