// @ts-check
// What a beat costs whose entries all wait.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cpuMicrosOf } from './process-tree.mjs'
import { inPlace } from './systems.mjs'

const program = fileURLToPath(new URL('celeriac/beat.mjs', import.meta.url))
const settleMs = 3_000
const watchedMs = 10_000

/** @param {import('./systems.mjs').System} system @returns {import('./rows.mjs').Row} */
export function beatIdleRow(system) {
  const { broker } = system
  return {
    name: 'beat-idle',
    title: 'A beat whose entries all wait: share of one CPU',
    bases: ['none'],
    variants: [
      { name: 'none', label: 'no entries', broker, run: () => beatIdle(system, 0) },
      { name: 'many', label: '10,000 entries', broker, run: () => beatIdle(system, 10_000) },
    ],
  }
}

/** @param {import('./systems.mjs').System} system @param {number} entries @returns {Promise<Record<string, number>>} */
function beatIdle(system, entries) {
  return inPlace(system, async ({ env, folder }) => {
    const child = spawn(process.execPath, [program], {
      env: { ...env, BENCH_ENTRIES: String(entries) },
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(child, 'exit')
    try {
      const [said] = await Promise.race([once(child.stdout, 'data'), ended])
      if (String(said) !== 'leading\n') throw new Error(`beat ended before it led: ${said}`)
      // What loading has left behind is not what waiting costs.
      await sleep(settleMs)
      const before = cpuMicrosOf(child.pid ?? 0)
      const fromMs = performance.now()
      await sleep(watchedMs)
      const after = cpuMicrosOf(child.pid ?? 0)
      if (before === undefined || after === undefined) return {}
      return { cpuPercent: (after - before) / 10 / (performance.now() - fromMs) }
    } finally {
      child.kill('SIGTERM')
      await ended
    }
  })
}
