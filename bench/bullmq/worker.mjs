// @ts-check
import { Worker } from 'bullmq'
import { tasks } from '../job-tasks.mjs'
import { connection, queueName } from './connection.mjs'

const worker = new Worker(queueName, async (job) => tasks[job.name]?.(job.data, job), {
  connection: { ...connection, maxRetriesPerRequest: null },
  concurrency: Number(process.env.BENCH_CONCURRENCY ?? 50),
})
worker.on('error', (error) => console.error(error))
process.once('SIGTERM', () => void worker.close().then(() => process.exit(0)))
