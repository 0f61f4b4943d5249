/** The rows P of the fault catalogue, with real processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../dist/internal/clock.js'
import { ProcessPool, type ProcessPoolOptions } from '../../dist/pools/processes.js'
import { request, resultOf } from '../conformance/pool.js'
import { until, within } from '../conformance/wait.js'

const fixtures = new URL('./fixtures/', import.meta.url)
let dir: string
let pools: ProcessPool[] = []
let seenPids: Set<number>
const spawned: ChildProcess[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'celeriac-faults-'))
  pools = []
  seenPids = new Set()
})

afterEach(async () => {
  for (const pool of pools) {
    for (const pid of pool.pids) seenPids.add(pid)
    await within(pool.stop({ signal: AbortSignal.abort() }), 'stop')
    expect(pool.pids).toEqual([])
  }
  for (const child of spawned.splice(0)) child.kill('SIGKILL')
  await until(() => [...seenPids].every((pid) => !alive(pid)), 'no process is left')
  rmSync(dir, { recursive: true })
})

function makePool(options: Partial<ProcessPoolOptions> = {}): ProcessPool {
  const pool = new ProcessPool({
    size: 2,
    entry: new URL('child.mjs', fixtures),
    env: { ...process.env },
    output: 'ignore',
    host: { storeState: async () => {} },
    clock: systemClock,
    log: { warn() {}, error() {} },
    ...options,
  })
  pools.push(pool)
  return pool
}

async function startPool(options?: Partial<ProcessPoolOptions>): Promise<ProcessPool> {
  const pool = makePool(options)
  await within(pool.start(), 'start')
  return pool
}

/** A zombie that nobody has waited for yet is not alive. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return process.platform !== 'linux' || !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function lines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}

/** Starts a script of the fixtures and gives its first line. */
async function firstLine(script: string, args: readonly string[] = []): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL(script, fixtures)), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  spawned.push(child)
  const line = new Promise<string>((resolve) => createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', resolve))
  return { child, line: await within(line, `the first line of ${script}`) }
}

describe('a child that dies', () => {
  test('P2: kill -9 of a child loses its task only, and the slot is back within a second', async () => {
    const pool = await startPool()
    const go = join(dir, 'go')
    const victim = pool.run(request('spin', { continuations: { callbacks: [1], errbacks: null, chain: null, chord: null } }))
    const neighbour = pool.run(request('wait', { until: go }))
    const [{ pid }] = await within(Promise.all([victim.accepted, neighbour.accepted]), 'both run')
    seenPids.add(pid)
    process.kill(pid, 'SIGKILL')
    expect(await within(victim.outcome, 'lost')).toMatchObject({
      status: 'killed',
      by: 'lost',
      pid,
      detail: expect.stringContaining('SIGKILL'),
      continuations: { callbacks: [1] },
    })
    resultOf(await within(pool.run(request('noop')).outcome, 'the slot is back'))
    writeFileSync(go, '')
    resultOf(await within(neighbour.outcome, 'the neighbour'))
  })

  test.each([
    ['P20: process.abort()', 'abort', {}, 'SIGABRT'],
    ['P20: a segmentation fault', 'signal', { signal: 'SIGSEGV' }, 'SIGSEGV'],
  ])('%s: the task is lost, with the reason, and the pool goes on', async (_name, task, body, detail) => {
    const pool = await startPool({ size: 1 })
    const outcome = await within(pool.run(request(task, body)).outcome, 'outcome')
    expect(outcome).toMatchObject({ status: 'killed', by: 'lost', detail: expect.stringContaining(detail) })
    resultOf(await within(pool.run(request('noop')).outcome, 'the next task'))
  })

  test('what a task started dies with the process that was lost', async () => {
    const pool = await startPool({ size: 1 })
    const log = join(dir, 'program')
    await within(pool.run(request('programThenExit', { log })).outcome, 'lost')
    const [program] = lines(log)
    await until(() => !alive(Number(program)), 'the program is gone')
  })
})

describe('limits', () => {
  test('P10: a stopped child is killed by the hard limit, and the slot is back', async () => {
    const pool = await startPool({ size: 1 })
    const run = pool.run(request('untilAborted', {}, { timeLimitMs: 300 }))
    const { pid } = await within(run.accepted, 'accepted')
    process.kill(pid, 'SIGSTOP')
    expect(await within(run.outcome, 'outcome')).toMatchObject({ by: 'time limit', pid })
    resultOf(await within(pool.run(request('noop')).outcome, 'the slot is back'))
  })

  test('P10: a child that was stopped while it was idle is killed by the hard limit of the task it was given', async () => {
    const pool = await startPool({ size: 1 })
    const pid = Number(resultOf(await pool.run(request('pid')).outcome))
    process.kill(pid, 'SIGSTOP')
    const outcome = await within(pool.run(request('noop', {}, { timeLimitMs: 300 })).outcome, 'outcome')
    expect(outcome).toMatchObject({ status: 'killed', by: 'time limit', pid })
  })
})

describe('runs that are sent ahead', () => {
  test('what a child starts while it is asked to give it back is not run elsewhere, however soon after an earlier request that was answered', async () => {
    const log = join(dir, 'log')
    const patienceMs = 1_000
    const looks: (() => void)[] = []
    const clock: Clock = {
      ...systemClock,
      setTimer: (ms, callback, options) => {
        if (ms !== patienceMs) return systemClock.setTimer(ms, callback, options)
        looks.push(callback)
        return { cancel: () => void looks.splice(looks.indexOf(callback), 1) }
      },
    }
    const pool = await startPool({ size: 1, entry: new URL('late-child.mjs', fixtures), args: [log], clock })
    const run = (task: string): Promise<unknown> => within(pool.run(request(task)).outcome, task)
    // Makes the child known as fast, so that runs are sent ahead.
    for (let warmUp = 0; warmUp < 5; warmUp++) await run('noop')
    // It holds, and gives back at once what stands behind it: the first request is answered.
    await Promise.all([run('hold'), run('noop')])
    expect(looks).toHaveLength(1)
    const ends = [run('late'), run('crossed')]
    await until(() => looks.length === 2, 'the second request')
    writeFileSync(`${log}.end`, '')
    await until(() => lines(log).includes('start crossed'), 'the start that crosses it')
    // The patience of the first request ends now; that of the second has just begun.
    looks[0]?.()
    writeFileSync(`${log}.tell`, '')
    await Promise.all(ends)
    await run('noop')
    expect(lines(log).filter((line) => line === 'start crossed')).toHaveLength(1)
  })

  test('all die or end once when their child is killed at any moment: none is run twice, none is lost that did not start', async () => {
    const pool = await startPool()
    const log = join(dir, 'log')
    await within(Promise.all(Array.from({ length: 200 }, () => pool.run(request('noop')).outcome)), 'warm-up')
    const runs = Array.from({ length: 400 }, () => pool.run(request('block', { ms: 0, log })))
    const kills = [100, 200, 300].map((n) =>
      runs[n]?.outcome.then(() => {
        const [pid] = pool.pids
        if (pid !== undefined) process.kill(pid, 'SIGKILL')
      }),
    )
    const outcomes = await within(Promise.all(runs.map((run) => run.outcome)), 'outcomes', 20_000)
    await Promise.allSettled(kills)
    const starts = lines(log).filter((line) => line.startsWith('start')).length
    const lost = outcomes.filter((outcome) => outcome.status === 'killed').length
    expect(lost).toBeLessThanOrEqual(3)
    // A run killed between its acceptance and its first line is lost and has no line.
    expect(starts).toBeGreaterThanOrEqual(400 - lost)
    expect(starts).toBeLessThanOrEqual(400)
  })
})

describe('no child outlives its worker', () => {
  test('P4: kill -9 of the worker ends children that block, wait or are stopped, within a second', async () => {
    const { child, line } = await firstLine('parent.mjs', ['spin', 'untilAborted', 'spin'])
    const pids = JSON.parse(line) as number[] // what the script writes
    for (const pid of pids) seenPids.add(pid)
    expect(pids).toHaveLength(3)
    expect(pids.every(alive)).toBe(true)
    process.kill(pids[2] ?? 0, 'SIGSTOP')
    child.kill('SIGKILL')
    await until(() => !pids.some(alive), 'all children are gone')
  })

  test('P4: the thread that watches where there is no shell ends a child that blocks', async () => {
    const { child, line } = await firstLine('watched-parent.mjs')
    seenPids.add(Number(line))
    child.kill('SIGKILL')
    await until(() => !alive(Number(line)), 'the child is gone')
  })
})

describe('stop', () => {
  test('it ends although a task blocks, once its signal aborts; and leaves no process', async () => {
    const pool = await startPool()
    const runs = [pool.run(request('spin')), pool.run(request('spin'))]
    await within(Promise.all(runs.map((run) => run.accepted)), 'accepted')
    for (const pid of pool.pids) seenPids.add(pid)
    const cold = new AbortController()
    const stopped = pool.stop({ signal: cold.signal })
    cold.abort()
    await within(stopped, 'stop')
    for (const run of runs) expect(await run.outcome).toMatchObject({ by: 'shutdown' })
  })
})
