/** The metrics of one address that Prometheus reads, over prom-client. */
import { importPeer } from '../internal/import-peer.js'

export type Labels = Readonly<Record<string, string>>

interface MetricOptions {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  readonly registers: readonly PromRegistry[]
  readonly buckets?: readonly number[]
}

interface PromRegistry {
  readonly contentType: string
  metrics(): Promise<string>
}
interface Metric {
  get(): Promise<{ readonly values: readonly { readonly labels: Readonly<Record<string, string | number>> }[] }>
  remove(labels: Labels): void
}
export interface Counter extends Metric {
  inc(labels: Labels, value?: number): void
}
export interface Gauge extends Metric {
  set(labels: Labels, value: number): void
  reset(): void
}
export interface Histogram extends Metric {
  observe(labels: Labels, value: number): void
}

/** What is used of prom-client. */
interface PromClient {
  readonly Registry: new () => PromRegistry
  readonly Counter: new (options: MetricOptions) => Counter
  readonly Gauge: new (options: MetricOptions) => Gauge
  readonly Histogram: new (options: MetricOptions) => Histogram
}

/** Throws DriverNotInstalledError without prom-client. */
export async function openRegistry(): Promise<Registry> {
  // A CommonJS package: its exports stand beside `default` where Node finds their names.
  const loaded = await importPeer<PromClient & { readonly default?: PromClient }>('--metrics-port', 'prom-client')
  return new Registry(loaded.default ?? loaded)
}

export class Registry {
  readonly #client: PromClient
  readonly #registry: PromRegistry
  readonly #metrics: Metric[] = []

  constructor(client: PromClient) {
    this.#client = client
    this.#registry = new client.Registry()
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  counter(name: string, help: string, ...labelNames: string[]): Counter {
    return this.#added(new this.#client.Counter({ name, help, labelNames, registers: [this.#registry] }))
  }

  gauge(name: string, help: string, ...labelNames: string[]): Gauge {
    return this.#added(new this.#client.Gauge({ name, help, labelNames, registers: [this.#registry] }))
  }

  histogram(name: string, help: string, buckets: readonly number[], ...labelNames: string[]): Histogram {
    return this.#added(new this.#client.Histogram({ name, help, buckets, labelNames, registers: [this.#registry] }))
  }

  /** Removes the series of all metrics that have this value. */
  async forget(label: string, value: string): Promise<void> {
    for (const metric of this.#metrics) {
      for (const { labels } of (await metric.get()).values) {
        if (labels[label] !== value) continue
        // A histogram gives a series for each of its buckets, which is none of its labels.
        const { le: _, ...own } = labels
        metric.remove(Object.fromEntries(Object.entries(own).map(([name, given]) => [name, String(given)])))
      }
    }
  }

  #added<T extends Metric>(metric: T): T {
    this.#metrics.push(metric)
    return metric
  }
}
