// @ts-check
import { Queue, QueueEvents } from 'bullmq'
import { data } from '../job-tasks.mjs'
import { monotonicNs } from '../marks.mjs'
import { produce } from '../producer.mjs'
import { connection, queueName } from './connection.mjs'

const queue = new Queue(queueName, { connection })
await queue.waitUntilReady()

await produce({
  send: async (kind) => (await queue.add(kind, data[kind])).id ?? '',
  bulk: (count) => queue.addBulk(Array.from({ length: count }, () => ({ name: 'add', data: data.add }))),
  stamp: () => queue.add('stamped', { sentNs: monotonicNs() }),
  sendAt: (dueMs) => queue.add('late', { dueMs }, { delay: Math.max(0, dueMs - Date.now()) }),
  verify: async (id) => {
    const events = new QueueEvents(queueName, { connection })
    const job = await queue.getJob(id)
    await job?.waitUntilFinished(events, 20_000)
    await events.close()
  },
})
await queue.close()
