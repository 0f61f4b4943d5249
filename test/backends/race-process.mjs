// Stores an end of each of `count` tasks, at the same time as another process does, and tells which it won.
import { openBackend } from '../../dist/backends/index.js'
import { RedisBackend } from '../../dist/backends/redis.js'
import { systemClock } from '../../dist/internal/clock.js'
import { redisTarget } from '../../dist/internal/redis/target.js'

const [url, status, count] = process.argv.slice(2)
const clock = systemClock
const backend = url?.startsWith('redis:')
  ? new RedisBackend(redisTarget(url, { clock, longestSilenceMs: 7_000 }), { globalKeyprefix: '' }, { clock })
  : await openBackend(url ?? '', { clock })
process.stdout.write('ready\n')
await new Promise((resolve) => process.stdin.once('data', resolve))
const won = []
for (let index = 0; index < Number(count); index++) {
  const meta = { taskId: `t${index}`, status, result: null, traceback: null, children: [], dateDone: null }
  if (await backend.store(meta, { expiresSeconds: 60 })) won.push(index)
}
await backend.close()
process.stdout.write(`${JSON.stringify(won)}\n`)
process.exit(0)
