/** Workflows over RabbitMQ (reliability.md B.9): those rows in which the broker has a part. C9 is in amqp-server.test.ts, with a node of its own. */
import { beforeAll } from 'vitest'
import { amqpTestAt } from '../harness/amqp-fault-test.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'
import { canvasRows } from './canvas-rows.js'

let url = ''
beforeAll(async () => {
  if (!withoutRabbit()) url = (await virtualHost()).url
}, 120_000)
const amqpTest = amqpTestAt(() => url)

canvasRows((row, body) => {
  const hasPart =
    row.variant === 'random' || (row.id === 'C4' && row.variant === 'prefork' && /after_count|ack/.test(row.promise.split(',')[0] ?? ''))
  if (hasPart) amqpTest({ ...row, type: 'classic', depth: /ack/.test(row.promise) ? undefined : 'full' }, body)
})
