import { expect, test } from 'vitest'
import { readAmqpBrokerOptions } from '../../../dist/transports/amqp/option-table.js'

test('no task waits in a worker for longer than half of the consumer_timeout of the server', () => {
  const heldMs = (given: Record<string, unknown>) => readAmqpBrokerOptions(given).broker.etaHeldMs
  expect([heldMs({}), heldMs({ consumerTimeout: '10m' }), heldMs({ consumer_timeout: 600, etaHeldTime: '1m' })]).toEqual([
    900_000, 300_000, 60_000,
  ])
})
