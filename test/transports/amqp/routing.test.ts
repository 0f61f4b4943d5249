/** Exchanges and bindings as an app describes them, on RabbitMQ. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Celeriac } from '../../../dist/index.js'
import { systemClock } from '../../../dist/internal/clock.js'
import { exchange, message, queue, topology } from '../../conformance/transport.js'
import { type VirtualHost, virtualHost, withoutRabbit } from '../../rabbit.js'
import { transportTo } from '../amqp-broker.js'

describe.skipIf(withoutRabbit())('routing on RabbitMQ', () => {
  let host: VirtualHost
  const apps: Celeriac[] = []

  beforeAll(async () => {
    host = await virtualHost()
  }, 120_000)
  afterEach(async () => {
    for (const app of apps.splice(0)) await app.close()
  })

  const appWith = (options: ConstructorParameters<typeof Celeriac>[1]): Celeriac => {
    const app = new Celeriac('routing', { brokerUrl: host.url, resultBackend: 'disabled', ...options })
    apps.push(app)
    return app
  }
  const sizes = async (...names: string[]): Promise<number[]> => {
    const connection = await transportTo(host.url, systemClock).connect({ signal: AbortSignal.timeout(10_000) })
    const found: number[] = []
    for (const name of names) found.push(await connection.size(name))
    await connection.close()
    return found
  }

  test('a headers exchange routes by the headers of the call', async () => {
    const at = (region: string) => ({
      name: `orders-${region}`,
      exchange: 'regions',
      exchangeType: 'headers' as const,
      bindingArguments: { 'x-match': 'all', region },
    })
    const app = appWith({ taskQueues: [at('eu'), at('us')] })
    await app.sendTask('ship', {}, { exchange: 'regions', headers: { region: 'eu' } })
    await app.sendTask('ship', {}, { exchange: 'regions', headers: { region: 'eu', more: 1 } })
    await app.sendTask('ship', {}, { exchange: 'regions', headers: { region: 'mars' } })
    expect(await sizes('orders-eu', 'orders-us')).toEqual([2, 0])
  })

  test('a queue has several bindings, to several exchanges', async () => {
    const app = appWith({
      taskQueues: [
        {
          name: 'feeds',
          exchange: 'news',
          exchangeType: 'topic',
          bindings: [{ routingKey: 'sport.*' }, { routingKey: '#.urgent' }, { exchange: 'alerts', routingKey: 'fire.#' }],
        },
      ],
    })
    for (const [to, routingKey] of [
      ['news', 'sport.tennis'],
      ['news', 'weather.storm.urgent'],
      ['news', 'weather.sun'],
      ['alerts', 'fire.north'],
    ] as const)
      await app.sendTask('read', {}, { exchange: to, routingKey })
    expect(await sizes('feeds')).toEqual([3])
  })

  test('queues of a type: the default one, and those that are made when they are used', async () => {
    const app = appWith({ taskDefaultQueue: 'qd', taskDefaultQueueType: 'quorum', taskCreateMissingQueueType: 'quorum' })
    await app.sendTask('a')
    await app.sendTask('a', {}, { queue: 'made' })
    const connection = await transportTo(host.url, systemClock).connect({ signal: AbortSignal.timeout(10_000) })
    for (const name of ['qd', 'made']) {
      await connection.declare(topology(queue(name, { arguments: { 'x-queue-type': 'quorum' } })))
      await expect(connection.declare(topology(queue(name)))).rejects.toMatchObject({ code: 'ERR_DECLARATION_MISMATCH' })
    }
    await connection.close()
  })

  test.each([
    ['stream', {}, /a stream keeps what is done with/],
    ['quorum', { 'x-max-priority': 3 }, /RabbitMQ says .*x-max-priority/],
    ['nonsense', {}, /RabbitMQ says .*x-queue-type/],
  ])('a queue of type %s that cannot be is refused for good, and says why', async (type, more, words) => {
    const app = appWith({ taskQueues: [{ name: 'never', arguments: { 'x-queue-type': type, ...more } }] })
    const sent = app.sendTask('a', {}, { queue: 'never' })
    await expect(sent).rejects.toMatchObject({ code: 'ERR_NOT_SUPPORTED', message: expect.stringMatching(words) })
  })

  test('without confirmPublish a call does not wait for the broker, and nobody is told what it loses', async () => {
    const connection = await transportTo(host.url, systemClock, { confirmPublish: false }).connect({ signal: AbortSignal.timeout(10_000) })
    await connection.declare(topology(exchange('silent', 'direct'), queue('loud')))
    await connection.publish(message(), { exchange: '', routingKey: 'nobody' }, { deadlineMs: 20_000 })
    await connection.publish(message(), { exchange: '', routingKey: 'loud' }, { deadlineMs: 20_000 })
    await connection.close()
    expect(await sizes('loud')).toEqual([1])
  })
})
