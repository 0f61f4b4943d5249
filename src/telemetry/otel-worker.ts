import type { AppCore } from '../app/core.js'
import type { TaskWatcher } from '../worker/task-events.js'
import { EventLoopLag } from './event-loop-lag.js'
import { loadOtelApi } from './opentelemetry.js'
import type { Attributes, ObserveCallback } from './otel-api.js'
import { OtelMeter } from './otel-meter.js'
import { waitSeconds } from './wait-time.js'
import type { WorkerSource } from './worker-source.js'

/** What the main process of a worker measures, if a provider of metrics is registered there when it starts. */
export interface OtelWorker {
  readonly watcher: TaskWatcher
  stop(): void
}

/** Undefined when nobody takes metrics. */
export async function openOtelWorker(core: AppCore, source: WorkerSource): Promise<OtelWorker | undefined> {
  const meter = new OtelMeter(await loadOtelApi())
  if (!meter.isActive) return undefined
  const { instruments } = meter
  const lag = new EventLoopLag()
  const labels: Attributes = { 'messaging.client.id': source.hostname }
  const gauges: readonly [name: string, description: string, unit: string, observe: ObserveCallback][] = [
    ['celeriac.worker.active', 'Tasks that run.', '{task}', (result) => result.observe(source.active, labels)],
    [
      'celeriac.eventloop.lag',
      "The longest delay of the event loop of the worker's main process.",
      's',
      (result) => result.observe(lag.take(), labels),
    ],
    [
      'celeriac.queue.depth',
      'Messages that wait in a queue of the worker.',
      '{message}',
      async (result) => {
        for (const queue of source.queues) {
          const length = await source.queueLength(queue)
          if (length !== undefined) result.observe(length, { 'messaging.destination.name': queue })
        }
      },
    ],
    [
      'celeriac.queue.oldest_age',
      'For how long the oldest message of a queue of the worker waits.',
      's',
      async (result) => {
        for (const queue of source.queues) {
          const age = await source.oldestSeconds(queue)
          if (age !== undefined) result.observe(age, { 'messaging.destination.name': queue })
        }
      },
    ],
  ]
  const observed = gauges.map(([name, description, unit, observe]) => {
    const gauge = instruments.createObservableGauge(name, { description, unit })
    gauge.addCallback(observe)
    return () => gauge.removeCallback(observe)
  })
  return {
    watcher: {
      started({ head, delivery }) {
        const waited = waitSeconds(head, core.clock.now())
        if (waited === undefined) return
        meter.record('celeriac.task.wait.duration', waited, { 'celery.task_name': head.task, 'messaging.destination.name': delivery.queue })
      },
    },
    stop() {
      lag.stop()
      for (const remove of observed) remove()
    },
  }
}
