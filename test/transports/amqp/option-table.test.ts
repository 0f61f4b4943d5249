import { expect, test } from 'vitest'
import { readRpcOptions } from '../../../dist/backends/rpc/option-table.js'
import { readAmqpBrokerOptions } from '../../../dist/transports/amqp/option-table.js'

test('no task waits in a worker for longer than half of the consumer_timeout of the server', () => {
  const heldMs = (given: Record<string, unknown>) => readAmqpBrokerOptions(given).broker.etaHeldMs
  expect([heldMs({}), heldMs({ consumerTimeout: '10m' }), heldMs({ consumer_timeout: 600, etaHeldTime: '1m' })]).toEqual([
    900_000, 300_000, 60_000,
  ])
})

test('results through RabbitMQ reach it as the broker does, but for what they are told themselves', () => {
  const broker = { tls: { ca: 'ca.pem' }, heartbeat: 7, client_name: 'shop', confirm_publish: false }
  expect(readRpcOptions({ heartbeat: 3, maxReplies: 5 }, broker)).toEqual({
    maxReplies: 5,
    heartbeat: 3,
    tls: { ca: 'ca.pem' },
    clientName: 'shop',
    socketConnectTimeout: 3,
  })
})
