import type { Gauge, Registry } from './registry.js'

/** How a worker, its queues and its process are. */
export interface WorkerGauges extends QueueGauges {
  readonly up: Gauge
  readonly active: Gauge
  readonly reserved: Gauge
  readonly lag: Gauge
  readonly memory: Gauge
  readonly dead: Gauge
}

/** How queues are. */
export interface QueueGauges {
  readonly length: Gauge
  readonly processes: Gauge
  readonly workers: Gauge
  readonly consumers: Gauge
  readonly oldest: Gauge
  readonly paused: Gauge
}

export function workerGauges(registry: Registry): WorkerGauges {
  return {
    up: registry.gauge('celery_worker_up', 'Whether the worker takes tasks.', 'hostname'),
    active: registry.gauge('celery_worker_tasks_active', 'Tasks that run.', 'hostname'),
    reserved: registry.gauge('celeriac_worker_tasks_reserved', 'Tasks that the worker holds and that do not run yet.', 'hostname'),
    lag: registry.gauge(
      'celeriac_event_loop_lag_seconds',
      "The longest delay of the main process's event loop since the last scrape.",
      'hostname',
    ),
    memory: registry.gauge('process_resident_memory_bytes', 'Memory of the main process.'),
    dead: registry.gauge('celeriac_dead_letters', 'Messages that could not be run and were kept.'),
    ...queueGauges(registry),
  }
}

/** Of this worker, or of all workers of a cluster. */
export function queueGauges(registry: Registry): QueueGauges {
  return {
    length: registry.gauge('celery_queue_length', 'Messages that wait.', 'queue_name'),
    processes: registry.gauge('celery_active_process_count', 'Processes that take tasks of the queue.', 'queue_name'),
    workers: registry.gauge('celery_active_worker_count', 'Workers that take tasks of the queue.', 'queue_name'),
    consumers: registry.gauge('celery_active_consumer_count', 'Consumers of the queue: each worker has one.', 'queue_name'),
    oldest: registry.gauge('celeriac_queue_oldest_seconds', 'For how long the oldest message of the queue waits.', 'queue'),
    paused: registry.gauge('celeriac_queue_paused', 'Whether the queue is paused.', 'queue'),
  }
}
