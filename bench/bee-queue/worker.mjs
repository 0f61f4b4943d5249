// @ts-check
import Queue from 'bee-queue'
import { tasks } from '../job-tasks.mjs'

// Jobs that have succeeded are removed, as its documentation advises; their results are told and not kept.
const queue = new Queue('bench', { redis: { url: process.env.BENCH_REDIS }, removeOnSuccess: true })
queue.process(Number(process.env.BENCH_CONCURRENCY ?? 50), async ({ data }) => tasks[data.name]?.(data))
queue.on('error', (error) => console.error(error))
process.once('SIGTERM', () => void queue.close().then(() => process.exit(0)))
