/**
 * Traces and metrics over @opentelemetry/api: by default with the names of Python's opentelemetry-instrumentation-celery, `apply_async/<task>` where a call is
 * sent, and below it `run/<task>` where it runs (see Conventions).
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { AppCore } from '../app/core.js'
import type { Instrument, SentCall, TraceHeaders } from '../app/instrument.js'
import type { RunInfo } from '../app/run-info.js'
import { stateOf } from '../app/task-state.js'
import { importPeer } from '../internal/import-peer.js'
import { packageVersion } from '../internal/package-version.js'
import type { Outcome } from '../pool.js'
import type { RemoteErrorData } from '../protocol/remote-error.js'
import { Conventions } from './conventions.js'
import type { Attributes, Context, OtelApi, Span } from './otel-api.js'
import { OtelMeter } from './otel-meter.js'

export async function openTelemetry(core: AppCore): Promise<Instrument> {
  return new OpenTelemetry(core, await loadOtelApi())
}

export function loadOtelApi(): Promise<OtelApi> {
  return importPeer<OtelApi>('OpenTelemetry', '@opentelemetry/api')
}

class OpenTelemetry implements Instrument {
  readonly #core: AppCore
  readonly #api: OtelApi
  readonly #meter: OtelMeter
  readonly #conventions: Conventions
  readonly #version = packageVersion()
  /** What stands behind the API's proxy while no SDK is registered. */
  readonly #nobody: unknown
  /** The trace of the task that has ended and is being followed up: the worker's main process may have no SDK that would know of it. */
  readonly #followed = new AsyncLocalStorage<TraceHeaders>()

  constructor(core: AppCore, api: OtelApi) {
    this.#core = core
    this.#api = api
    this.#meter = new OtelMeter(api)
    this.#conventions = new Conventions(core.config)
    this.#nobody = new api.ProxyTracerProvider().getDelegate()
  }

  get isActive(): boolean {
    return this.#traces || this.#meter.isActive
  }

  async publish<T>(call: SentCall, send: () => Promise<T>): Promise<T> {
    const { clock } = this.#core
    const startMs = clock.monotonic()
    let failure: string | undefined
    try {
      return this.#traces ? await this.#publishTraced(call, send) : await send()
    } catch (error) {
      failure = nameOf(error)
      throw error
    } finally {
      const all = { ...this.#conventions.operation('publish'), 'messaging.destination.name': call.destination, 'error.type': failure }
      this.#meter.record('messaging.client.operation.duration', (clock.monotonic() - startMs) / 1000, all)
      if (failure === undefined) this.#meter.count('messaging.client.sent.messages', all)
    }
  }

  async #publishTraced<T>(call: SentCall, send: () => Promise<T>): Promise<T> {
    const { SpanKind } = this.#api
    const attributes: Attributes = {
      ...this.#attributes('publish', 'send', call),
      'celery.action': 'apply_async',
      'celery.root_id': call.rootId,
      'celery.group_id': call.groupId,
      'messaging.message.conversation_id': call.rootId,
    }
    const { context } = this.#api
    const span = this.#startSpan(
      this.#conventions.spanName('publish', call.task, undefined),
      SpanKind.PRODUCER,
      attributes,
      context.active(),
    )
    const inside = this.#api.trace.setSpan(context.active(), span)
    try {
      this.#api.propagation.inject(inside, call.headers)
      return await context.with(inside, send)
    } catch (error) {
      this.#fail(span, { name: nameOf(error), message: error instanceof Error ? error.message : String(error) })
      throw error
    } finally {
      span.updateName(this.#conventions.spanName('publish', call.task, call.destination))
      span.setAttributes(
        this.#conventions.chosen({ 'messaging.destination': call.destination, 'messaging.destination.name': call.destination }),
      )
      span.end()
    }
  }

  async run(task: string, info: RunInfo, body: () => Promise<Outcome>): Promise<Outcome> {
    const { clock } = this.#core
    const startMs = clock.monotonic()
    const outcome = this.#traces ? await this.#runTraced(task, info, body) : await body()
    const attributes: Attributes = {
      ...this.#conventions.operation('run'),
      'messaging.destination.name': info.queue,
      'celery.task_name': task,
      'celery.state': stateOf(outcome),
      'error.type': outcome.status === 'failure' ? outcome.error.excType : undefined,
    }
    this.#meter.record('messaging.process.duration', (clock.monotonic() - startMs) / 1000, attributes)
    this.#meter.count('messaging.client.consumed.messages', attributes)
    return outcome
  }

  async #runTraced(task: string, info: RunInfo, body: () => Promise<Outcome>): Promise<Outcome> {
    const { context, propagation, trace, SpanKind, ROOT_CONTEXT } = this.#api
    const attributes: Attributes = {
      ...this.#attributes('run', 'process', { task, id: info.id, headers: info.headers }),
      'celery.action': 'run',
      'celery.retries': info.retries,
      'celery.task.retries': info.retries,
      'celery.hostname': info.worker,
      'celery.root_id': info.rootId,
      'celery.parent_id': info.parentId ?? undefined,
      'celery.group_id': info.group ?? undefined,
      'celery.eta': info.etaMs === undefined ? undefined : new Date(info.etaMs).toISOString(),
      'celery.expires': info.expiresMs === null ? undefined : new Date(info.expiresMs).toISOString(),
      'celery.timelimit':
        info.timeLimitMs === null && info.softTimeLimitMs === null ? undefined : [limit(info.timeLimitMs), limit(info.softTimeLimitMs)],
      'messaging.client.id': info.worker,
      'messaging.conversation_id': info.rootId,
      'messaging.message.conversation_id': info.rootId,
      'messaging.destination': info.queue,
      'messaging.destination.name': info.queue,
    }
    // In place (`taskAlwaysEager`) a message without a trace runs where it is called; in a worker nothing that is active here has to do with it.
    const caller = propagation.extract(ROOT_CONTEXT, info.headers)
    const span = this.#startSpan(this.#conventions.spanName('run', task, info.queue), SpanKind.CONSUMER, attributes, caller)
    const inside = trace.setSpan(caller, span)
    const outcome = await context.with(inside, body)
    this.#tell(span, outcome)
    span.end()
    const headers: Record<string, unknown> = {}
    propagation.inject(inside, headers)
    return { ...outcome, trace: headers }
  }

  #tell(span: Span, outcome: Outcome): void {
    span.setAttributes({ 'celery.state': stateOf(outcome) })
    switch (outcome.status) {
      case 'failure':
        // As Python: an error that the task is expected to throw is no error of its span.
        if (!outcome.expected) this.#fail(span, exceptionOf(outcome.error))
        return
      case 'retry': {
        const { error, retry } = outcome
        const delay = retry.etaMs === null ? 0 : Math.max(0, retry.etaMs - this.#core.clock.now()) / 1000
        const reason = error === null ? undefined : exceptionOf(error).message
        span.setAttributes({ 'celery.retry.reason': reason })
        span.addEvent('celery.retry', { 'celery.retry.delay': delay, 'celery.retry.reason': reason })
        return
      }
      case 'revoked':
        span.setAttributes({ 'celery.revoked.reason': outcome.reason })
        return
      case 'killed':
        return this.#fail(span, { name: 'WorkerLostError', message: outcome.detail })
      default:
    }
  }

  #fail(span: Span, exception: { readonly name: string; readonly message: string; readonly stack?: string | undefined }): void {
    span.recordException(exception)
    span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: exception.message })
    span.setAttributes({ 'error.type': exception.name })
  }

  following<T>(trace: TraceHeaders, body: () => T): T {
    return this.#followed.run(trace, body)
  }

  headers(): TraceHeaders {
    const followed = this.#followed.getStore()
    const { context, propagation } = this.#api
    // Without an SDK here they are passed on as they are.
    const headers: Record<string, unknown> = followed === undefined ? {} : traceOf(followed)
    if (followed === undefined) propagation.inject(context.active(), headers)
    return headers
  }

  /** Somebody takes the spans. */
  get #traces(): boolean {
    const provider = this.#api.trace.getTracerProvider()
    return provider.getDelegate === undefined || provider.getDelegate() !== this.#nobody
  }

  #startSpan(name: string, kind: number, attributes: Attributes, parent: Context): Span {
    const { trace, SpanKind } = this.#api
    const cause = this.#conventions.hasLinks && kind === SpanKind.CONSUMER ? trace.getSpanContext(parent) : undefined
    const links = cause === undefined ? [] : [{ context: cause }]
    const chosen = this.#conventions.chosen(attributes)
    return trace.getTracer('celeriac', this.#version).startSpan(name, { kind, attributes: chosen, links }, parent)
  }

  #attributes(
    operation: 'publish' | 'run',
    type: string,
    { task, id, headers }: { readonly task: string; readonly id: string; readonly headers: Readonly<Record<string, unknown>> },
  ): Attributes {
    const { periodic_task_name: schedule } = headers
    return {
      ...this.#conventions.operation(operation),
      'celery.task_name': task,
      // Of a task that beat has sent.
      'celery.schedule': typeof schedule === 'string' ? schedule : undefined,
      'messaging.operation.type': type,
      'messaging.message.id': id,
    }
  }
}

/** Those of a message's headers that are of a trace. */
function traceOf(headers: TraceHeaders): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => /^(traceparent|tracestate|baggage|b3|x-b3-.*|uber-trace-id)$/i.test(name)),
  )
}

function exceptionOf({ excType, excMessage, traceback }: RemoteErrorData): { name: string; message: string; stack: string | undefined } {
  return { name: excType, message: excMessage.map(String).join(', '), stack: traceback ?? undefined }
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error)

const limit = (ms: number | null): string => (ms === null ? 'null' : String(ms / 1000))
