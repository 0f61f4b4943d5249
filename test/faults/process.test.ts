/** Processes that die, stand still or do not end (reliability.md B.1), seen from a whole worker. The pools alone are tested in test/pools. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { until } from '../conformance/wait.js'
import { faultTest } from '../harness/fault-test.js'
import { nowMs } from '../harness/recorder.js'
import { leaseTtlMs } from '../harness/scene.js'
import { memoryOf, processesOf } from '../harness/worker-process.js'

const oneSecond = 1_000

for (const pool of ['prefork', 'async'] as const) {
  faultTest(
    { id: 'P1', driver: `sqlite, ${pool}`, promise: 'kill -9 of a worker with 4 running tasks: another runs them again', dupBound: 4 },
    async (scene) => {
      const first = await scene.worker({ pool, concurrency: 4, args: ['-n', 'first@%h'] })
      await scene.sendMany(200, 'work', [100])
      await scene.recorder.started(12)
      const second = await scene.worker({ pool, concurrency: 4, args: ['-n', 'second@%h'] })
      // In the middle of its runs: a task that has just ended, and whose result is not stored yet, would run again as well (B.15, run.after_return).
      const midRun = (): boolean => {
        const mine = scene.recorder.running().filter((run) => run.worker.startsWith('first@'))
        return mine.length === 4 && mine.every((run) => nowMs() - run.atMs > 20)
      }
      await until(midRun, 'the first is in the middle of 4 runs')
      const killedAt = nowMs()
      await first.end('SIGKILL')
      await scene.drained()
      const again = scene.recorder.starts().filter((run) => run.redelivered && run.atMs > killedAt)
      const recoverMs = Math.min(...again.map((run) => run.atMs)) - killedAt
      expect(recoverMs).toBeLessThanOrEqual(leaseTtlMs + oneSecond)
      expect(second.isRunning).toBe(true)
      return { recoverMs }
    },
  )
}

faultTest(
  {
    id: 'P2',
    driver: 'sqlite, prefork',
    promise: 'kill -9 of one child: its task runs again once, counted; the others do not notice',
    dupBound: 1,
  },
  async (scene) => {
    await scene.worker({ concurrency: 3 })
    const ids = await scene.sendMany(3, 'hold', ['go'])
    await scene.recorder.started(3)
    const [victim] = scene.recorder.running()
    if (victim === undefined) throw new Error('unreachable')
    const killedAt = nowMs()
    process.kill(victim.pid, 'SIGKILL')
    const again = await scene.recorder.started(2, victim.id)
    const recoverMs = again.atMs - killedAt
    expect(recoverMs).toBeLessThanOrEqual(oneSecond)
    expect(again.pid).not.toBe(victim.pid)
    expect(again.redelivered).toBe(true)
    const counts = await scene.rows<{ id: string; deliveries: number }>(
      "SELECT json_extract(head, '$[2].id') AS id, deliveries FROM messages WHERE queue = 'celery'",
    )
    expect(Object.fromEntries(counts.map((row) => [row.id, row.deliveries]))).toEqual(
      Object.fromEntries(ids.map((id) => [id, id === victim.id ? 1 : 0])),
    )
    scene.release('go')
    await scene.drained()
    for (const id of ids) expect(scene.recorder.starts(id).length).toBe(id === victim.id ? 2 : 1)
    return { recoverMs }
  },
)

faultTest(
  {
    id: 'P4',
    driver: 'sqlite, prefork',
    promise: 'kill -9 of a worker ends a child that blocks, within a second; its task runs elsewhere',
    dupBound: 1,
  },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 2 })
    const id = await scene.send('spin', ['free'])
    const { pid } = await scene.recorder.started(1, id)
    const killedAt = nowMs()
    await worker.end('SIGKILL')
    await until(() => !processesOf(scene.folder).includes(pid), 'the child is gone', oneSecond)
    scene.release('free')
    await scene.worker()
    await scene.drained()
    expect(scene.recorder.ends(id)).toHaveLength(1)
    return { recoverMs: (scene.recorder.starts(id)[1]?.atMs ?? 0) - killedAt }
  },
)

for (const pool of ['prefork', 'async'] as const) {
  faultTest(
    {
      id: 'P5',
      driver: `sqlite, ${pool}`,
      promise: 'SIGTERM with 4 running and 16 prefetched: running ones end, the others go back at once and uncounted',
    },
    async (scene) => {
      const worker = await scene.worker({ pool, concurrency: 4, args: ['--prefetch-multiplier', '5'] })
      const running = await scene.sendMany(4, 'hold', ['go'])
      await scene.recorder.started(4)
      const prefetched = await scene.sendMany(16, 'work', [1])
      const leased = (): Promise<{ count: number }[]> => scene.rows('SELECT count(*) AS count FROM leases')
      // The async pool runs what it gets; -c bounds it.
      await until(async () => (await leased())[0]?.count === 20, 'all are leased')
      worker.signal('SIGTERM')
      const connection = await scene.connection()
      await until(async () => (await connection.size('celery')) === 16, 'the prefetched are back', oneSecond)
      expect(worker.isRunning).toBe(true)
      scene.release('go')
      expect(await worker.end('SIGCONT', 2_000)).toEqual({ code: 0, signal: null })
      const rows = await scene.rows<{ deliveries: number }>("SELECT deliveries FROM messages WHERE queue = 'celery'")
      expect(rows.map((row) => row.deliveries)).toEqual(prefetched.map(() => 0))
      for (const id of running) expect(await scene.app.result(id).state()).toBe('SUCCESS')
      await scene.worker()
      await scene.drained()
    },
  )
}

for (const pool of ['prefork', 'async'] as const) {
  faultTest(
    {
      id: 'P9',
      driver: `sqlite, ${pool}`,
      promise: 'a worker that stood still for 3 lease times settles nothing any more, and works on',
      dupBound: 4,
    },
    async (scene) => {
      const paused = await scene.worker({ pool, concurrency: 4, args: ['-n', 'paused@%h', '--prefetch-multiplier', '1'] })
      const ids = await scene.sendMany(4, 'hold', ['go'])
      await scene.recorder.started(4)
      const children = processesOf(scene.folder)
      const stoppedAt = nowMs()
      for (const pid of children) process.kill(pid, 'SIGSTOP')
      await scene.worker({ pool, concurrency: 4, args: ['-n', 'other@%h'] })
      await scene.recorder.started(8)
      const recoverMs = (scene.recorder.starts()[4]?.atMs ?? 0) - stoppedAt
      scene.release('go')
      await scene.recorder.ended(4)
      await scene.drained()
      const before = await Promise.all(ids.map((id) => scene.app.result(id).info()))
      await until(() => nowMs() - stoppedAt > 3 * leaseTtlMs, 'three lease times')
      for (const pid of children) process.kill(pid, 'SIGCONT')
      await scene.recorder.ended(8)
      await paused.says(/Task hold.* (was taken over by another worker|had ended as SUCCESS before)/)
      expect(await Promise.all(ids.map((id) => scene.app.result(id).info()))).toEqual(before)
      await scene.sendMany(20, 'work', [20])
      await scene.drained()
      await until(() => scene.recorder.ends().some((run) => run.worker.startsWith('paused@') && run.atMs > stoppedAt), 'it works on')
      return { recoverMs }
    },
  )
}

faultTest(
  { id: 'P14', driver: 'sqlite, prefork', promise: 'a task that blocks for ever is killed by its hard limit and fails; the others go on' },
  async (scene) => {
    await scene.worker({ concurrency: 2 })
    const blocked = await scene.send('spinLimited')
    await scene.sendMany(20, 'work', [10])
    await scene.drained()
    expect(await scene.result(blocked)).toMatchObject({ excType: 'TimeLimitExceeded' })
    // Killed: it never ended, and its end is its failure.
    expect(scene.recorder.ends(blocked)).toHaveLength(0)
    scene.ledger.confirmed.delete(blocked)
  },
)

faultTest(
  {
    id: 'P14',
    driver: 'sqlite, async',
    promise: 'a task that blocks the event loop ends its worker with 70; after 5 of them it lies in the dead letters and has failed',
    dupBound: 4,
    timeoutMs: 60_000,
  },
  async (scene) => {
    const id = await scene.send('spin')
    for (let run = 1; run <= 5; run++) {
      const worker = scene.start({ pool: 'async', options: { workerStuckTimeout: 0.5 } })
      await scene.recorder.started(run, id)
      expect(await worker.end('SIGCONT', 5_000)).toEqual({ code: 70, signal: null })
      expect(worker.output).toContain(id)
    }
    await scene.worker({ pool: 'async' })
    const good = await scene.send('good')
    expect(await scene.result(good)).toBe('good')
    const [letter] = await scene.deadLettersReach(1)
    expect(letter?.message.headers.id).toBe(id)
    expect(letter?.reason).toMatch(/5 times/)
    expect(await scene.result(id)).toMatchObject({ excType: 'WorkerLostError' })
    await scene.drained()
  },
)

for (const [what, task, args, detail] of [
  ['runs out of memory', 'oom', [], /SIGABRT|memory/],
  ['kills its process', 'die', ['SIGKILL'], /SIGKILL/],
] as const) {
  faultTest(
    {
      id: 'P15',
      driver: 'sqlite, prefork',
      promise: `a task that ${what}: after 5 deliveries it lies in the dead letters with the signal, and has failed; the worker lives`,
      dupBound: 4,
      timeoutMs: 60_000,
    },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 2, env: { NODE_OPTIONS: '--max-old-space-size=64' } })
      const id = await scene.send(task, args)
      await scene.sendMany(20, 'work', [5])
      const [letter] = await scene.deadLettersReach(1, 30_000)
      expect(letter).toMatchObject({ queue: 'celery', reason: expect.stringMatching(detail) })
      expect(letter?.reason).toContain('5 times')
      expect(scene.recorder.starts(id)).toHaveLength(5)
      await scene.drained()
      expect(await scene.result(id)).toMatchObject({ excType: 'WorkerLostError', message: expect.stringMatching(detail) })
      const good = await scene.send('good')
      expect(await scene.result(good)).toBe('good')
      expect(worker.isRunning).toBe(true)
    },
  )
}

faultTest(
  {
    id: 'P16',
    driver: 'sqlite, prefork',
    promise: 'a task that leaks 10 MB a run, 300 runs, maxMemoryPerChild 150 MB: no child is over 200 MB',
    timeoutMs: 60_000,
  },
  async (scene) => {
    await scene.worker({ concurrency: 2, args: ['--max-memory-per-child', String(150 * 1024)] })
    await scene.sendMany(300, 'leak', [10])
    const most = new Map<number, number>()
    const look = (): void => {
      for (const { pid } of scene.recorder.lines()) {
        try {
          most.set(pid, memoryOf(pid, 'VmHWM'))
        } catch {
          // It was replaced.
        }
      }
    }
    await until(
      () => {
        look()
        return scene.recorder.ends().length >= 300
      },
      '300 runs',
      50_000,
    )
    await scene.drained()
    expect(most.size).toBeGreaterThan(10)
    expect(Math.max(...most.values())).toBeLessThanOrEqual(200)
  },
)

faultTest(
  {
    id: 'P17',
    driver: 'sqlite, prefork',
    promise: 'children that fail at boot: few forks, then the worker exits 78 and shows the first error',
    left: 1,
  },
  async (scene) => {
    const worker = scene.start({ app: fileURLToPath(new URL('./fixtures/broken.mjs', import.meta.url)), concurrency: 2 })
    const id = await scene.send('good')
    expect(await worker.end('SIGCONT', 15_000)).toEqual({ code: 78, signal: null })
    expect(worker.output).toContain('the license server said no')
    expect(readFileSync(join(scene.folder, 'boots'), 'utf8').trim().split('\n').length).toBeLessThanOrEqual(5)
    // It stays where it was, uncounted, for a worker that works.
    expect(await scene.rows("SELECT deliveries FROM messages WHERE queue = 'celery'")).toEqual([{ deliveries: 0 }])
    scene.ledger.confirmed.delete(id)
  },
)
