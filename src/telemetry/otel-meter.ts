import { packageVersion } from '../internal/package-version.js'
import type { Attributes, Instruments, MeterProvider, OtelApi } from './otel-api.js'

/** Seconds, from a millisecond to half an hour. */
const seconds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800]

const histograms = {
  'messaging.client.operation.duration': 'How long sending a task took, until the broker had it.',
  'messaging.process.duration': 'How long runs of tasks took.',
  'celeriac.task.wait.duration': 'How long tasks waited until they were started, from the time of their sending or their eta on.',
} as const
const counters = {
  'messaging.client.sent.messages': 'Tasks that were sent.',
  'messaging.client.consumed.messages': 'Tasks that were run.',
} as const

/**
 * The metrics of web.md's conventions. The API has no stand-in for a meter that is registered later, as it has for tracers: the instruments are made anew when
 * another provider is there.
 */
export class OtelMeter {
  readonly #api: OtelApi
  /** Read once: `isActive` is asked for each call and each run. */
  readonly #version = packageVersion()
  #provider: MeterProvider | undefined
  #made = new Map<string, unknown>()

  constructor(api: OtelApi) {
    this.#api = api
  }

  /** Somebody takes the numbers. */
  get isActive(): boolean {
    return this.instruments !== this.#api.createNoopMeter()
  }

  record(name: keyof typeof histograms, value: number, attributes: Attributes): void {
    type Histogram = ReturnType<Instruments['createHistogram']>
    const made = (meter: Instruments): Histogram =>
      meter.createHistogram(name, { description: histograms[name], unit: 's', advice: { explicitBucketBoundaries: seconds } })
    this.#instrument<Histogram>(name, made).record(value, attributes)
  }

  count(name: keyof typeof counters, attributes: Attributes): void {
    type Counter = ReturnType<Instruments['createCounter']>
    const made = (meter: Instruments): Counter => meter.createCounter(name, { description: counters[name], unit: '{message}' })
    this.#instrument<Counter>(name, made).add(1, attributes)
  }

  /** Of the provider that is registered by now. */
  get instruments(): Instruments {
    return this.#api.metrics.getMeterProvider().getMeter('celeriac', this.#version)
  }

  #instrument<T>(name: string, make: (meter: Instruments) => T): T {
    const provider = this.#api.metrics.getMeterProvider()
    if (provider !== this.#provider) {
      this.#provider = provider
      this.#made = new Map()
    }
    let made = this.#made.get(name) as T | undefined // each name is made in one place, see above
    if (made === undefined) {
      made = make(this.instruments)
      this.#made.set(name, made)
    }
    return made
  }
}
