/** What a consumer of RabbitMQ gives out, where its queues are of both types. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import type { Connection } from '../../../dist/transport.js'
import { Inbox, message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'
import { type VirtualHost, virtualHost, withoutRabbit } from '../../rabbit.js'
import { transportTo } from '../amqp-broker.js'

describe.skipIf(withoutRabbit())('a consumer of queues of both types', () => {
  let host: VirtualHost
  let connection: Connection
  beforeAll(async () => {
    host = await virtualHost()
  }, 120_000)
  afterEach(() => connection.close())

  async function open(): Promise<Inbox> {
    connection = await transportTo(host.url, systemClock).connect({ signal: AbortSignal.timeout(10_000) })
    await connection.declare(topology(queue('strict', { arguments: { 'x-queue-type': 'quorum' } }), queue('plain')))
    return Inbox.open(connection, { queues: ['strict', 'plain'], prefetch: 10 })
  }
  const send = (to: string, id: string, headers: object = {}) =>
    connection.publish(message({ id, headers: { id, task: 'add', ...headers } }), { exchange: '', routingKey: to }, { deadlineMs: 20_000 })

  test('a quorum queue that nothing comes from holds up no other', async () => {
    const inbox = await open()
    for (const id of ['1', '2', '3']) await send('plain', id)
    for (const delivery of await inbox.gets(3)) delivery.ack()
  })

  test('what has lost its worker often runs alone of those that RabbitMQ counts; a classic queue goes on', async () => {
    const inbox = await open()
    await send('strict', 'suspicious', { 'x-celeriac-deliveries': 3 })
    const suspicious = await inbox.gone(0)
    for (const id of ['a', 'b']) await send('strict', id)
    for (const id of ['1', '2', '3']) await send('plain', id)
    await inbox.gets(4)
    expect(inbox.ids.slice(1)).toEqual(['1', '2', '3'])
    suspicious.ack()
    await until(() => inbox.deliveries.length === 6, 'the others')
    expect(inbox.ids.slice(4)).toEqual(['a', 'b'])
    for (const delivery of inbox.deliveries) delivery.ack()
  })
})
