/** Messages from one broker to another, between all kinds that other processes share. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Migrated, type MigrationOptions, migrate } from '../../dist/app/migration.js'
import { systemClock } from '../../dist/internal/clock.js'
import type { Connection, Delivery, Transport } from '../../dist/transport.js'
import { openTransport } from '../../dist/transports/index.js'
import { startRedis } from '../../scripts/services.mjs'
import { idOf, message, queue, topology } from '../conformance/transport.js'
import { until } from '../conformance/wait.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'

const deadlineMs = 20_000
let folder: string
let redis: Awaited<ReturnType<typeof startRedis>>
let rabbit: string | undefined
let last = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-migration-'))
  redis = await startRedis()
  if (withoutRabbit() === false) rabbit = (await virtualHost()).url
}, 180_000)
afterAll(async () => {
  await redis.stop()
  rmSync(folder, { recursive: true })
})

interface Broker extends AsyncDisposable {
  readonly transport: Transport
  readonly connection: Connection
}

/** An empty one, that nothing of another test is left in; RabbitMQ's has an empty queue. */
async function broker(kind: string): Promise<Broker> {
  const number = ++last
  const url =
    kind === 'redis' ? redis.url.replace(/\d+$/, String(number)) : kind === 'rabbitmq' ? (rabbit ?? '') : `sqlite://${folder}/${number}.db`
  const transport = await openTransport(url, { clock: systemClock })
  const connection = await transport.connect({ signal: AbortSignal.timeout(deadlineMs) })
  if (kind === 'rabbitmq') await connection.purge('q')
  return { transport, connection, [Symbol.asyncDispose]: () => connection.close() }
}

const ranked = (name: string) => topology(queue(name, { arguments: { 'x-max-priority': 9 } }))

async function fill(source: Connection, name: string, ...sent: ReturnType<typeof message>[]): Promise<void> {
  await source.declare(ranked(name))
  for (const one of sent) {
    const { eta } = one.headers
    const notBefore = typeof eta === 'string' ? { notBefore: Date.parse(eta) } : {}
    await source.publish(one, { exchange: '', routingKey: name }, { deadlineMs, ...notBefore })
  }
}

function move(source: Broker, destination: Broker, more: Partial<MigrationOptions> = {}): Promise<Migrated> {
  return migrate({
    source: source.connection,
    destination: destination.connection,
    priorities: { source: source.transport.supports.priority, destination: destination.transport.supports.priority },
    queues: new Map([['q', 'q']]),
    topology: ranked,
    limit: Number.POSITIVE_INFINITY,
    idleMs: 1_500,
    acknowledges: true,
    publishTimeoutMs: deadlineMs,
    clock: systemClock,
    signal: new AbortController().signal,
    onMoved: () => {},
    ...more,
  })
}

/** What lies in a queue, in the order in which it is served. It goes back. */
async function content({ connection }: Broker, name: string, count: number): Promise<readonly Delivery[]> {
  const deliveries: Delivery[] = []
  const consumer = await connection.consume({ queues: [name], prefetch: 100, onDeliveries: (some) => void deliveries.push(...some) })
  await until(() => deliveries.length >= count, `${count} deliveries`, deadlineMs)
  await consumer.cancel()
  for (const delivery of deliveries) delivery.release()
  return deliveries
}

const bytes = (body: string | Uint8Array): string => Buffer.from(body).toString('hex')

const pairs = [
  ['sqlite', 'redis'],
  ['redis', 'sqlite'],
  ['redis', 'rabbitmq'],
  ['rabbitmq', 'redis'],
] as const

describe.each(pairs)('from %s to %s', (from, to) => {
  const isSkipped = (from === 'rabbitmq' || (to as string) === 'rabbitmq') && withoutRabbit() !== false

  test.skipIf(isSkipped)(
    'messages are moved with their bytes, headers and etas, in the order of their priorities',
    { timeout: 90_000 },
    async () => {
      await using source = await broker(from)
      await using destination = await broker(to)
      const eta = new Date(Date.now() + 3_600_000).toISOString()
      const sent = [
        message({ id: 'none', body: '[["é", 9007199254740991], {}, null]' }),
        message({
          id: 'nine',
          priority: 9,
          body: new Uint8Array([0, 255, 128, 10]),
          contentType: 'application/x-what',
          contentEncoding: 'binary',
        }),
        message({ id: 'three', priority: 3, headers: { id: 'three', task: 'add', retries: 2, mine: { deep: [1, null, 'x'] } } }),
        message({ id: 'six', priority: 6 }),
      ]
      const later = message({ id: 'later', priority: 6, headers: { id: 'later', task: 'add', retries: 0, eta } })
      // RabbitMQ keeps what waits for its time to itself until then.
      const delayed = from === 'rabbitmq' ? [] : [later]
      await fill(source.connection, 'q', ...sent, ...delayed)
      const served = from === 'redis' ? ['none', 'three', 'six', 'nine'] : ['nine', 'six', 'three', 'none']

      const { moved } = await move(source, destination)
      expect(moved).toEqual(new Map([['q', sent.length + delayed.length]]))
      expect(await source.connection.size('q')).toBe(0)
      const isEarly = to === 'sqlite'
      if (isEarly) expect(await destination.connection.queues.facts('q')).toMatchObject({ waiting: 4, delayed: 1 })
      await destination.connection.queues.hurry('q')
      const there = await content(destination, 'q', sent.length + delayed.length)
      expect(there.map(idOf).filter((id) => id !== 'later')).toEqual(served)
      for (const one of [...sent, ...delayed]) {
        const found = there.find((delivery) => idOf(delivery) === one.headers.id)?.message
        expect(found?.headers).toEqual(one.headers)
        expect(bytes(found?.body ?? '')).toBe(bytes(one.body))
        expect([found?.contentType, found?.contentEncoding, found?.properties.correlationId]).toEqual([
          one.contentType,
          one.contentEncoding,
          one.properties.correlationId,
        ])
      }
    },
  )
})

describe('a migration', () => {
  test('takes only what it is asked for: tasks, queues under other names, a number', async () => {
    await using source = await broker('sqlite')
    await using destination = await broker('sqlite')
    const headers = (id: string, task: string) => ({ headers: { id, task, retries: 0 } })
    await fill(source.connection, 'q', message(headers('a', 'add')), message(headers('b', 'mail')), message(headers('c', 'add')))
    await fill(source.connection, 'p', message(headers('d', 'add')), message(headers('e', 'add')))
    const { moved, skipped } = await move(source, destination, {
      queues: new Map([
        ['q', 'q'],
        ['p', 'post'],
      ]),
      tasks: new Set(['add']),
    })
    expect([moved, skipped]).toEqual([
      new Map([
        ['q', 2],
        ['p', 2],
      ]),
      1,
    ])
    expect((await content(destination, 'post', 2)).map(idOf)).toEqual(['d', 'e'])
    await until(async () => (await source.connection.size('q')) === 1, 'the other one is back')
    expect((await content(source, 'q', 1)).map(idOf)).toEqual(['b'])
    expect((await move(destination, source, { limit: 1 })).moved).toEqual(new Map([['q', 1]]))
    expect(await destination.connection.size('q')).toBe(1)
  })

  test('that does not acknowledge copies', async () => {
    await using source = await broker('sqlite')
    await using destination = await broker('sqlite')
    await fill(source.connection, 'q', message({ id: 'a' }), message({ id: 'b' }))
    expect(await move(source, destination, { acknowledges: false })).toMatchObject({ moved: new Map([['q', 2]]), isFull: false })
    await until(async () => (await source.connection.size('q')) === 2, 'they are back')
    expect((await content(destination, 'q', 2)).map(idOf)).toEqual((await content(source, 'q', 2)).map(idOf))
  })

  test('leaves at the source what the destination does not take', async () => {
    await using source = await broker('sqlite')
    await using destination = await broker('sqlite')
    await fill(source.connection, 'q', message({ id: 'a' }), message({ id: 'b' }))
    const moving = move(source, destination, { idleMs: undefined, onMoved: () => void destination.connection.close() })
    await until(async () => (await source.connection.size('q')) === 0, 'both are moved, or under way')
    // One that goes on for ever ends with the first that cannot be moved.
    await source.connection.publish(message({ id: 'c' }), { exchange: '', routingKey: 'q' }, { deadlineMs })
    await expect(moving).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
    await until(async () => (await source.connection.size('q')) >= 1, 'it is back')
    expect((await content(source, 'q', 1)).map(idOf)).toContain('c')
  })

  test('that is interrupted ends with what is under way', async () => {
    await using source = await broker('sqlite')
    await using destination = await broker('sqlite')
    await fill(source.connection, 'q', message({ id: 'a' }))
    const interrupt = new AbortController()
    expect(
      await move(source, destination, { idleMs: undefined, signal: interrupt.signal, onMoved: () => interrupt.abort() }),
    ).toMatchObject({
      moved: new Map([['q', 1]]),
    })
    expect([await source.connection.size('q'), await destination.connection.size('q')]).toEqual([0, 1])
  })
})
