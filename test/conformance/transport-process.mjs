// A second process of a broker, for transport-processes.ts: reads commands on stdin, one JSON a line, and tells what happens on stdout.
import { createInterface } from 'node:readline'
import { systemClock } from '../../dist/internal/clock.js'
import { openTransport } from '../../dist/transports/index.js'

const [url] = process.argv.slice(2)
const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)
const connection = await (await openTransport(url, { clock: systemClock })).connect({ signal: AbortSignal.timeout(5_000) })
const held = new Map()

const message = (id) => ({
  body: '[[], {}, null]',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: { id, task: 'add' },
  properties: { correlationId: id, deliveryMode: 2 },
})

/** @param {import('../../dist/transport.js').Delivery} delivery @param {string} id */
function watchLoss(delivery, id) {
  const timer = setInterval(() => {
    if (!delivery.isLost) return
    clearInterval(timer)
    tell({ event: 'lost', id })
  }, 20)
}

const commands = {
  async consume({ queues, prefetch, acks = false }) {
    await connection.consume({
      queues,
      prefetch,
      onDeliveries(deliveries) {
        for (const delivery of deliveries) {
          const id = delivery.message.headers.id
          held.set(id, delivery)
          watchLoss(delivery, id)
          tell({ event: 'delivery', id, deliveries: delivery.deliveries, redelivered: delivery.redelivered })
          if (acks) delivery.ack()
        }
      },
    })
    tell({ event: 'consuming' })
  },
  /** `atOnce` in one tick, then the next. */
  async publish({ queue, count, prefix = 'n', atOnce = count }) {
    for (let from = 0; from < count; from += atOnce) {
      const ids = Array.from({ length: Math.min(atOnce, count - from) }, (_, index) => `${prefix}${from + index}`)
      await Promise.all(
        ids.map(async (id) => {
          await connection.publish(message(id), { exchange: '', routingKey: queue }, { deadlineMs: 10_000 })
          tell({ event: 'published', id })
        }),
      )
    }
  },
  /** Publishes for a while, `atOnce` in each tick; how many, and the longest that one took. */
  async flood({ queue, ms, atOnce }) {
    const from = performance.now()
    let count = 0
    let worstMs = 0
    while (performance.now() - from < ms) {
      const startedMs = performance.now()
      const publishing = Array.from({ length: atOnce }, () =>
        connection.publish(message('flood'), { exchange: '', routingKey: queue }, { deadlineMs: 10_000 }),
      )
      await Promise.all(publishing)
      worstMs = Math.max(worstMs, performance.now() - startedMs)
      count += atOnce
    }
    tell({ event: 'flooded', count, worstMs })
  },
  async ack({ id }) {
    held.get(id)?.ack()
  },
  async counters() {
    tell({ event: 'counters', ...connection.counters })
  },
  async declare({ topology }) {
    await connection.declare(topology)
    tell({ event: 'declared' })
  },
  async close() {
    await connection.close()
    tell({ event: 'closed' })
    process.exit(0)
  },
}

connection.closed.then((error) => (error === undefined ? undefined : tell({ event: 'failed', message: error.message })))
createInterface({ input: process.stdin }).on('line', (line) => {
  const { command, ...options } = JSON.parse(line)
  commands[command](options).catch((error) => tell({ event: 'error', command, code: error.code, message: error.message }))
})
tell({ event: 'ready' })
