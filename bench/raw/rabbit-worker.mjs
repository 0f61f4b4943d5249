// @ts-check
// What a client library can do at all on RabbitMQ: 100 messages in flight, each parsed and run, 50 acknowledged with one frame. No results, nothing is checked.
import amqplib from 'amqplib'
import { mark } from '../marks.mjs'

const inFlight = 100
const inOneAck = 50
const queue = 'celery'

const connection = await amqplib.connect(process.env.BENCH_BROKER ?? 'amqp://127.0.0.1')
const channel = await connection.createChannel()
await channel.prefetch(inFlight)
process.once('SIGTERM', () => process.exit(0))
let done = 0
/** @type {NodeJS.Timeout | undefined} */
let rest
await channel.consume(queue, (message) => {
  if (message === null) return
  const [[x, y]] = JSON.parse(message.content.toString())
  mark()
  if (!Number.isFinite(x + y) || message.properties.headers?.id === undefined) throw new Error('this is none of the tasks')
  done++
  clearTimeout(rest)
  if (done % inOneAck === 0) channel.ack(message, true)
  // The last ones.
  else rest = setTimeout(() => channel.ack(message, true), 100)
})
