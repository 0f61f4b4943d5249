/** What somebody deletes at the server while it is in use: the next who needs it declares it again, and nothing that waited elsewhere is lost. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Celeriac } from '../../../dist/index.js'
import { systemClock } from '../../../dist/internal/clock.js'
import type { Connection } from '../../../dist/transport.js'
import { exchange, Inbox, idOf, message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'
import { type VirtualHost, virtualHost, withoutRabbit } from '../../rabbit.js'
import { Peek, transportTo } from '../amqp-broker.js'

const quorum = { 'x-queue-type': 'quorum' }

describe.skipIf(withoutRabbit())('deleted at RabbitMQ', () => {
  let host: VirtualHost
  const open: { close(): Promise<unknown> }[] = []

  beforeAll(async () => {
    host = await virtualHost()
  }, 120_000)
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close()
  })

  async function connect(more: Parameters<typeof transportTo>[2] = {}): Promise<Connection> {
    const connection = await transportTo(host.url, systemClock, more).connect({ signal: AbortSignal.timeout(10_000) })
    open.push(connection)
    return connection
  }
  const deleteAll = async (queues: readonly string[], exchanges: readonly string[] = []): Promise<void> => {
    await using peek = await Peek.open(host.url)
    await peek.delete(queues, exchanges)
  }

  test('a queue: the next call declares it again, whether a worker is there or not', async () => {
    const app = new Celeriac('caller', { brokerUrl: host.url, resultBackend: 'disabled', taskDefaultQueue: 'away' })
    open.push(app)
    await app.sendTask('one')
    await deleteAll(['away'], ['away'])
    await app.sendTask('two')
    await deleteAll(['away'])
    await expect(app.sendTask('three', {}, { retry: false })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
    await app.sendTask('four')
    expect(await (await connect()).purge('away')).toBe(1)
  })

  test('an exchange: the next call declares it again', async () => {
    const taskQueues = [{ name: 'topical', exchange: 'topics', exchangeType: 'topic' as const }]
    const app = new Celeriac('caller', { brokerUrl: host.url, resultBackend: 'disabled', taskQueues, taskDefaultQueue: 'topical' })
    open.push(app)
    await app.sendTask('one')
    await deleteAll([], ['topics'])
    await app.sendTask('two')
    expect(await (await connect()).purge('topical')).toBe(2)
  })

  test('the queue of the dead letters', async () => {
    const connection = await connect()
    await connection.declare(topology(queue('poisoned')))
    for (const id of ['a', 'b']) await connection.publish(message({ id }), { exchange: '', routingKey: 'poisoned' }, { deadlineMs: 20_000 })
    const inbox = await Inbox.open(connection, { queues: ['poisoned'] })
    const [a, b] = await inbox.gets(2)
    a?.reject('bad')
    await until(async () => (await connection.deadLetters.count()) === 1, 'the first is there')
    await deleteAll(['celeriac.dead'])
    b?.reject('bad, too')
    await until(async () => (await connection.deadLetters.count()) === 1, 'the second is there')
    expect((await connection.deadLetters.list()).map(({ reason }) => reason)).toEqual(['bad, too'])
  })

  test('queues whose messages wait in the delay queues, of either type: they come all the same', async () => {
    const declared = topology(queue('late-classic'), queue('late-quorum', { arguments: quorum }))
    const names = ['late-classic', 'late-quorum']
    const [worker, caller] = [await connect({ etaHeld: 0 }), await connect()]
    for (const each of [worker, caller]) await each.declare(declared)
    const inbox = await Inbox.open(worker, { queues: names })
    const send = (name: string, id: string, more: object = {}) =>
      caller.publish(message({ id }), { exchange: '', routingKey: name }, { deadlineMs: 20_000, ...more })
    for (const name of names) await send(name, `put off: ${name}`)
    const dueMs = Date.now() + 4_000
    for (const delivery of await inbox.gets(2)) delivery.defer(dueMs)
    // On a classic queue it would be the worker's.
    await send('late-quorum', 'for later', { notBefore: dueMs })
    const waiting = async (): Promise<number> =>
      (await Promise.all([0, 1, 2].map((level) => caller.size(`celery_delayed_${level}`)))).reduce((sum, size) => sum + size)
    await until(async () => (await waiting()) === 3, 'they wait at the broker')
    await deleteAll(names)
    await until(() => inbox.deliveries.length === 5, 'they come')
    expect(inbox.ids.slice(2).sort()).toEqual(['for later', 'put off: late-classic', 'put off: late-quorum'])
    for (const delivery of inbox.deliveries.slice(2)) delivery.ack()
  })

  test('a connection that publishes can have a queue of its own, and takes from it', async () => {
    const connection = await connect()
    await connection.declare(topology(queue('shared')))
    await connection.publish(message(), { exchange: '', routingKey: 'shared' }, { deadlineMs: 20_000 })
    await connection.declare(topology(exchange('own', 'fanout'), queue('own', { durable: false, exclusive: true, autoDelete: true })))
    const inbox = await Inbox.open(connection, { queues: ['own'] })
    await connection.publish(message({ id: 'mine' }), { exchange: '', routingKey: 'own' }, { deadlineMs: 20_000 })
    expect(idOf(await inbox.gone(0))).toBe('mine')
  })
})
