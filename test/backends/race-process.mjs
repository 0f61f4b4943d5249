// Stores an end of each of `count` tasks, at the same time as another process does, and tells which it won.
import { openBackend } from '../../dist/backends/index.js'
import { systemClock } from '../../dist/internal/clock.js'

const [url, status, count] = process.argv.slice(2)
const backend = await openBackend(url, { clock: systemClock })
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
