/** Against the real SDK, registered in this process as a program would do it. */
import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { chain, type TaskContext } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

const spans = new InMemorySpanExporter()
const numbers = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const reader = new PeriodicExportingMetricReader({ exporter: numbers, exportIntervalMillis: 2 ** 30 })
const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
const meters = new MeterProvider({ readers: [reader] })

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  trace.setGlobalTracerProvider(tracers)
  metrics.setGlobalMeterProvider(meters)
})
afterEach(() => spans.reset())
afterAll(async () => {
  await meters.shutdown()
  for (const api of [context, propagation, trace, metrics]) api.disable()
})

const seen = async (count: number): Promise<readonly ReadableSpan[]> => {
  await until(() => spans.getFinishedSpans().length >= count, 20_000)
  return spans.getFinishedSpans()
}
const named = (all: readonly ReadableSpan[], name: string): ReadableSpan => {
  const found = all.find((span) => span.name === name)
  if (found === undefined) throw new Error(`no span ${name} among ${all.map((span) => span.name)}`)
  return found
}
const idOf = (span: ReadableSpan): string => span.spanContext().spanId

test('a call and its run are one trace, with the names and attributes of Python and of the conventions', async () => {
  await using live = new LiveApp()
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work({ hostname: 'w@h' })
  const caller = trace.getTracer('test').startSpan('request')
  const sent = await context.with(trace.setSpan(context.active(), caller), () => add.applyAsync([1, 2], { taskId: 'a' }))
  expect(await sent.get({ timeout: 20 })).toBe(3)
  const all = await seen(2)
  const [sending, run] = [named(all, 'apply_async/add'), named(all, 'run/add')]
  expect([sending.kind, run.kind]).toEqual([SpanKind.PRODUCER, SpanKind.CONSUMER])
  expect([sending.parentSpanContext?.spanId, run.parentSpanContext?.spanId]).toEqual([caller.spanContext().spanId, idOf(sending)])
  expect(run.spanContext().traceId).toBe(caller.spanContext().traceId)
  expect(sending.attributes).toEqual({
    'celery.action': 'apply_async',
    'celery.task_name': 'add',
    'messaging.system': 'celery',
    'messaging.operation.name': 'apply_async',
    'messaging.operation.type': 'send',
    'messaging.message.id': 'a',
    'messaging.destination': 'celery',
    'messaging.destination.name': 'celery',
  })
  expect(run.attributes).toMatchObject({
    'celery.action': 'run',
    'celery.task_name': 'add',
    'celery.state': 'SUCCESS',
    'celery.retries': 0,
    'celery.hostname': 'w@h',
    'messaging.message.id': 'a',
    'messaging.message.conversation_id': 'a',
    'messaging.operation.type': 'process',
    'messaging.destination': 'celery',
  })
})

test('what a task sends, and what follows it, is below its run; the headers go with the message', async () => {
  await using live = new LiveApp()
  const inner = live.app.task('inner', () => 'inner')
  const outer = live.app.task('outer', { bind: true }, async (self: TaskContext) => {
    await inner.delay()
    return self.request.headers.traceparent
  })
  const next = live.app.task('next', { bind: true }, (self: TaskContext, first: unknown) => [first, self.request.headers.traceparent])
  await live.work()
  const [first, second] = (await chain(outer.s(), next.s()).delay().get({ timeout: 20 })) as string[]
  const all = await seen(5)
  const run = named(all, 'run/outer')
  expect(named(all, 'apply_async/inner').parentSpanContext?.spanId).toBe(idOf(run))
  expect(named(all, 'run/next').parentSpanContext?.spanId).toBe(idOf(run))
  expect(new Set(all.map((span) => span.spanContext().traceId)).size).toBe(1)
  expect(first).toContain(idOf(named(all, 'apply_async/outer')))
  expect(second).toContain(idOf(run))
})

test('failures, expected errors and retries', async () => {
  await using live = new LiveApp()
  class Busy extends Error {}
  const fail = live.app.task('fail', () => {
    throw new TypeError('no good')
  })
  const expected = live.app.task('expected', { throws: [Busy] }, () => {
    throw new Busy('later')
  })
  const again = live.app.task('again', { bind: true }, (self) =>
    self.request.retries === 0 ? self.retry({ countdown: 0, cause: new Error('why') }) : 1,
  )
  await live.work()
  for (const task of [fail, expected, again]) await task.delay().get({ timeout: 20, propagate: false })
  const all = await seen(7)
  const failed = named(all, 'run/fail')
  expect(failed.status).toEqual({ code: SpanStatusCode.ERROR, message: 'no good' })
  expect(failed.attributes).toMatchObject({ 'celery.state': 'FAILURE', 'error.type': 'TypeError' })
  expect(failed.events[0]).toMatchObject({
    name: 'exception',
    attributes: { 'exception.type': 'TypeError', 'exception.message': 'no good' },
  })
  expect(named(all, 'run/expected').status.code).toBe(SpanStatusCode.UNSET)
  const runs = all.filter((span) => span.name === 'run/again')
  expect(runs.map((span) => [span.attributes['celery.state'], span.attributes['celery.retries']])).toEqual([
    ['RETRY', 0],
    ['SUCCESS', 1],
  ])
  expect(runs[0]?.attributes['celery.retry.reason']).toBe('why')
  expect(runs[0]?.events.map((event) => event.name)).toEqual(['celery.retry'])
  // Both runs hang below the one call.
  const call = named(all, 'apply_async/again')
  expect(runs.map((span) => span.parentSpanContext?.spanId)).toEqual([idOf(call), idOf(call)])
})

test('a call that is not sent is a failed span', async () => {
  await using live = new LiveApp()
  live.app.use({
    publish: async () => {
      throw new RangeError('quota')
    },
  })
  await expect(live.app.sendTask('one')).rejects.toThrow('quota')
  expect(named(await seen(1), 'apply_async/one')).toMatchObject({ status: { code: SpanStatusCode.ERROR, message: 'quota' } })
})

test('metrics of sending, running, waiting and of the worker', async () => {
  await using live = new LiveApp()
  const one = live.app.task('measured', () => 1)
  await live.work({ hostname: 'm@h' })
  await one.delay().get({ timeout: 20 })
  await reader.forceFlush()
  const found = new Map(
    numbers
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics: all }) => all.map((one) => [one.descriptor.name, one] as const))),
  )
  expect([...found.keys()].sort()).toEqual([
    'celeriac.eventloop.lag',
    'celeriac.queue.depth',
    'celeriac.task.wait.duration',
    'celeriac.worker.active',
    'messaging.client.consumed.messages',
    'messaging.client.operation.duration',
    'messaging.client.sent.messages',
    'messaging.process.duration',
  ])
  const runs = found.get('messaging.process.duration')?.dataPoints.find((point) => point.attributes['celery.task_name'] === 'measured')
  expect(runs).toMatchObject({ value: { count: 1 }, attributes: { 'celery.state': 'SUCCESS', 'messaging.destination.name': 'celery' } })
  const waits = found.get('celeriac.task.wait.duration')?.dataPoints.find((point) => point.attributes['celery.task_name'] === 'measured')
  expect(waits).toMatchObject({ value: { count: 1 } })
})

test('turned off, there are no spans and no headers', async () => {
  await using live = new LiveApp({ openTelemetry: false })
  const see = live.app.task('see', { bind: true }, (self: TaskContext) => self.request.headers)
  await live.work()
  expect(await see.delay().get({ timeout: 20 })).toEqual({})
  expect(spans.getFinishedSpans()).toEqual([])
})
