/** What is used of @opentelemetry/api, by structure: nobody needs that package to build with celeriac. */
export type AttributeValue = string | number | boolean | readonly string[]
export type Attributes = Readonly<Record<string, AttributeValue | undefined>>

export interface Context {
  readonly '~context'?: never
}

export interface Span {
  setAttributes(attributes: Attributes): unknown
  setStatus(status: { readonly code: number; readonly message?: string }): unknown
  recordException(exception: { readonly name: string; readonly message: string; readonly stack?: string | undefined }): void
  updateName(name: string): unknown
  addEvent(name: string, attributes?: Attributes): unknown
  end(): void
}

interface SpanOptions {
  readonly kind: number
  readonly attributes: Attributes
  readonly links?: readonly { readonly context: SpanContext }[]
}

interface SpanContext {
  readonly '~spanContext'?: never
}

interface Tracer {
  startSpan(name: string, options: SpanOptions, context: Context): Span
}

export interface Instruments {
  createCounter(name: string, options: InstrumentOptions): { add(value: number, attributes?: Attributes): void }
  createHistogram(name: string, options: InstrumentOptions): { record(value: number, attributes?: Attributes): void }
  createObservableGauge(name: string, options: InstrumentOptions): Observable
}

export interface Observable {
  addCallback(callback: ObserveCallback): void
  removeCallback(callback: ObserveCallback): void
}
export type ObserveCallback = (result: { observe(value: number, attributes?: Attributes): void }) => void | Promise<void>

interface InstrumentOptions {
  readonly description: string
  readonly unit: string
  readonly advice?: { readonly explicitBucketBoundaries: readonly number[] }
}

export interface MeterProvider {
  getMeter(name: string, version: string): Instruments
}

interface TracerProvider {
  /** Of the API's own proxy, which stands before whatever is registered. */
  getDelegate?(): unknown
}

export interface OtelApi {
  readonly SpanKind: { readonly PRODUCER: number; readonly CONSUMER: number }
  readonly SpanStatusCode: { readonly ERROR: number }
  readonly ROOT_CONTEXT: Context
  readonly ProxyTracerProvider: new () => { getDelegate(): unknown }
  readonly trace: {
    getTracerProvider(): TracerProvider
    getTracer(name: string, version: string): Tracer
    setSpan(context: Context, span: Span): Context
    getSpanContext(context: Context): SpanContext | undefined
  }
  readonly context: {
    active(): Context
    with<T>(context: Context, body: () => T): T
  }
  readonly propagation: {
    inject(context: Context, carrier: Record<string, unknown>): void
    extract(context: Context, carrier: unknown): Context
  }
  /** What stands there while no provider of metrics is registered: always the same object. */
  createNoopMeter(): unknown
  readonly metrics: { getMeterProvider(): MeterProvider }
}
