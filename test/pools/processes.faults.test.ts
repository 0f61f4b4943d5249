/** The rows P of the fault catalogue, with real processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ChildBootError } from '../../dist/errors.js'
import { type Clock, systemClock } from '../../dist/internal/clock.js'
import { ProcessPool, type ProcessPoolOptions } from '../../dist/pools/processes.js'
import { never, request, resultOf, until, within } from '../conformance/pool.js'

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
    ['P11: process.exit(0)', 'exit', { code: 0 }, 'exited with code 0'],
    ['P11: process.exit(3)', 'exit', { code: 3 }, 'exited with code 3'],
    ['P20: process.abort()', 'abort', {}, 'SIGABRT'],
    ['P20: a segmentation fault', 'signal', { signal: 'SIGSEGV' }, 'SIGSEGV'],
    ['P13: an uncaught error of a timer', 'uncaught', {}, 'from a timer'],
    ['P13: a rejection that nobody handles', 'unhandled', {}, 'nobody looked'],
  ])('%s: the task is lost, with the reason, and the pool goes on', async (_name, task, body, detail) => {
    const pool = await startPool({ size: 1 })
    const outcome = await within(pool.run(request(task, body)).outcome, 'outcome')
    expect(outcome).toMatchObject({ status: 'killed', by: 'lost', detail: expect.stringContaining(detail) })
    resultOf(await within(pool.run(request('noop')).outcome, 'the next task', 1_500))
  })

  test('P13: all tasks of a child with an uncaught error are lost; it finishes none of them', async () => {
    const pool = await startPool({ size: 1, childConcurrency: 3 })
    const go = join(dir, 'go')
    const neighbours = [pool.run(request('wait', { until: go })), pool.run(request('wait', { until: go }))]
    await within(Promise.all(neighbours.map((run) => run.accepted)), 'accepted')
    const runs = [...neighbours, pool.run(request('uncaught'))]
    for (const run of runs) {
      expect(await within(run.outcome, 'lost')).toMatchObject({ by: 'lost', detail: expect.stringContaining('from a timer') })
    }
  })

  test('P15: a child out of memory loses its task, its neighbour goes on', async () => {
    const pool = await startPool({ execArgv: ['--max-old-space-size=64'] })
    const go = join(dir, 'go')
    const neighbour = pool.run(request('wait', { until: go }))
    await within(neighbour.accepted, 'accepted')
    expect(await within(pool.run(request('heap')).outcome, 'lost')).toMatchObject({
      by: 'lost',
      detail: expect.stringMatching(/SIGABRT \(out of memory/),
    })
    writeFileSync(go, '')
    resultOf(await within(neighbour.outcome, 'the neighbour'))
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

  test('a soft limit that passes unheeded is followed by the hard one', async () => {
    const pool = await startPool({ size: 1 })
    const outcome = await within(pool.run(request('spin', {}, { softTimeLimitMs: 50, timeLimitMs: 200 })).outcome, 'outcome')
    expect(outcome).toMatchObject({ by: 'time limit', detail: expect.stringContaining('0.2s') })
  })
})

describe('terminate', () => {
  test('X2: racing with the end of short tasks, it never hits another task', async () => {
    const pool = await startPool()
    // Makes the children known as fast, so that runs are sent ahead.
    await within(Promise.all(Array.from({ length: 200 }, () => pool.run(request('noop')).outcome)), 'warm-up')
    const runs = Array.from({ length: 300 }, (_, n) => ({ target: n % 10 === 0, run: pool.run(request('noop')) }))
    for (const { target, run } of runs) {
      if (target) void run.accepted.then(() => setImmediate(() => run.terminate('SIGKILL')))
    }
    const outcomes = await within(Promise.all(runs.map(({ run }) => run.outcome)), 'outcomes', 30_000)
    const hit = outcomes.filter((outcome, n) => outcome.status !== 'success' && !runs[n]?.target)
    expect(hit).toEqual([])
  })

  test('what stands behind a terminated task in its child runs elsewhere, once', async () => {
    const pool = await startPool({ size: 1 })
    const log = join(dir, 'log')
    await within(Promise.all(Array.from({ length: 50 }, () => pool.run(request('noop')).outcome)), 'warm-up')
    const victim = pool.run(request('spin', { log }))
    const behind = Array.from({ length: 5 }, () => pool.run(request('block', { ms: 1, log })))
    await within(victim.accepted, 'accepted')
    victim.terminate('SIGTERM')
    expect(await within(victim.outcome, 'terminated')).toMatchObject({ by: 'terminated' })
    for (const run of behind) resultOf(await within(run.outcome, 'behind'))
    expect(lines(log).filter((line) => line.startsWith('start'))).toHaveLength(6)
  })

  test('one of several tasks in a child is aborted, and its neighbours go on', async () => {
    const pool = await startPool({ size: 1, childConcurrency: 2 })
    const go = join(dir, 'go')
    const neighbour = pool.run(request('wait', { until: go }))
    const target = pool.run(request('untilAborted'))
    await within(Promise.all([neighbour.accepted, target.accepted]), 'accepted')
    target.terminate('SIGKILL')
    expect(resultOf(await within(target.outcome, 'aborted'))).toBe('TaskRevoked')
    writeFileSync(go, '')
    resultOf(await within(neighbour.outcome, 'neighbour'))
  })
})

describe('runs that are sent ahead', () => {
  test('a task that turns out to be long does not hold up what was sent behind it', async () => {
    const pool = await startPool()
    const log = join(dir, 'log')
    await within(Promise.all(Array.from({ length: 200 }, () => pool.run(request('noop')).outcome)), 'warm-up')
    const long = pool.run(request('block', { ms: 5_000, log }))
    const short = Array.from({ length: 40 }, () => pool.run(request('echo', 1)))
    await within(Promise.all(short.map((run) => run.outcome)), 'the short ones', 4_000)
    resultOf(await within(long.outcome, 'the long one'))
  })

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
    await until(() => lines(log).includes('start crossed'), 'the start that crosses it')
    // The patience of the first request ends now; that of the second has just begun.
    looks[0]?.()
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

describe('recycling', () => {
  test('P16: a child over its memory is replaced; nothing is lost', async () => {
    const pool = await startPool({ maxMemoryPerChild: 120 * 1024 })
    const values = await within(
      Promise.all(Array.from({ length: 60 }, () => pool.run(request('leak', { bytes: 10_000_000 })).outcome)),
      'outcomes',
      20_000,
    )
    const seen = values.map(resultOf) as { pid: number; rss: number }[] // what the task gives
    expect(Math.max(...seen.map((value) => value.rss))).toBeLessThan(170 * 1024 * 1024)
    expect(new Set(seen.map((value) => value.pid)).size).toBeGreaterThan(5)
  })

  test('a child is replaced after maxTasksPerChild tasks, in good order', async () => {
    const closed = join(dir, 'closed')
    const pool = await startPool({ size: 1, maxTasksPerChild: 10, env: { ...process.env, CLOSE_FILE: closed } })
    const outcomes = await within(Promise.all(Array.from({ length: 35 }, () => pool.run(request('pid')).outcome)), 'outcomes', 20_000)
    const counts = new Map<unknown, number>()
    for (const pid of outcomes.map(resultOf)) counts.set(pid, (counts.get(pid) ?? 0) + 1)
    // A child that gave runs back under load is replaced with fewer: never with more.
    expect(Math.max(...counts.values())).toBeLessThanOrEqual(10)
    expect(counts.size).toBeGreaterThanOrEqual(4)
    await until(() => lines(closed).length > 0, 'the app was closed')
  })
})

describe('children that cannot boot', () => {
  test.each([
    ['throw', 'the app is broken'],
    ['exit', 'exited with code 1'],
    ['exit 0', 'exited with code 0'],
  ])(
    'P17: %s: start rejects with the first error, after at most 5 forks',
    async (boot, message) => {
      const log = join(dir, 'forks')
      const pool = makePool({ env: { ...process.env, BOOT: boot, FORK_LOG: log } })
      const waiting = pool.run(request('noop'))
      const error = await within(
        pool.start().then(
          () => undefined,
          (error: unknown) => error,
        ),
        'start',
      )
      expect(error).toBeInstanceOf(ChildBootError)
      expect(String(error)).toContain(message)
      expect(lines(log).length).toBeLessThanOrEqual(5)
      expect(await within(waiting.outcome, 'waiting')).toMatchObject({ by: 'shutdown', detail: 'not started' })
    },
    15_000,
  )

  test('P17: children that die right after their boot are not replaced without end, and that is told', async () => {
    const log = join(dir, 'forks')
    let told: unknown
    const pool = makePool({
      env: { ...process.env, BOOT: 'then crash', FORK_LOG: log },
      onFatal: (error) => {
        told = error
      },
    })
    await within(pool.start(), 'start')
    await until(() => told !== undefined, 'fatal')
    expect(String(told)).toContain('crashed after boot')
    expect(lines(log).length).toBeLessThanOrEqual(6)
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

  test('warm stop lets the app of each child close', async () => {
    const closed = join(dir, 'closed')
    const pool = await startPool({ size: 1, env: { ...process.env, CLOSE_FILE: closed } })
    resultOf(await pool.run(request('noop')).outcome)
    await within(pool.stop({ signal: never() }), 'stop')
    expect(lines(closed)).toEqual(['closed'])
  })
})
