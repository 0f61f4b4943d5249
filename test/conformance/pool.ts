/** What every pool promises. A driver's test names what it cannot do, with the reason; a named gap that starts to pass fails. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Outcome, Pool, PoolHost, TaskRequest } from '../../dist/pool.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import { within } from './wait.js'

export interface PoolDriver {
  readonly name: string
  /** A pool, not started, that runs fixtures/tasks.mjs. */
  make(options: { readonly size: number; readonly host: PoolHost }): Pool
  /** Promise -> why this pool cannot keep it. */
  readonly gaps?: Readonly<Record<string, string>>
}

let lastId = 0

export function request(task: string, body: unknown = {}, more: Partial<TaskRequest> = {}): TaskRequest {
  const common = { contentType: 'application/json', contentEncoding: 'utf-8', context: {} }
  return { id: `task-${++lastId}`, task, body: JSON.stringify(body), ...common, ...more }
}

/** The value of a success. */
export function resultOf(outcome: Outcome): unknown {
  if (outcome.status !== 'success') throw new Error(`expected success, got ${JSON.stringify(outcome)}`)
  return JSON.parse(outcome.result)
}

export function never(): AbortSignal {
  return new AbortController().signal
}

const continuations = { callbacks: [{ task: 'next' }], errbacks: null, chain: null, chord: null }

export function testPool(driver: PoolDriver): void {
  const promise = (name: string, body: () => Promise<void>): void => {
    const reason = driver.gaps?.[name]
    if (reason === undefined) test(name, body, 15_000)
    else test.fails(`${name} (gap: ${reason})`, body, 15_000)
  }

  describe(`pool ${driver.name}`, () => {
    let dir: string
    let pool: Pool
    let stored: unknown[]
    const host: PoolHost = {
      async storeState(taskId, state, meta) {
        if (state === 'REFUSED') throw new Error('the backend is away')
        stored.push([taskId, state, meta])
      },
    }

    beforeEach(async () => {
      dir = mkdtempSync(join(tmpdir(), 'celeriac-pool-'))
      stored = []
      pool = driver.make({ size: 2, host })
      await within(pool.start(), 'start')
    })

    afterEach(async () => {
      await within(pool.stop({ signal: AbortSignal.abort() }), 'stop')
      rmSync(dir, { recursive: true })
    })

    promise('a run gives the result of its task, and says that it was accepted', async () => {
      const run = pool.run(request('echo', { a: [1, 'ü'] }))
      expect(pool.pids).toContain((await within(run.accepted, 'accepted')).pid)
      expect(resultOf(await within(run.outcome, 'outcome'))).toEqual({ a: [1, 'ü'] })
    })

    promise('a body comes to the task as it was given: text as text, bytes as bytes', async () => {
      expect(resultOf(await pool.run(request('bodyType')).outcome)).toBe('string')
      const bytes = new TextEncoder().encode('{"n":1}')
      expect(resultOf(await pool.run(request('bodyType', {}, { body: bytes })).outcome)).toBe('object')
      expect(resultOf(await pool.run(request('echo', {}, { body: bytes })).outcome)).toEqual({ n: 1 })
    })

    promise('the context of a request arrives', async () => {
      expect(resultOf(await pool.run(request('context', {}, { context: { retries: 2, x: null } })).outcome)).toEqual({
        retries: 2,
        x: null,
      })
    })

    promise('a task that throws is a failure, with the continuations of its message', async () => {
      const outcome = await pool.run(request('fail', { continuations })).outcome
      expect(outcome).toMatchObject({ status: 'failure', error: { excType: 'RangeError', excMessage: ['as asked'] }, continuations })
    })

    promise('a body that cannot be decoded is undecodable, and was never accepted', async () => {
      const run = pool.run(request('echo', {}, { body: '{' }))
      let accepted = false
      void run.accepted.then(() => {
        accepted = true
      })
      expect(await run.outcome).toMatchObject({ status: 'undecodable' })
      expect(accepted).toBe(false)
    })

    promise('requests over the capacity wait, and start in order', async () => {
      const first = join(dir, 'go')
      const holders = Array.from({ length: pool.capacity }, () => pool.run(request('wait', { until: first })))
      await Promise.all(holders.map((run) => within(run.accepted, 'accepted')))
      const started: number[] = []
      const waiting = [0, 1, 2, 3, 4].map((n) => {
        const run = pool.run(request('noop'))
        void run.accepted.then(() => started.push(n))
        return run
      })
      expect(started).toEqual([])
      writeFileSync(first, '')
      await within(Promise.all([...holders, ...waiting].map((run) => run.outcome)), 'all outcomes')
      expect([...started].sort()).toEqual([0, 1, 2, 3, 4])
      // Those that start together do so in any order, and one process may have been given its second before another starts its first.
      expect(started[0]).toBeLessThan(2 * pool.capacity)
    })

    promise('many more runs than capacity all end once, each with its own result', async () => {
      const outcomes = await within(Promise.all(Array.from({ length: 500 }, (_, n) => pool.run(request('echo', n)).outcome)), 'outcomes')
      expect(outcomes.map(resultOf)).toEqual(Array.from({ length: 500 }, (_, n) => n))
    })

    promise('a large result comes back whole', async () => {
      const value = resultOf(await within(pool.run(request('big', { bytes: 5_000_000 })).outcome, 'outcome'))
      expect(value).toHaveLength(5_000_000)
    })

    promise('abort gives the task its reason, and the task decides', async () => {
      for (const [cause, name] of [
        ['soft time limit', 'SoftTimeLimitExceeded'],
        ['revoked', 'TaskRevoked'],
        ['shutdown', 'WorkerShutdown'],
        ['lock lost', 'LockLost'],
      ] as const) {
        const run = pool.run(request('untilAborted'))
        await within(run.accepted, 'accepted')
        run.abort(cause)
        expect(resultOf(await within(run.outcome, cause))).toBe(name)
      }
    })

    promise('a run that was aborted while it waited starts with an aborted signal', async () => {
      const holders = Array.from({ length: pool.capacity }, () => pool.run(request('untilAborted')))
      await Promise.all(holders.map((run) => within(run.accepted, 'accepted')))
      const waiting = pool.run(request('untilAborted'))
      waiting.abort('revoked')
      for (const run of holders) run.abort('shutdown')
      expect(resultOf(await within(waiting.outcome, 'outcome'))).toBe('TaskRevoked')
    })

    promise('the soft time limit aborts the signal', async () => {
      const outcome = await within(pool.run(request('untilAborted', {}, { softTimeLimitMs: 30 })).outcome, 'outcome')
      expect(resultOf(outcome)).toBe('SoftTimeLimitExceeded')
    })

    promise('the hard time limit ends a task that blocks, and the outcome has its continuations', async () => {
      if (!pool.supports.timeLimit) throw new Error('not supported')
      const outcome = await within(pool.run(request('spin', { continuations }, { timeLimitMs: 200 })).outcome, 'outcome')
      expect(outcome).toMatchObject({ status: 'killed', by: 'time limit', continuations })
    })

    promise('terminate ends a task that blocks', async () => {
      if (!pool.supports.terminate) throw new Error('not supported')
      const run = pool.run(request('spin'))
      await within(run.accepted, 'accepted')
      run.terminate('SIGKILL')
      expect(await within(run.outcome, 'outcome')).toMatchObject({ status: 'killed', by: 'terminated' })
    })

    promise('terminate reaches a task that heeds its signal', async () => {
      const run = pool.run(request('untilAborted'))
      await within(run.accepted, 'accepted')
      run.terminate('SIGTERM')
      const outcome = await within(run.outcome, 'outcome')
      if (pool.supports.terminate) expect(outcome).toMatchObject({ status: 'killed', by: 'terminated' })
      else expect(resultOf(outcome)).toBe('TaskRevoked')
    })

    promise('a run that waits can be withdrawn, and never starts; one that runs goes on', async () => {
      // Short ones first: a pool of processes then sends some ahead.
      for (let count = 0; count < 20; count++) await pool.run(request('noop')).outcome
      const log = join(dir, 'log')
      const holders = Array.from({ length: pool.capacity }, () => pool.run(request('untilAborted')))
      await Promise.all(holders.map((run) => within(run.accepted, 'accepted')))
      const waiting = Array.from({ length: 20 }, () => pool.run(request('wait', { until: dir, log })))
      for (const run of [...holders, ...waiting]) run.withdraw()
      for (const run of waiting) {
        expect(await within(run.outcome, 'outcome')).toMatchObject({ status: 'revoked', reason: 'revoked' })
        expect(run.start).toBeUndefined()
      }
      expect(existsSync(log)).toBe(false)
      for (const run of holders) {
        expect(run.start).toMatchObject({ pid: expect.any(Number) })
        run.abort('shutdown')
        expect(resultOf(await within(run.outcome, 'outcome'))).toBe('WorkerShutdown')
      }
    })

    promise('terminate of a run that waits ends it, and it never starts', async () => {
      const log = join(dir, 'log')
      const holders = Array.from({ length: pool.capacity }, () => pool.run(request('untilAborted')))
      await Promise.all(holders.map((run) => within(run.accepted, 'accepted')))
      const waiting = pool.run(request('wait', { until: dir, log }))
      waiting.terminate('SIGTERM')
      expect(await within(waiting.outcome, 'outcome')).toMatchObject({
        status: 'killed',
        by: 'terminated',
        detail: expect.stringContaining('not started'),
      })
      for (const run of holders) run.abort('shutdown')
      await Promise.all(holders.map((run) => run.outcome))
      expect(resultOf(await within(pool.run(request('noop')).outcome, 'outcome'))).toBe(null)
    })

    promise('a state that a task reports is stored before its promise settles; a refusal reaches the task', async () => {
      const sent = request('states')
      expect(resultOf(await within(pool.run(sent).outcome, 'outcome'))).toBe('refused')
      expect(stored).toEqual([[sent.id, 'PROGRESS', { done: 1 }]])
    })

    promise('a meta that is JSON already stays as it is written', async () => {
      await within(pool.run(request('jsonState')).outcome, 'outcome')
      expect(stored).toEqual([[expect.any(String), 'PROGRESS', new JsonText('{"n":12345678901234567890}')]])
    })

    promise('resize changes how much runs at the same time', async () => {
      await within(pool.resize(4), 'resize')
      expect(pool.capacity).toBe(4)
      const runs = Array.from({ length: 4 }, () => pool.run(request('untilAborted')))
      await within(Promise.all(runs.map((run) => run.accepted)), 'all accepted')
      await within(pool.resize(1), 'resize')
      expect(pool.capacity).toBe(1)
      for (const run of runs) run.abort('shutdown')
      expect((await within(Promise.all(runs.map((run) => run.outcome)), 'outcomes')).map(resultOf)).toEqual(Array(4).fill('WorkerShutdown'))
    })

    promise('stop waits for what runs; what waits is given back as not started', async () => {
      const go = join(dir, 'go')
      const holders = Array.from({ length: pool.capacity }, () => pool.run(request('wait', { until: go })))
      await Promise.all(holders.map((run) => within(run.accepted, 'accepted')))
      const waiting = pool.run(request('noop'))
      const stopped = pool.stop({ signal: never() })
      expect(await within(waiting.outcome, 'waiting')).toMatchObject({ status: 'killed', by: 'shutdown', detail: 'not started' })
      expect(await pool.run(request('noop')).outcome).toMatchObject({ status: 'killed', by: 'shutdown', detail: 'not started' })
      writeFileSync(go, '')
      for (const run of holders) expect((await within(run.outcome, 'holder')).status).toBe('success')
      await within(stopped, 'stop')
    })

    promise('stop ends what runs when its signal aborts', async () => {
      const runs = Array.from({ length: pool.capacity }, () => pool.run(request('wait', { until: join(dir, 'never'), continuations })))
      await Promise.all(runs.map((run) => within(run.accepted, 'accepted')))
      const cold = new AbortController()
      const stopped = pool.stop({ signal: never() })
      const again = pool.stop({ signal: cold.signal })
      cold.abort()
      for (const run of runs)
        expect(await within(run.outcome, 'outcome')).toMatchObject({ status: 'killed', by: 'shutdown', continuations })
      await within(Promise.all([stopped, again]), 'stop')
    })

    promise('start and stop may come many times, in any order, at the same time', async () => {
      for (let round = 0; round < 10; round++) {
        const pool = driver.make({ size: 2, host })
        const calls = Array.from({ length: 50 }, (_, n) =>
          (n * 7 + round) % 3 === 0 ? pool.stop({ signal: n % 2 === 0 ? never() : AbortSignal.abort() }) : pool.start(),
        )
        const runs = [pool.run(request('noop')), pool.run(request('noop'))]
        await within(Promise.allSettled(calls), 'calls')
        await within(pool.stop({ signal: never() }), 'stop')
        await within(Promise.all(runs.map((run) => run.outcome)), 'outcomes')
      }
    })
  })
}
