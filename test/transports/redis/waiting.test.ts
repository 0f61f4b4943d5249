/** The claim of an idle worker that waits on the server for a lone message. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../../dist/internal/clock.js'
import { integerOf, type RedisLink, textOf } from '../../../dist/internal/redis/link.js'
import { redisTarget } from '../../../dist/internal/redis/target.js'
import { VirtualClock } from '../../../dist/testing/virtual-clock.js'
import type { Connection } from '../../../dist/transport.js'
import { defaultRedisBrokerOptions, type RedisBrokerOptions } from '../../../dist/transports/redis/options.js'
import { RedisTransport } from '../../../dist/transports/redis.js'
import { startRedis } from '../../../scripts/services.mjs'
import { Inbox, message, queue, topology } from '../../conformance/transport.js'
import { settled, until } from '../../conformance/wait.js'
import { FaultProxy } from '../../harness/fault-proxy.js'

const to = { exchange: '', routingKey: 'q' }
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
let server: Awaited<ReturnType<typeof startRedis>>
let link: RedisLink
let connections: Connection[] = []

const target = (url = server.url, longestSilenceMs = 7_000) => redisTarget(url, { clock: systemClock, longestSilenceMs })

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

interface Connecting {
  readonly url?: string
  /** By default one that stands still: nobody looks at a list because time has passed. */
  readonly clock?: Clock
  readonly options?: Partial<RedisBrokerOptions>
  readonly longestSilenceMs?: number
}

async function connect({ url, clock = new VirtualClock(), options, longestSilenceMs }: Connecting = {}): Promise<Connection> {
  const transport = new RedisTransport(target(url, longestSilenceMs), { ...defaultRedisBrokerOptions, ...options }, { clock, log })
  const connection = await transport.connect({ signal: AbortSignal.timeout(5_000) })
  connections.push(connection)
  await connection.declare(topology(queue('q'), queue('other')))
  return connection
}

const publish = (connection: Connection, id: string, routingKey = 'q'): Promise<void> =>
  connection.publish(message({ id }), { ...to, routingKey }, { deadlineMs: 20_000 })

/** The numbers of the clients whose claims wait. */
async function waiting(): Promise<readonly string[]> {
  const clients = textOf(await link.call('CLIENT', ['LIST'])).split('\n')
  return clients
    .filter((client) => / cmd=blmove/.test(client) && / flags=\w*b/.test(client))
    .map((client) => /(?<=^id=)\d+/.exec(client)?.[0] ?? '')
}

async function waits(count = 1): Promise<readonly string[]> {
  await until(async () => (await waiting()).length === count, `${count} claims wait`)
  return waiting()
}

const length = async (list: string): Promise<number> => integerOf(await link.call('LLEN', [list]))
const held = async (): Promise<number> => integerOf(await link.call('HLEN', ['unacked']))

test('a lone message needs no news of it: the claim that waits brings it, and the next one, too', async () => {
  await link.call('ACL', ['SETUSER', 'deaf', 'on', 'nopass', '~*', '&*', '+@all', '-client|tracking'])
  const sender = await connect()
  const inbox = await Inbox.open(await connect({ url: server.url.replace('//', '//deaf:any@') }))
  for (const [index, id] of ['a', 'b', 'c'].entries()) {
    await waits()
    await publish(sender, id)
    const delivery = await inbox.gone(index)
    expect(delivery).toMatchObject({ redelivered: false, deliveries: 0 })
    delivery.ack()
  }
  await until(async () => (await held()) === 0, 'all are settled')
})

test('what comes beside the one that it waits for comes, too: more of its list, other priorities, other queues', async () => {
  const sender = await connect()
  const inbox = await Inbox.open(await connect(), { queues: ['q', 'other'] })
  await waits()
  await Promise.all(Array.from({ length: 20 }, (_, index) => publish(sender, `burst-${index}`)))
  await inbox.gets(20)
  for (const delivery of inbox.deliveries) delivery.ack()
  await waits()
  await publish(sender, 'elsewhere', 'other')
  const elsewhere = await inbox.gone(20)
  elsewhere.ack()
  await waits()
  await sender.publish(message({ id: 'late', priority: 9 }), to, { deadlineMs: 20_000 })
  const late = await inbox.gone(21)
  // Busy, and a second one comes.
  await publish(sender, 'meanwhile')
  expect((await inbox.gone(22)).message.headers.id).toBe('meanwhile')
  late.ack()
})

test('prefetch holds for it as well', async () => {
  const sender = await connect()
  const inbox = await Inbox.open(await connect(), { prefetch: 2 })
  await waits()
  await Promise.all(Array.from({ length: 6 }, (_, index) => publish(sender, `m${index}`)))
  await inbox.gets(2)
  expect(await length('q')).toBe(4)
  for (let count = 2; count < 6; count++) {
    inbox.deliveries[count - 2]?.ack()
    await inbox.gets(count + 1)
  }
})

test('several wait: each message is claimed once, and not by one of them alone', async () => {
  const sender = await connect()
  const inboxes = [await Inbox.open(await connect()), await Inbox.open(await connect()), await Inbox.open(await connect())]
  const all = () => inboxes.flatMap((inbox) => inbox.deliveries)
  for (let count = 1; count <= 9; count++) {
    await waits(3)
    await publish(sender, `m${count}`)
    await until(() => all().length === count, 'it came')
    for (const delivery of all()) if (delivery.message.headers.id === `m${count}`) delivery.ack()
    await until(async () => (await held()) === 0, 'it is settled')
  }
  expect(new Set(all().map((delivery) => delivery.message.headers.id)).size).toBe(9)
  // Who has run one waits behind the others.
  expect(Math.max(...inboxes.map((inbox) => inbox.deliveries.length))).toBeLessThan(9)
})

test('a consumer that is cancelled, or leaves the queue, takes no message any more', async () => {
  const sender = await connect()
  const { consumer } = await Inbox.open(await connect(), { queues: ['q', 'other'] })
  await waits()
  await consumer.cancelQueue('q')
  await publish(sender, 'left')
  await waits()
  expect(await length('q')).toBe(1)
  await consumer.cancel()
  expect(await waiting()).toEqual([])
  await publish(sender, 'cancelled', 'other')
  expect(await length('other')).toBe(1)
  expect(await held()).toBe(0)
})

test('a connection that waits is closed at once', async () => {
  const connection = await connect({ longestSilenceMs: 60_000 })
  await Inbox.open(connection)
  await waits()
  const before = performance.now()
  await connection.close()
  // No wait ends by itself before.
  expect(performance.now() - before).toBeLessThan(4_000)
  expect(await waiting()).toEqual([])
})

test('a user who may not wait gets messages by their news', async () => {
  await link.call('ACL', ['SETUSER', 'impatient', 'on', 'nopass', '~*', '&*', '+@all', '-blmove'])
  const sender = await connect()
  const inbox = await Inbox.open(await connect({ url: server.url.replace('//', '//impatient:any@') }))
  for (const [index, id] of ['a', 'b', 'c'].entries()) {
    await publish(sender, id)
    const delivery = await inbox.gone(index)
    delivery.ack()
    await settled()
  }
  expect(await waiting()).toEqual([])
})

test('the server ends the connection that waits: messages come all the same, and the next claim waits on another', async () => {
  const sender = await connect()
  const inbox = await Inbox.open(await connect({ clock: systemClock }))
  for (let index = 0; index < 3; index++) {
    const [id = ''] = await waits()
    await link.call('CLIENT', ['KILL', 'ID', id])
    await publish(sender, `m${index}`)
    const delivery = await inbox.gone(index)
    delivery.ack()
  }
})

test('a claim whose answer was lost is found again, uncounted', async () => {
  await using proxy = await FaultProxy.to(server.port)
  const sender = await connect()
  const inbox = await Inbox.open(await connect({ url: proxy.url(server.url), clock: systemClock, longestSilenceMs: 1_000 }))
  await waits()
  proxy.blackhole()
  await publish(sender, 'm')
  await until(async () => (await held()) === 1, 'the server has claimed it for the one who waited')
  proxy.rst()
  proxy.clear()
  const delivery = await inbox.gone(0)
  expect(delivery).toMatchObject({ redelivered: false, deliveries: 0 })
  delivery.ack()
  await until(async () => (await held()) === 0, 'it is settled')
})

test('a server without memory for it is not asked again and again', async () => {
  const sender = await connect()
  const inbox = await Inbox.open(await connect())
  await waits()
  await link.call('CONFIG', ['SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction'])
  try {
    await link.call('CONFIG', ['RESETSTAT'])
    await inbox.consumer.addQueue('other')
    for (const id of await waiting()) await link.call('CLIENT', ['UNBLOCK', id])
    await until(async () => (await waiting()).length === 0, 'none waits')
    await settled()
    const calls = /cmdstat_blmove:.*?(?:rejected_calls=(\d+))/.exec(textOf(await link.call('INFO', ['commandstats'])))?.[1] ?? '0'
    expect(Number(calls)).toBeLessThan(3)
  } finally {
    await link.call('CONFIG', ['SET', 'maxmemory', '0'])
  }
  await publish(sender, 'after')
  await inbox.gone(0)
})

test('large messages are claimed only: they do not go to every idle worker', async () => {
  const sender = await connect()
  const inbox = await Inbox.open(await connect())
  await waits()
  await sender.publish(message({ id: 'large', body: 'x'.repeat(20_000) }), to, { deadlineMs: 20_000 })
  const large = await inbox.gone(0)
  large.ack()
  await until(async () => (await held()) === 0, 'it is settled')
  await settled()
  expect(await waiting()).toEqual([])
  await publish(sender, 'small')
  await inbox.gone(1)
})
