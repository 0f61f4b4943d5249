/** Two processes that end the same tasks at the same time. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { ResultBackend } from '../../dist/backend.js'

const tasks = 1_000

/** One wins each, and a wait in a third process, of `backend`, sees every winner. */
export async function expectOneWinnerEach(url: string, backend: ResultBackend): Promise<void> {
  const racers = ['SUCCESS', 'FAILURE'].map((status) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./race-process.mjs', import.meta.url)), url, status, String(tasks)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    return { status, child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
  })
  try {
    for (const racer of racers) expect((await racer.lines.next()).value).toBe('ready')
    const ids = Array.from({ length: tasks }, (_, index) => `t${index}`)
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
  }
}
