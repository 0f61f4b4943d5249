// @ts-check
import { Queue, QueueEvents } from 'bullmq'
import { monotonicNs } from '../marks.mjs'
import { produce } from '../producer.mjs'
import { connection, queueName } from './connection.mjs'

const queue = new Queue(queueName, { connection })
await queue.waitUntilReady()
const data = { add: { x: 2, y: 3 }, cpu: { ms: 5 }, wait: { ms: 10 } }

await produce({
  send: async (kind) => (await queue.add(kind, data[kind])).id ?? '',
  bulk: (count) => queue.addBulk(Array.from({ length: count }, () => ({ name: 'add', data: data.add }))),
  stamp: () => queue.add('stamped', { sentNs: monotonicNs() }),
  verify: async (id) => {
    const events = new QueueEvents(queueName, { connection })
    const job = await queue.getJob(id)
    await job?.waitUntilFinished(events, 20_000)
    await events.close()
  },
})
await queue.close()
