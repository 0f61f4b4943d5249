import type { AppCore } from '../app/core.js'
import type { Prometheus } from '../telemetry/prometheus.js'
import type { WorkerSource } from '../telemetry/worker-source.js'
import type { Health } from './health.js'
import type { OpenPort, PortRoutes } from './http-port.js'
import { openWorkerPorts } from './ports.js'
import type { TaskEvents } from './task-events.js'
import { type SourceParts, sourceOf } from './worker-source.js'

/** What a worker lets others see of it: metrics for OpenTelemetry, where its program takes them, and ports for Prometheus and for probes. Loaded only then. */
export class WorkerTelemetry {
  readonly #core: AppCore
  readonly #events: TaskEvents
  readonly #stops: (() => void)[] = []
  #ports: readonly OpenPort[] = []

  constructor(core: AppCore, events: TaskEvents) {
    this.#core = core
    this.#events = events
  }

  /** Throws DriverNotInstalledError when it is to be scraped and prom-client is missing, PortUnavailableError for a port that is taken. */
  async open(parts: Omit<SourceParts, 'clock' | 'connections'> & { readonly worker: Health }): Promise<void> {
    const { config, clock, connections } = this.#core
    const source = sourceOf({ ...parts, clock, connections })
    const metrics = config.workerMetricsPort === null ? {} : await this.#openPrometheus(source)
    await this.#openOtel(source)
    this.#ports = await openWorkerPorts(this.#core, parts.worker, metrics)
  }

  async #openPrometheus(source: WorkerSource): Promise<PortRoutes> {
    const { openPrometheus } = await import('../telemetry/prometheus.js')
    const prometheus: Prometheus = await openPrometheus(source, { clock: this.#core.clock, flower: this.#core.config.flowerCompat })
    this.#stops.push(() => prometheus.stop())
    this.#events.watch(prometheus)
    return { '/metrics': async () => ({ status: 200, type: prometheus.contentType, body: await prometheus.text() }) }
  }

  async #openOtel(source: WorkerSource): Promise<void> {
    const { hooks, log, telemetry } = this.#core
    await telemetry()
    if (hooks.instrument === undefined) return
    try {
      const { openOtelWorker } = await import('../telemetry/otel-worker.js')
      const otel = await openOtelWorker(this.#core, source)
      if (otel === undefined) return
      this.#stops.push(() => otel.stop())
      this.#events.watch(otel.watcher)
    } catch (error) {
      log.warn({ err: error }, "OpenTelemetry could not be opened: there are no metrics of the worker's main process")
    }
  }

  /** Safe twice. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop()
    await Promise.all(this.#ports.map((port) => port.close()))
  }
}
