import type { Logger } from '../internal/logger.js'
import type { Pool } from '../pool.js'
import type { TaskConsumers } from './task-consumers.js'

/** Brings the pool to this size, and the prefetch with it; the first children may still be on their way when it settles. Never rejects. */
export async function resizePool(pool: Pool, tasks: TaskConsumers, size: number, log: Logger): Promise<void> {
  const resized = pool.resize(size)
  tasks.poolChanged()
  await resized.catch((error: unknown) => log.error({ err: error }, `the pool could not be brought to ${size}`))
}
