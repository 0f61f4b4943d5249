// @ts-check
import { FlowProducer, Queue, QueueEvents } from 'bullmq'
import { data } from '../job-tasks.mjs'
import { monotonicNs } from '../marks.mjs'
import { produce } from '../producer.mjs'
import { connection, queueName } from './connection.mjs'

const queue = new Queue(queueName, { connection })
await queue.waitUntilReady()

/** Opened by the first chord. @type {{ flows: FlowProducer, events: QueueEvents } | undefined} */
let flow

await produce({
  send: async (kind) => (await queue.add(kind, data[kind])).id ?? '',
  bulk: (count) => queue.addBulk(Array.from({ length: count }, () => ({ name: 'add', data: data.add }))),
  stamp: () => queue.add('stamped', { sentNs: monotonicNs() }),
  sendAt: (dueMs) => queue.add('late', { dueMs }, { delay: Math.max(0, dueMs - Date.now()) }),
  chord: async (count) => {
    flow ??= { flows: new FlowProducer({ connection }), events: new QueueEvents(queueName, { connection }) }
    await flow.events.waitUntilReady()
    const children = Array.from({ length: count }, () => ({ name: 'add', queueName, data: data.add }))
    const { job } = await flow.flows.add({ name: 'total', queueName, data: {}, children })
    return job.waitUntilFinished(flow.events, 600_000)
  },
  verify: async (id) => {
    const events = new QueueEvents(queueName, { connection })
    const job = await queue.getJob(id)
    await job?.waitUntilFinished(events, 20_000)
    await events.close()
  },
})
await Promise.all([queue.close(), flow?.flows.close(), flow?.events.close()])
