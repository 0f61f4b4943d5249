/** Against the real SDK, registered in this process as a program would do it. */
import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { chain, type TaskContext } from '../../dist/index.js'
import { serverOf } from '../../dist/telemetry/messaging-system.js'
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
    'celery.root_id': 'a',
    'messaging.system': 'celery',
    'messaging.operation.name': 'apply_async',
    'messaging.operation.type': 'send',
    'messaging.message.id': 'a',
    'messaging.message.conversation_id': 'a',
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
    'celeriac.queue.oldest_age',
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

test('depth and age of a queue are those of what waits, and their units are told', async () => {
  await using live = new LiveApp()
  await live.work({ queues: ['mail', 'held'] })
  await live.app.control.pause('held', { timeout: 0.2 })
  await live.app.sendTask('x', {}, { queue: 'held' })
  const before = performance.now()
  const point = async (name: string, queue: string): Promise<number> => {
    numbers.reset()
    await reader.forceFlush()
    const all = numbers.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics: found }) => found))
    const metric = all.find(({ descriptor }) => descriptor.name === name)
    expect(metric?.descriptor.unit).toBe(name.endsWith('age') ? 's' : '{message}')
    return Number(metric?.dataPoints.find(({ attributes }) => attributes['messaging.destination.name'] === queue)?.value)
  }
  expect([await point('celeriac.queue.depth', 'held'), await point('celeriac.queue.oldest_age', 'mail')]).toEqual([1, 0])
  const age = await until(async () => (await point('celeriac.queue.oldest_age', 'held')) || undefined)
  expect(age).toBeGreaterThan(0)
  expect(age * 1000).toBeLessThan(performance.now() - before + 1_000)
})

test('a run of a task that beat has sent, with its eta, tells of both', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await live.work()
  await one.applyAsync([], { eta: new Date(0), headers: { periodic_task_name: 'nightly' } }).get({ timeout: 20 })
  expect(named(await seen(2), 'run/one').attributes).toMatchObject({
    'celery.schedule': 'nightly',
    'celery.eta': '1970-01-01T00:00:00.000Z',
  })
})

test.each(['messaging', 'messaging/dup'] as const)('%s has the names of the conventions, and links', async (openTelemetryConventions) => {
  await using live = new LiveApp({ openTelemetryConventions })
  const add = live.app.task('add', (x: number) => x)
  await live.work()
  await add.delay(1).get({ timeout: 20 })
  const all = await seen(2)
  const [sending, run] = [named(all, 'send celery'), named(all, 'process celery')]
  expect(run.parentSpanContext?.spanId).toBe(idOf(sending))
  expect(run.links.map((link) => link.context.spanId)).toEqual([idOf(sending)])
  expect([sending, run].map((span) => span.attributes['messaging.operation.name'])).toEqual(['send', 'process'])
  const old = openTelemetryConventions === 'messaging' ? undefined : 'celery'
  expect([sending, run].map((span) => span.attributes['messaging.destination'])).toEqual([old, old])
  expect(run.attributes).toMatchObject({ 'celery.task_name': 'add', 'messaging.destination.name': 'celery' })
})

test('the server is told where it can only be one', () => {
  const server = (...brokerUrl: string[]) => serverOf({ brokerUrl })
  expect(server('amqp://u:p@rabbit.local/prod')).toEqual({ 'server.address': 'rabbit.local', 'server.port': 5672 })
  expect(server('rediss://h:7000/1')).toEqual({ 'server.address': 'h', 'server.port': 7000 })
  expect([server('redis://a', 'redis://b'), server('sqlite:///tmp/x.db'), server('sentinel://a:1;sentinel://b:2')]).toEqual([{}, {}, {}])
})

test('turned off, there are no spans and no headers', async () => {
  await using live = new LiveApp({ openTelemetry: false })
  const see = live.app.task('see', { bind: true }, (self: TaskContext) => self.request.headers)
  await live.work()
  expect(await see.delay().get({ timeout: 20 })).toEqual({})
  expect(spans.getFinishedSpans()).toEqual([])
})
