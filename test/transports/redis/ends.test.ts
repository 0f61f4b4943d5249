/** Ends of tasks that are stored with the acks of their messages, where broker and result backend are one database. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { RedisBackend } from '../../../dist/backends/redis.js'
import { systemClock } from '../../../dist/internal/clock.js'
import { type RedisLink, textOf } from '../../../dist/internal/redis/link.js'
import { redisTarget } from '../../../dist/internal/redis/target.js'
import { JsonText } from '../../../dist/protocol/json-text.js'
import type { PlacedEnd } from '../../../dist/protocol/result.js'
import type { Connection, Delivery } from '../../../dist/transport.js'
import { defaultRedisBrokerOptions } from '../../../dist/transports/redis/options.js'
import { RedisTransport } from '../../../dist/transports/redis.js'
import { startRedis } from '../../../scripts/services.mjs'
import { Inbox, message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'
import { FaultProxy } from '../../harness/fault-proxy.js'
import { ackWith as sendEnd, success } from '../ends.js'

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
let server: Awaited<ReturnType<typeof startRedis>>
let link: RedisLink
let backend: RedisBackend
let connections: Connection[] = []

const target = (url = server.url) => redisTarget(url, { clock: systemClock, longestSilenceMs: 2_000 })

beforeAll(async () => {
  server = await startRedis()
  link = await target().open({ signal: AbortSignal.timeout(5_000), name: 'test' })
  backend = new RedisBackend(target(), { globalKeyprefix: '' }, { clock: systemClock })
})
afterAll(async () => {
  await backend.close()
  await link.close()
  await server.stop()
})
beforeEach(() => server.flush())
afterEach(async () => {
  await Promise.all(connections.map((connection) => connection.close()))
  connections = []
})

async function connect(url?: string): Promise<Connection> {
  const transport = new RedisTransport(target(url), { ...defaultRedisBrokerOptions, leaseTtlMs: 20_000 }, { clock: systemClock, log })
  const connection = await transport.connect({ signal: AbortSignal.timeout(5_000) })
  connections.push(connection)
  await connection.declare(topology(queue('q')))
  return connection
}

async function delivered(connection: Connection, id = 'a'): Promise<Delivery> {
  await connection.publish(message({ id }), { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 })
  return (await Inbox.open(connection, { prefetch: 10 })).gone(0)
}

function placed(meta = success()): PlacedEnd {
  const end = backend.placed(meta, { expiresSeconds: 60 })
  if (end === undefined) throw new Error('a small end has a place')
  return end
}

const ackWith = (delivery: Delivery, end = placed()) => sendEnd(delivery, end)

const held = async (): Promise<unknown> => link.call('HLEN', ['unacked'])

test('the end is stored as the backend stores it, and the message is gone', async () => {
  const connection = await connect()
  expect(connection.place).toBe(backend.place)
  const delivery = await delivered(connection)
  expect(await ackWith(delivery)).toBe(true)
  const together = textOf(await link.call('GET', ['celery-task-meta-a']))
  expect(await held()).toBe(0)
  expect(await link.call('TTL', ['celery-task-meta-a'])).toBeGreaterThan(50)
  expect((await backend.get('a'))?.result).toBe(5)
  await backend.forget(['a'])
  await backend.store(success(), { expiresSeconds: 60 })
  expect(textOf(await link.call('GET', ['celery-task-meta-a']))).toBe(together)
})

test('who waits for the result is told', async () => {
  const waiting = backend.wait(['a'], { signal: AbortSignal.timeout(20_000) })[Symbol.asyncIterator]()
  const first = waiting.next()
  const delivery = await delivered(await connect())
  await ackWith(delivery)
  expect((await first).value).toMatchObject({ taskId: 'a', status: 'SUCCESS' })
})

test('a task that had ended already: nothing is written, and the message is still held', async () => {
  const delivery = await delivered(await connect())
  await backend.store({ ...success(), result: new JsonText('1') }, { expiresSeconds: 60 })
  expect(await ackWith(delivery)).toBe(false)
  expect((await backend.get('a'))?.result).toBe(1)
  expect(await held()).toBe(1)
  expect(await ackWith(delivery, { ...placed(), key: 'other' })).toBe(true)
  expect(await held()).toBe(0)
})

test('a state that is no end is replaced, also as Python writes it', async () => {
  const connection = await connect()
  await link.call('SET', ['celery-task-meta-a', '{"status": "STARTED", "result": null, "task_id": "a"}'])
  const delivery = await delivered(connection)
  expect(await ackWith(delivery)).toBe(true)
  expect((await backend.get('a'))?.status).toBe('SUCCESS')
})

test.each([
  ['a text that does not tell its state first', ['SET', ['celery-task-meta-a', '{"task_id": "a", "status": "STARTED", "result": null}']]],
  ['no text', ['SADD', ['celery-task-meta-a', 'x']]],
] as const)('where %s lies under the key, the backend itself has to look', async (_, [command, args]) => {
  const connection = await connect()
  await link.call(command, args)
  const delivery = await delivered(connection)
  expect(await ackWith(delivery)).toBeUndefined()
  expect(await held()).toBe(1)
  delivery.release()
  await connection.close()
  expect(await link.call('LLEN', ['q'])).toBe(1)
})

test('a large end is stored by itself', () => {
  expect(backend.placed(success('a', JSON.stringify('x'.repeat(5_000))), { expiresSeconds: 60 })).toBeUndefined()
})

test('one whose answer was lost is stored once, and its message is gone', async () => {
  await using proxy = await FaultProxy.to(server.port)
  const connection = await connect(proxy.url(server.url))
  const delivery = await delivered(connection)
  proxy.set({ down: { flow: 'hold' } })
  const stored = ackWith(delivery)
  await until(async () => (await held()) === 0, 'the server has done it')
  proxy.rst()
  proxy.clear()
  expect(await stored).toBe(true)
  expect(textOf(await link.call('GET', ['celery-task-meta-a']))).toBe(placed().text)
})

test('when the connection ends before it was asked, nothing is known of it', async () => {
  const connection = await connect()
  const delivery = await delivered(connection)
  await connection.close()
  expect(await ackWith(delivery)).toBeUndefined()
})

test('a hundred at once are one round trip each way, each with its own answer', async () => {
  const connection = await connect()
  const inbox = await Inbox.open(connection, { prefetch: 200 })
  const ids = Array.from({ length: 100 }, (_, index) => `t${index}`)
  await Promise.all(ids.map((id) => connection.publish(message({ id }), { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 })))
  await inbox.gets(100)
  await backend.store(success('t7', '1'), { expiresSeconds: 60 })
  const answers = await Promise.all(
    inbox.deliveries.map((delivery) => ackWith(delivery, placed(success(delivery.message.headers.id as string)))),
  )
  expect(answers.filter((answer) => answer === false).length).toBe(1)
  expect(answers.filter((answer) => answer === true).length).toBe(99)
  expect(await held()).toBe(1)
})
