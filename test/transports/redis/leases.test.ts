/** What becomes of messages whose worker is gone, and of those that wait for their time. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import { integerOf, listOf, type RedisLink, textOf } from '../../../dist/internal/redis/link.js'
import { redisTarget } from '../../../dist/internal/redis/target.js'
import type { Connection } from '../../../dist/transport.js'
import { writeEnvelope } from '../../../dist/transports/redis/envelope.js'
import { defaultRedisBrokerOptions, type RedisBrokerOptions } from '../../../dist/transports/redis/options.js'
import { RedisTransport } from '../../../dist/transports/redis.js'
import { startRedis } from '../../../scripts/services.mjs'
import { exchange, Inbox, message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'

const to = { exchange: '', routingKey: 'q' }
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
let server: Awaited<ReturnType<typeof startRedis>>
let link: RedisLink
let connections: Connection[] = []

const target = () => redisTarget(server.url, { clock: systemClock, longestSilenceMs: 7_000 })

beforeAll(async () => {
  server = await startRedis()
  link = await target().open({ signal: AbortSignal.timeout(5_000), name: 'test' })
})
afterAll(async () => {
  await link.close()
  await server.stop()
})
beforeEach(() => server.flush())
afterEach(async () => {
  for (const connection of connections) await connection.close()
  connections = []
})

async function connect(options: Partial<RedisBrokerOptions> = {}): Promise<Connection> {
  const transport = new RedisTransport(
    target(),
    { ...defaultRedisBrokerOptions, leaseTtlMs: 600, sweepIntervalMs: 50, ...options },
    { clock: systemClock, log },
  )
  const connection = await transport.connect({ signal: AbortSignal.timeout(5_000) })
  connections.push(connection)
  await connection.declare(topology(queue('q')))
  return connection
}

const publish = (connection: Connection, id: string): Promise<void> => connection.publish(message({ id }), to, { deadlineMs: 20_000 })

/** As a worker that died left it: the lease is not refreshed any more. */
async function orphan(scoreFromNow: number): Promise<void> {
  const [lease = ''] = await leases()
  const [seconds] = listOf(await link.call('TIME', [])).map(textOf)
  await link.call('ZREM', ['unacked_index', lease])
  const value = await link.call('HGET', ['unacked', lease])
  await link.call('HDEL', ['unacked', lease])
  await link.call('HSET', ['unacked', 'c:dead:1', value as Buffer])
  await link.call('ZADD', ['unacked_index', Number(seconds) + scoreFromNow, 'c:dead:1'])
}

async function leases(): Promise<readonly string[]> {
  return listOf(await link.call('HKEYS', ['unacked'])).map(textOf)
}

test('the message of a lost lease comes again, counted and marked as kombu marks it', async () => {
  const first = await connect({ leaseTtlMs: 60_000, sweepIntervalMs: 60_000 })
  await publish(first, 'a')
  await (await Inbox.open(first, { prefetch: 1 })).gone(0)
  await orphan(-1)
  const again = await (await Inbox.open(await connect())).gone(0)
  expect([again.message.headers.id, again.redelivered, again.deliveries]).toEqual(['a', true, 1])
})

test('a late finisher is told, and its ack takes nothing away from whoever has the message now', async () => {
  const first = await connect({ leaseTtlMs: 1_200, sweepIntervalMs: 60_000 })
  await publish(first, 'a')
  const delivery = await (await Inbox.open(first, { prefetch: 1 })).gone(0)
  await orphan(-1)
  const other = await connect()
  const again = await (await Inbox.open(other)).gone(0)
  await until(() => delivery.isLost, 'the loss')
  delivery.ack()
  await until(() => first.counters.lateSettlements === 1, 'the late ack')
  expect(await leases()).toHaveLength(1)
  again.ack()
  await until(async () => (await leases()).length === 0, 'the ack')
})

test('an ack that the server finds late is counted, and takes nothing away', async () => {
  const first = await connect({ leaseTtlMs: 60_000, sweepIntervalMs: 60_000 })
  await publish(first, 'a')
  const delivery = await (await Inbox.open(first)).gone(0)
  await orphan(60)
  delivery.ack()
  await until(() => first.counters.lateSettlements === 1, 'the late ack')
  expect(await leases()).toEqual(['c:dead:1'])
})

test('a lease that is refreshed is not lost, however short it is', async () => {
  const first = await connect()
  await publish(first, 'a')
  const delivery = await (await Inbox.open(first)).gone(0)
  const other = await Inbox.open(await connect())
  const [lease = ''] = await leases()
  const begin = Number(textOf(await link.call('ZSCORE', ['unacked_index', lease])))
  await until(async () => Number(textOf(await link.call('ZSCORE', ['unacked_index', lease]))) > begin + 1.8, 'three leases long')
  expect([delivery.isLost, other.deliveries.length]).toEqual([false, 0])
})

test('a message of a Python worker comes again after the visibility timeout, and not before', async () => {
  const [seconds] = listOf(await link.call('TIME', [])).map(textOf)
  for (const [tag, age] of [
    ['young', 20],
    ['old', 40],
  ] as const) {
    await link.call('HSET', ['unacked', tag, `[${writeEnvelope(message({ id: tag }), to)}, "", "q"]`])
    await link.call('ZADD', ['unacked_index', Number(seconds) - age, tag])
  }
  const again = await (await Inbox.open(await connect({ visibilityTimeoutMs: 30_000 }))).gone(0)
  expect([again.message.headers.id, again.deliveries]).toEqual(['old', 1])
  expect(await leases()).toContain('young')
})

test('what Python took from an exchange that nobody is bound to any more is kept as a dead letter', async () => {
  await link.call('HSET', ['unacked', 'tag', `[${writeEnvelope(message(), to)}, "gone", "key"]`])
  await link.call('ZADD', ['unacked_index', 1, 'tag'])
  const connection = await connect()
  await Inbox.open(connection)
  await until(async () => (await connection.deadLetters.count()) === 1, 'the dead letter')
  expect((await connection.deadLetters.list())[0]?.reason).toMatch(/no queue is bound.*"gone"/)
})

test('a message that waits for its time is in nobody’s hands: another worker gets it when it is due', async () => {
  const first = await connect()
  await publish(first, 'a')
  ;(await (await Inbox.open(first)).gone(0)).defer(Date.now() + 400)
  await until(async () => integerOf(await link.call('ZCARD', ['celeriac.eta.q'])) === 1, 'the wait')
  await first.close()
  const inbox = await Inbox.open(await connect())
  const again = await inbox.gone(0)
  expect([again.message.headers.id, again.deliveries]).toEqual(['a', 0])
  expect(await leases()).toHaveLength(1)
  expect(integerOf(await link.call('EXISTS', ['celeriac.eta.q']))).toBe(0)
})

test('a message that waits for its time is where kombu finds it, due at its time', async () => {
  const first = await connect()
  await publish(first, 'a')
  const atMs = Date.now() + 60_000
  ;(await (await Inbox.open(first)).gone(0)).defer(atMs)
  await until(async () => integerOf(await link.call('ZCARD', ['celeriac.eta.q'])) === 1, 'the wait')
  const [id = ''] = await leases()
  const score = Number(textOf(await link.call('ZSCORE', ['unacked_index', id])))
  expect(Math.abs(score * 1000 - atMs)).toBeLessThan(5_000)
})

test('an overdue message of a queue that no worker of ours consumes goes back to its list, uncounted', async () => {
  const first = await connect()
  await publish(first, 'a')
  ;(await (await Inbox.open(first)).gone(0)).defer(Date.now() + 100)
  await until(async () => integerOf(await link.call('ZCARD', ['celeriac.eta.q'])) === 1, 'the wait')
  await first.close()
  const other = await connect()
  await other.declare(topology(queue('other')))
  await Inbox.open(other, { queues: ['other'] })
  await until(async () => integerOf(await link.call('LLEN', ['q'])) === 1, 'the message on its list')
  const again = await (await Inbox.open(await connect())).gone(0)
  expect([again.message.headers.id, again.deliveries]).toEqual(['a', 0])
})

test('what Python restored meanwhile is not given out twice', async () => {
  const first = await connect()
  await publish(first, 'a')
  ;(await (await Inbox.open(first)).gone(0)).defer(Date.now() + 300)
  await until(async () => integerOf(await link.call('ZCARD', ['celeriac.eta.q'])) === 1, 'the wait')
  const [id = ''] = await leases()
  await link.call('HDEL', ['unacked', id])
  await link.call('ZREM', ['unacked_index', id])
  await until(async () => integerOf(await link.call('EXISTS', ['celeriac.eta.q'])) === 0, 'the end of the reference')
  expect(connections).toHaveLength(1)
})

test('twenty thousand entries of others cost a sweep pages, and nothing is taken', async () => {
  const [seconds] = listOf(await link.call('TIME', [])).map(textOf)
  const value = `[${writeEnvelope(message(), to)}, "", "q"]`
  for (let from = 0; from < 20_000; from += 2_000) {
    const ids = Array.from({ length: 2_000 }, (_, index) => `tag-${from + index}`)
    await link.call('HSET', ['unacked', ...ids.flatMap((id) => [id, value])])
    await link.call('ZADD', ['unacked_index', ...ids.flatMap((id) => [Number(seconds) - 100, id])])
  }
  await link.call('HSET', ['unacked', 'c:dead:7', value])
  await link.call('ZADD', ['unacked_index', Number(seconds) - 50, 'c:dead:7'])
  await (await Inbox.open(await connect())).gone(0)
  expect(integerOf(await link.call('HLEN', ['unacked']))).toBe(20_001)
})

test('broadcasts beyond the prefetch wait, in order', async () => {
  const connection = await connect()
  const bindings = [{ exchange: 'f', routingKey: '' }]
  await connection.declare(topology(exchange('f', 'fanout'), queue('mine', { exclusive: true, autoDelete: true, bindings })))
  const inbox = await Inbox.open(connection, { queues: ['mine'], prefetch: 2 })
  for (const id of ['a', 'b', 'c']) await connection.publish(message({ id }), { exchange: 'f', routingKey: '' }, { deadlineMs: 20_000 })
  await inbox.gets(2)
  inbox.deliveries[0]?.ack()
  await inbox.gets(3)
  expect(inbox.ids).toEqual(['a', 'b', 'c'])
  await connection.close()
  expect(integerOf(await link.call('EXISTS', ['_kombu.binding.f', 'mine']))).toBe(0)
})

test('arguments of queues that Redis cannot keep are refused', async () => {
  const connection = await connect()
  await expect(connection.declare(topology(queue('short', { arguments: { 'x-message-ttl': 5 } })))).rejects.toThrow(
    /x-message-ttl.*"short"/,
  )
  await connection.declare(topology(queue('p', { arguments: { 'x-max-priority': 10 } })))
})
