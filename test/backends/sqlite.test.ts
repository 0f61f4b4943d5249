import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openBackend } from '../../dist/backends/index.js'
import { SqliteBackend } from '../../dist/backends/sqlite.js'
import { systemClock } from '../../dist/internal/clock.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { meta, testBackend } from '../conformance/backend.js'

testBackend({
  name: 'sqlite',
  open: async (clock) => {
    const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
    return {
      backend: () => SqliteBackend.open('sqlite://./queue.db', { clock, cwd: directory }),
      dispose: async () => rmSync(directory, { recursive: true }),
    }
  },
})

test('what has expired goes while new results come, without anybody asking', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const clock = new VirtualClock()
  const backend = await SqliteBackend.open('sqlite://./queue.db', { clock, cwd: directory })
  const storeMany = (prefix: string): Promise<unknown> =>
    Promise.all(Array.from({ length: 500 }, (_, index) => backend.store(meta(`${prefix}-${index}`), { expiresSeconds: 10 })))
  await storeMany('old')
  await clock.moveTo(clock.now() + 10_000)
  for (let round = 0; round < 5; round++) await storeMany(`new${round}`)
  // Whatever was not removed on the way, a full cleanup still finds.
  expect(await backend.cleanup({ nowMs: clock.now() })).toBe(0)
  await backend.close()
  rmSync(directory, { recursive: true })
})

test('of two processes that end the same 1 000 tasks, one wins each, and a wait in a third sees every winner', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const url = `sqlite://${directory}/queue.db`
  const backend = await openBackend(url, { clock: systemClock })
  const racers = ['SUCCESS', 'FAILURE'].map((status) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./race-process.mjs', import.meta.url)), url, status, '1000'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    return { status, child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
  })
  try {
    for (const racer of racers) expect((await racer.lines.next()).value).toBe('ready')
    const ids = Array.from({ length: 1_000 }, (_, index) => `t${index}`)
    const ends = new Map<string, string>()
    const waiting = (async () => {
      for await (const state of backend.wait(ids, { signal: AbortSignal.timeout(20_000) })) ends.set(state.taskId, state.status)
    })()
    for (const racer of racers) racer.child.stdin.write('go\n')
    const exits = racers.map((racer) => once(racer.child, 'exit'))
    const won = await Promise.all(racers.map(async (racer) => JSON.parse(String((await racer.lines.next()).value)) as number[]))
    await Promise.all(exits)
    await waiting
    expect([...(won[0] ?? []), ...(won[1] ?? [])].sort((a, b) => a - b)).toEqual(ids.map((_, index) => index))
    for (const [turn, racer] of racers.entries()) for (const index of won[turn] ?? []) expect(ends.get(`t${index}`)).toBe(racer.status)
  } finally {
    for (const racer of racers) racer.child.kill('SIGKILL')
    await backend.close()
    rmSync(directory, { recursive: true })
  }
})
