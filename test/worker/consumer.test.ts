/** A worker's consumer by itself, over the memory broker and the pool of this process. */
import { expect, test } from 'vitest'
import { executeWith } from '../../dist/app/execute.js'
import { Celeriac } from '../../dist/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { Deferred } from '../../dist/internal/deferred.js'
import { InlinePool } from '../../dist/pools/inline.js'
import { TaskConsumer } from '../../dist/worker/consumer.js'
import { Presence } from '../../dist/worker/presence.js'
import { RateLimits } from '../../dist/worker/rate-limits.js'
import { RefusalLog } from '../../dist/worker/refusal-log.js'
import { RevokedTasks } from '../../dist/worker/revoked.js'
import { Settler } from '../../dist/worker/settler.js'
import { LiveApp, until } from '../live-app.js'

const hostname = 'test@memory'

test('all who wait until nothing is held are told: the end of a worker, and the connection that it left because it was deaf', async () => {
  await using live = new LiveApp()
  const { core, sender } = Celeriac.internals(live.app)
  const gate = new Deferred<void>()
  live.app.task('hold', () => gate.promise)
  const [backend, connection] = [await core.connections.backend(), await core.connections.connect()]
  const refusals = new RefusalLog(core)
  const { events, counts } = new Presence(core, hostname, { heartbeat: false }, () => 0)
  const pool = new InlinePool({
    name: 'async',
    concurrency: 1,
    execute: executeWith(core, sender),
    host: { storeState: async () => {} },
    clock: systemClock,
    maxBlockMs: 0,
  })
  await pool.start()
  const tasks = new TaskConsumer({
    core,
    backend,
    pool,
    settler: new Settler({ core, sender, backend, connection, refusals, events, hostname, isHeld: () => false }),
    refusals,
    events,
    counts,
    revoked: new RevokedTasks(() => core.clock.monotonic()),
    limits: new RateLimits(core),
    hostname,
    queues: { isPaused: () => false },
  })
  await live.app.sendTask('hold')
  await connection.consume({ queues: ['celery'], prefetch: 1, onDeliveries: tasks.take })
  await until(() => tasks.held[0]?.run?.start)
  const waits = [tasks.idle(), tasks.idle()]
  gate.resolve()
  await expect(Promise.all(waits)).resolves.toHaveLength(2)
  await pool.stop({ signal: AbortSignal.abort() })
  await connection.close()
})
