import { setImmediate } from 'node:timers'
import type { AppCore } from '../app/core.js'
import { executeWith } from '../app/execute.js'
import type { Sender } from '../app/sender.js'
import { systemClock } from '../internal/clock.js'
import { InlinePool } from '../pools/inline.js'
import { TaskConsumer } from '../worker/consumer.js'
import { Presence } from '../worker/presence.js'
import { RateLimits } from '../worker/rate-limits.js'
import { RefusalLog } from '../worker/refusal-log.js'
import { RevokedTasks } from '../worker/revoked.js'
import { Settler } from '../worker/settler.js'
import type { Published, PublishLog } from './publish-log.js'

const hostname = 'test@memory'

/** The worker's pipeline over the memory broker, until nothing is due: consumer, pool and settler are those of every worker. */
export async function runDue(
  core: AppCore,
  sender: Sender,
  published: PublishLog,
  wanted: (published: Published) => boolean,
): Promise<void> {
  const backend = await core.connections.backend()
  const connection = await core.connections.connect()
  const refusals = new RefusalLog(core)
  const { events, counts } = new Presence(core, hostname, { heartbeat: false }, () => 0)
  const limits = new RateLimits(core, { holdsAll: true })
  const settler = new Settler({ core, sender, backend, connection, refusals, events, hostname, isHeld: () => false })
  let tasks: TaskConsumer | undefined
  const host = { storeState: async (taskId: string, state: string, meta: unknown) => tasks?.report(taskId, state, meta) }
  const pool = new InlinePool({
    name: 'async',
    concurrency: 100,
    execute: executeWith(core, sender),
    host,
    clock: systemClock,
    maxBlockMs: 0,
  })
  tasks = new TaskConsumer({
    core,
    backend,
    pool,
    settler,
    refusals,
    events,
    counts,
    revoked: new RevokedTasks(() => core.clock.monotonic()),
    limits,
    hostname,
    queues: { isPaused: () => false },
  })
  const isDue = (one: Published): boolean => wanted(one) && (one.notBefore === undefined || one.notBefore <= core.clock.now())
  published.drains++
  try {
    await pool.start()
    const consumer = await connection.consume({ queues: [], prefetch: 1_000, onDeliveries: tasks.take })
    const queues = new Set<string>()
    while (tasks.activeCount > 0 || published.waiting.some(isDue)) {
      // A task that runs may wait for one that it sends to a queue that nobody has taken from yet.
      const inOtherQueue = new Promise<void>((resolve) => {
        published.onWaiting = (one) => {
          if (!queues.has(one.queue) && isDue(one)) resolve()
        }
      })
      for (const { queue } of published.waiting.filter(isDue)) {
        if (queues.has(queue)) continue
        queues.add(queue)
        await consumer.addQueue(queue)
      }
      await (tasks.activeCount > 0 ? Promise.race([tasks.idle(), inOtherQueue]) : new Promise((resolve) => setImmediate(resolve)))
    }
    await consumer.cancel()
  } finally {
    published.drains--
    published.onWaiting = () => {}
    refusals.flush()
    await pool.stop({ signal: AbortSignal.abort() })
    await limits.shared.close()
    await connection.close()
  }
}
