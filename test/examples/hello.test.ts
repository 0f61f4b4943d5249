/** What `npm start` runs. It checks its results itself and ends with another exit code when one is wrong. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const main = fileURLToPath(new URL('../../examples/hello/main.mjs', import.meta.url))

test('npm start shows each result and ends by itself with exit code 0', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-hello-')))
  try {
    const env = { ...process.env, CELERIAC_BROKER_URL: `sqlite://${folder}/queue.db` }
    const { status, stdout, stderr } = spawnSync(process.execPath, [main], { env, encoding: 'utf8', timeout: 80_000 })
    expect(stdout).toMatch(/add\.delay\(2, 3\) +5\n/)
    expect(stdout).toMatch(/DivisionByZero: 1 \/ 0 has no value/)
    expect(stdout).toMatch(/1004 tasks in [\d.]+ s/)
    // Whatever is on stderr was said by the worker.
    expect(stderr.split('\n').filter((line) => line !== '' && !line.startsWith('worker | '))).toEqual([])
    expect(status).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
