// @ts-check
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'bullmq'
import { mark, spin, stamp } from '../marks.mjs'
import { connection, queueName } from './connection.mjs'

/** @type {Record<string, (data: any) => unknown>} */
const tasks = {
  add({ x, y }) {
    mark()
    return x + y
  },
  cpu({ ms }) {
    spin(ms)
    mark()
  },
  async wait({ ms }) {
    await sleep(ms)
    mark()
  },
  stamped: ({ sentNs }) => stamp(sentNs),
}

const worker = new Worker(queueName, async (job) => tasks[job.name]?.(job.data), {
  connection: { ...connection, maxRetriesPerRequest: null },
  concurrency: Number(process.env.BENCH_CONCURRENCY ?? 50),
})
worker.on('error', (error) => console.error(error))
process.once('SIGTERM', () => void worker.close().then(() => process.exit(0)))
