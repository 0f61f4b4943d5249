import type { AppCore } from '../app/core.js'
import type { Prometheus } from '../telemetry/prometheus.js'
import type { WorkerSource } from '../telemetry/worker-source.js'
import type { PortRoutes } from './http-port.js'
import type { TaskEvents } from './task-events.js'

/** The metrics of one worker: OpenTelemetry's, where its program takes them, and Prometheus', where it is to be scraped. Loaded only then. */
export class WorkerTelemetry {
  readonly #core: AppCore
  readonly #stops: (() => void)[] = []
  #prometheus: Prometheus | undefined

  constructor(core: AppCore) {
    this.#core = core
  }

  /** Throws DriverNotInstalledError when it is to be scraped and prom-client is missing. */
  async open(source: WorkerSource, events: TaskEvents): Promise<void> {
    const { config, clock, hooks, log, telemetry } = this.#core
    if (config.workerMetricsPort !== null) {
      const { openPrometheus } = await import('../telemetry/prometheus.js')
      const prometheus = await openPrometheus(source, clock)
      this.#prometheus = prometheus
      this.#stops.push(() => prometheus.stop())
      events.watch(prometheus)
    }
    await telemetry()
    if (hooks.instrument === undefined) return
    try {
      const { openOtelWorker } = await import('../telemetry/otel-worker.js')
      const otel = await openOtelWorker(this.#core, source)
      if (otel === undefined) return
      this.#stops.push(() => otel.stop())
      events.watch(otel.watcher)
    } catch (error) {
      log.warn({ err: error }, "OpenTelemetry could not be opened: there are no metrics of the worker's main process")
    }
  }

  /** What is answered at `workerMetricsPort`. */
  get routes(): PortRoutes {
    const prometheus = this.#prometheus
    if (prometheus === undefined) return {}
    return { '/metrics': async () => ({ status: 200, type: prometheus.contentType, body: await prometheus.text() }) }
  }

  /** Safe twice. */
  close(): void {
    for (const stop of this.#stops.splice(0)) stop()
  }
}
