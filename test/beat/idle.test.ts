/** What 10 000 entries cost while nothing is due: measured in a process of their own. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const dist = fileURLToPath(new URL('../../dist/index.js', import.meta.url))

const program = `
import { Celeriac, crontab, every, solar } from ${JSON.stringify(dist)}
const app = new Celeriac('idle', { logger: { debug() {}, info() {}, warn() {}, error: console.error } })
for (let index = 0; index < 10_000; index++) {
  const schedule = index % 2 === 0 ? every(3600 + index) : crontab({ minute: (new Date().getUTCMinutes() + 5 + index % 50) % 60 }, { timezone: 'Europe/Berlin' })
  app.addPeriodicTask(schedule, app.remote('a').s(index), { name: 'entry-' + index })
}
const started = performance.now()
const beat = await app.beat().start()
const loaded = performance.now() - started
if (!beat.isLeading) throw new Error('it does not lead')
// What loading has left behind is not what waiting costs: the best of some windows counts.
let share = 1
for (let window = 0; window < 4 && share >= 0.02; window++) {
  await new Promise((resolve) => setTimeout(resolve, 500))
  const before = process.cpuUsage()
  const from = performance.now()
  await new Promise((resolve) => setTimeout(resolve, 3000))
  const { user, system } = process.cpuUsage(before)
  share = Math.min(share, (user + system) / 1000 / (performance.now() - from))
}
const { length } = await app.schedule.list()
await beat.stop()
await app.close()
console.log(JSON.stringify({ share, loaded, length }))
`

test('10 000 entries that wait take next to nothing of a processor', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-'))
  try {
    writeFileSync(join(folder, 'idle.mjs'), program)
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'idle.mjs')], { cwd: folder, timeout: 100_000 })
    const { share, length } = JSON.parse(stdout)
    expect(length).toBe(10_000)
    // Half a hundredth of it; with a look at each of them in each turn it would be a tenth.
    expect(share).toBeLessThan(0.04)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
