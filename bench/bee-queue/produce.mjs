// @ts-check
import Queue from 'bee-queue'
import { data } from '../job-tasks.mjs'
import { monotonicNs } from '../marks.mjs'
import { produce } from '../producer.mjs'

// As its documentation has it for a process that only adds.
const queue = new Queue('bench', { redis: { url: process.env.BENCH_REDIS }, isWorker: false, getEvents: false, storeJobs: false })
/** @param {string} name @param {object} values */
const job = (name, values) => queue.createJob({ name, ...values })

await produce({
  send: async (kind) => (await job(kind, data[kind]).save()).id,
  bulk: (count) => queue.saveAll(Array.from({ length: count }, () => job('add', data.add))),
  stamp: () => job('stamped', { sentNs: monotonicNs() }).save(),
})
await queue.close()
