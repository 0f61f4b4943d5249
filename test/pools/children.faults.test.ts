/** What a pool of children promises when its tasks block, crash or grow: the same whether the children are processes or threads. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ChildBootError } from '../../dist/errors.js'
import { systemClock } from '../../dist/internal/clock.js'
import { loadEngine } from '../../dist/internal/sqlite/engine.js'
import type { ChildPool, ChildPoolOptions } from '../../dist/pools/child-pool.js'
import { ProcessPool } from '../../dist/pools/processes.js'
import { ThreadPool } from '../../dist/pools/threads.js'
import { never, request, resultOf } from '../conformance/pool.js'
import { until, within } from '../conformance/wait.js'

interface Options extends Partial<ChildPoolOptions> {
  readonly env?: NodeJS.ProcessEnv
  readonly maxHeapMb?: number
}

let dir: string
let pools: ChildPool[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'celeriac-children-'))
  pools = []
})

afterEach(async () => {
  for (const pool of pools) {
    await within(pool.stop({ signal: AbortSignal.abort() }), 'stop')
    expect(pool.pids).toEqual([])
  }
  rmSync(dir, { recursive: true })
})

const fixture = (name: string): URL => new URL(`./fixtures/${name}`, import.meta.url)

const common = {
  size: 2,
  env: { ...process.env },
  output: 'ignore',
  host: { storeState: async () => {} },
  clock: systemClock,
  log: { warn() {}, error() {} },
} as const

const kinds = [
  {
    name: 'prefork',
    make: ({ maxHeapMb, ...options }: Options) =>
      new ProcessPool({
        ...common,
        entry: fixture('child.mjs'),
        ...(maxHeapMb === undefined ? {} : { execArgv: [`--max-old-space-size=${maxHeapMb}`] }),
        ...options,
      }),
    outOfMemory: /SIGABRT \(out of memory/,
    // Of the process, which is some 50 MB large without any task.
    memory: { maxMemoryPerChild: 120 * 1024, most: 170 * 1024 ** 2 },
  },
  {
    name: 'threads',
    make: (options: Options) => new ThreadPool({ ...common, entry: fixture('thread.mjs'), ...options }),
    outOfMemory: /ran out of memory/,
    memory: { maxMemoryPerChild: 70 * 1024, most: 120 * 1024 ** 2 },
  },
] as const

function lines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}

describe.each(kinds)('$name', ({ make, outOfMemory, memory }) => {
  function makePool(options: Options = {}): ChildPool {
    const pool = make(options)
    pools.push(pool)
    return pool
  }

  async function startPool(options?: Options): Promise<ChildPool> {
    const pool = makePool(options)
    await within(pool.start(), 'start')
    return pool
  }

  const warmUp = (pool: ChildPool, runs: number) =>
    within(Promise.all(Array.from({ length: runs }, () => pool.run(request('noop')).outcome)), 'warm-up', 20_000)

  test.each([
    ['P11: process.exit(0)', 'exit', { code: 0 }, 'exited with code 0'],
    ['P11: process.exit(3)', 'exit', { code: 3 }, 'exited with code 3'],
    ['P13: an uncaught error of a timer', 'uncaught', {}, 'from a timer'],
    ['P13: a rejection that nobody handles', 'unhandled', {}, 'nobody looked'],
  ])('%s: the task is lost, with the reason, and the pool goes on', async (_name, task, body, detail) => {
    const pool = await startPool({ size: 1 })
    const outcome = await within(pool.run(request(task, body)).outcome, 'outcome')
    expect(outcome).toMatchObject({ status: 'killed', by: 'lost', detail: expect.stringContaining(detail) })
    resultOf(await within(pool.run(request('noop')).outcome, 'the next task'))
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
    const pool = await startPool({ maxHeapMb: 64 })
    const neighbour = pool.run(request('untilAborted'))
    await within(neighbour.accepted, 'accepted')
    const lost = await within(pool.run(request('heap')).outcome, 'lost', 20_000)
    expect(lost).toMatchObject({ by: 'lost', detail: expect.stringMatching(outOfMemory) })
    neighbour.abort('shutdown')
    expect(resultOf(await within(neighbour.outcome, 'the neighbour'))).toBe('WorkerShutdown')
  }, 30_000)

  test('a soft limit that passes unheeded is followed by the hard one', async () => {
    const pool = await startPool({ size: 1 })
    const outcome = await within(pool.run(request('spin', {}, { softTimeLimitMs: 50, timeLimitMs: 200 })).outcome, 'outcome')
    expect(outcome).toMatchObject({ by: 'time limit', limitMs: 200, detail: expect.stringContaining('0.2s') })
    resultOf(await within(pool.run(request('noop')).outcome, 'the next task'))
  })

  test('X2: terminate, racing with the end of short tasks, never hits another task', async () => {
    const pool = await startPool()
    // Makes the children known as fast, so that runs are sent ahead.
    await warmUp(pool, 200)
    const runs = Array.from({ length: 300 }, (_, n) => ({ target: n % 10 === 0, run: pool.run(request('noop')) }))
    for (const { target, run } of runs) {
      if (target) void run.accepted.then(() => setImmediate(() => run.terminate('SIGKILL')))
    }
    const outcomes = await within(Promise.all(runs.map(({ run }) => run.outcome)), 'outcomes', 30_000)
    const hit = outcomes.filter((outcome, n) => outcome.status !== 'success' && !runs[n]?.target)
    expect(hit).toEqual([])
  }, 40_000)

  test('what stands behind a terminated task in its child runs elsewhere, once', async () => {
    const pool = await startPool({ size: 1 })
    const log = join(dir, 'log')
    await warmUp(pool, 50)
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
    const [neighbour, target] = [pool.run(request('untilAborted')), pool.run(request('untilAborted'))]
    await within(Promise.all([neighbour.accepted, target.accepted]), 'accepted')
    target.terminate('SIGKILL')
    expect(resultOf(await within(target.outcome, 'aborted'))).toBe('TaskRevoked')
    neighbour.abort('shutdown')
    expect(resultOf(await within(neighbour.outcome, 'neighbour'))).toBe('WorkerShutdown')
  })

  test('a task that turns out to be long does not hold up what was sent behind it', async () => {
    const pool = await startPool()
    await warmUp(pool, 200)
    const long = pool.run(request('spin'))
    const short = Array.from({ length: 40 }, () => pool.run(request('echo', 1)))
    await within(Promise.all(short.map((run) => run.outcome)), 'the short ones')
    long.terminate('SIGKILL')
    expect(await within(long.outcome, 'the long one')).toMatchObject({ by: 'terminated' })
  })

  test('where short runs wait in the pool, a child has the one that it runs and no other', async () => {
    // Nothing that was behind a run could be taken back.
    const pool = await startPool({ ahead: 'in pool', clock: { ...systemClock, setTimer: () => ({ cancel() {} }) } })
    // Until it wants more than it can run.
    while (pool.window === pool.capacity) await warmUp(pool, 20)
    const long = pool.run(request('spin'))
    const short = Array.from({ length: 40 }, () => pool.run(request('echo', 1)))
    await within(Promise.all(short.map((run) => run.outcome)), 'the short ones')
    long.terminate('SIGKILL')
    expect(await within(long.outcome, 'the long one')).toMatchObject({ by: 'terminated' })
  })

  test('P16: a child over its memory is replaced; nothing is lost', async () => {
    const pool = await startPool({ maxMemoryPerChild: memory.maxMemoryPerChild })
    const outcomes = await within(
      Promise.all(Array.from({ length: 60 }, () => pool.run(request('leak', { bytes: 10_000_000 })).outcome)),
      'outcomes',
      20_000,
    )
    const seen = outcomes.map(resultOf) as { child: string; bytes: number }[] // what the task gives
    expect(Math.max(...seen.map((value) => value.bytes))).toBeLessThan(memory.most)
    expect(new Set(seen.map((value) => value.child)).size).toBeGreaterThan(5)
  }, 30_000)

  test('a child is replaced after maxTasksPerChild tasks, in good order', async () => {
    const closed = join(dir, 'closed')
    const pool = await startPool({ size: 1, maxTasksPerChild: 10, env: { ...process.env, CLOSE_FILE: closed } })
    const outcomes = await within(Promise.all(Array.from({ length: 35 }, () => pool.run(request('child')).outcome)), 'outcomes', 20_000)
    const counts = new Map<unknown, number>()
    for (const child of outcomes.map(resultOf)) counts.set(child, (counts.get(child) ?? 0) + 1)
    // A child that gave runs back under load is replaced with fewer: never with more.
    expect(Math.max(...counts.values())).toBeLessThanOrEqual(10)
    expect(counts.size).toBeGreaterThanOrEqual(4)
    await until(() => lines(closed).length > 0, 'the app was closed')
  }, 30_000)

  test('restart: what runs may finish, and others take the places', async () => {
    const pool = await startPool({ size: 1 })
    const before = resultOf(await within(pool.run(request('child')).outcome, 'before'))
    const running = pool.run(request('untilAborted'))
    await within(running.accepted, 'accepted')
    await within(pool.restart(), 'restart')
    expect(resultOf(await within(pool.run(request('child')).outcome, 'after'))).not.toBe(before)
    running.abort('shutdown')
    expect(resultOf(await within(running.outcome, 'the old one'))).toBe('WorkerShutdown')
  })

  test.each([
    ['throw', 'the app is broken'],
    ['exit', 'exited with code 1'],
    ['exit 0', 'exited with code 0'],
  ])(
    'P17: %s: start rejects with the first error, after at most 5 children',
    async (boot, message) => {
      const log = join(dir, 'forks')
      const pool = makePool({ env: { ...process.env, BOOT: boot, FORK_LOG: log }, boot: { firstMs: 10 } })
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
  }, 15_000)

  test('stop ends although tasks block, once its signal aborts', async () => {
    const pool = await startPool()
    const runs = [pool.run(request('spin')), pool.run(request('spin'))]
    await within(Promise.all(runs.map((run) => run.accepted)), 'accepted')
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

test('threads: one that is stuck in native code is given up: its task ends, and another takes its place', async () => {
  const pool = new ThreadPool({ ...common, size: 1, entry: fixture('thread.mjs') })
  pools.push(pool)
  await within(pool.start(), 'start')
  const log = join(dir, 'program')
  const run = pool.run(request('programSync', { log }))
  await until(() => lines(log).length > 0, 'the program runs')
  run.terminate('SIGTERM')
  expect(await within(run.outcome, 'terminated')).toMatchObject({ by: 'terminated', detail: expect.stringContaining('native code') })
  resultOf(await within(pool.run(request('noop')).outcome, 'the next task'))
  process.kill(Number(lines(log)[0]))
}, 20_000)

test('threads: what one was about to write in a database when it was ended is not written, and the database is free', async () => {
  const pool = new ThreadPool({ ...common, size: 1, entry: fixture('thread.mjs') })
  pools.push(pool)
  await within(pool.start(), 'start')
  const [file, log] = [join(dir, 'some.db'), join(dir, 'log')]
  const run = pool.run(request('beginWrite', { file, log }))
  await until(() => lines(log).length > 0, 'the transaction has begun')
  const database = (await loadEngine())(file)
  expect(() => database.exec('BEGIN IMMEDIATE')).toThrow(/locked/)
  run.terminate('SIGKILL')
  expect(await within(run.outcome, 'terminated')).toMatchObject({ by: 'terminated' })
  database.exec('BEGIN IMMEDIATE; CREATE TABLE t (x); COMMIT')
  database.close()
})

test('threads: what they print is printed by the process of the pool', () => {
  const { stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(fixture('thread-parent.mjs'))], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  expect({ stdout, stderr }).toEqual({ stdout: 'said by a thread\n', stderr: 'warned by a thread\n' })
}, 30_000)
