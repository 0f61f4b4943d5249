/** Processes that die, stand still or do not end (reliability.md B.1), seen from a whole worker. The pools alone are tested in test/pools. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { until } from '../conformance/wait.js'
import { someOf } from '../harness/depth.js'
import { faultTest } from '../harness/fault-test.js'
import { nowMs } from '../harness/recorder.js'
import { memoryOf, processesOf } from '../harness/worker-process.js'
import { processRows } from './process-rows.js'

// Each row with one pool here, and with the other on Redis.
processRows(
  someOf(faultTest, ({ id, variant = '' }) => id === 'P22' || ['unique', 'clock set', id === 'P5' ? 'async' : 'prefork'].includes(variant)),
)

faultTest(
  {
    id: 'P4',
    variant: 'prefork',
    promise: 'kill -9 of a worker ends a child that blocks; its task runs elsewhere',
    dupBound: 1,
  },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 2 })
    const id = await scene.send('spin', ['free'])
    const { pid } = await scene.recorder.started(1, id)
    const killedAt = nowMs()
    await worker.end('SIGKILL')
    await until(() => !processesOf(scene.folder).includes(pid), 'the child is gone')
    scene.release('free')
    await scene.worker()
    await scene.drained()
    expect(scene.recorder.ends(id)).toHaveLength(1)
    return { recoverMs: (scene.recorder.starts(id)[1]?.atMs ?? 0) - killedAt }
  },
)

for (const pool of ['prefork', 'threads'] as const) {
  faultTest(
    {
      id: 'P14',
      variant: pool,
      depth: pool === 'threads' ? 'full' : undefined,
      promise: 'a task that blocks for ever is killed by its hard limit and fails; the others go on',
    },
    async (scene) => {
      await scene.worker({ pool, concurrency: 2 })
      const blocked = await scene.send('spinLimited')
      await scene.sendMany(20, 'work', [10])
      await scene.drained()
      expect(await scene.result(blocked)).toMatchObject({ excType: 'TimeLimitExceeded' })
      // Killed: it never ended, and its end is its failure.
      expect(scene.recorder.ends(blocked)).toHaveLength(0)
      scene.ledger.confirmed.delete(blocked)
    },
  )
}

faultTest(
  {
    id: 'P14',
    variant: 'threads, terminate',
    promise: 'a task that blocks for ever in a thread is revoked with terminate: it ends as REVOKED, the others and their worker go on',
  },
  async (scene) => {
    const worker = await scene.worker({ pool: 'threads', concurrency: 2 })
    const held = await scene.send('hold', ['go'])
    const blocked = await scene.send('spin')
    await scene.recorder.started(2)
    await scene.app.result(blocked).revoke({ terminate: true })
    expect(await scene.result(blocked)).toMatchObject({ reason: 'terminated' })
    const others = await scene.sendMany(10, 'work', [10])
    for (const id of others) expect(await scene.result(id)).toBe(10)
    expect(scene.recorder.ends(held)).toHaveLength(0)
    scene.release('go')
    await scene.drained()
    expect(worker.isRunning).toBe(true)
    // It never ended.
    scene.ledger.confirmed.delete(blocked)
  },
)

faultTest(
  {
    id: 'P14',
    variant: 'async',
    promise: 'a task that blocks the event loop ends its worker with 70; after 5 of them it lies in the dead letters and has failed',
    dupBound: 4,
  },
  async (scene) => {
    const id = await scene.send('spin')
    for (let run = 1; run <= 5; run++) {
      const worker = scene.start({ pool: 'async', options: { workerStuckTimeout: 0.5 } })
      await scene.recorder.started(run, id)
      expect(await worker.end('SIGCONT')).toEqual({ code: 70, signal: null })
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
      variant: 'prefork',
      promise: `a task that ${what}: after 5 deliveries it lies in the dead letters with what ended it, and has failed; the worker lives`,
      dupBound: 4,
    },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 2, env: { NODE_OPTIONS: '--max-old-space-size=64' } })
      const id = await scene.send(task, args)
      await scene.sendMany(20, 'work', [5])
      const [letter] = await scene.deadLettersReach(1)
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
    id: 'P15',
    variant: 'threads',
    depth: 'full',
    promise:
      'a task that runs out of memory: after 5 deliveries it lies in the dead letters with what ended it, and has failed; the worker lives',
    dupBound: 4,
  },
  async (scene) => {
    const worker = await scene.worker({ pool: 'threads', concurrency: 2, options: { workerMaxHeapPerChild: 64 * 1024 } })
    const id = await scene.send('oom')
    await scene.sendMany(20, 'work', [5])
    const [letter] = await scene.deadLettersReach(1, 60_000)
    expect(letter).toMatchObject({ queue: 'celery', reason: expect.stringMatching(/memory/) })
    expect(letter?.reason).toContain('5 times')
    expect(scene.recorder.starts(id)).toHaveLength(5)
    await scene.drained()
    expect(await scene.result(id)).toMatchObject({ excType: 'WorkerLostError', message: expect.stringMatching(/memory/) })
    expect(worker.isRunning).toBe(true)
  },
)

faultTest(
  {
    id: 'P16',
    variant: 'prefork',
    promise: 'a task that leaks 10 MB a run, 100 runs, maxMemoryPerChild 150 MB: no child is over 200 MB',
  },
  async (scene) => {
    await scene.worker({ concurrency: 2, args: ['--max-memory-per-child', String(150 * 1024)] })
    await scene.sendMany(100, 'leak', [10])
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
        return scene.recorder.ends().length >= 100
      },
      '100 runs',
      50_000,
    )
    await scene.drained()
    expect(most.size).toBeGreaterThan(5)
    expect(Math.max(...most.values())).toBeLessThanOrEqual(200)
  },
)

faultTest(
  {
    id: 'P17',
    variant: 'prefork',
    promise: 'children that fail at boot: few forks, then the worker exits 78 and shows the first error',
    left: 1,
  },
  async (scene) => {
    const worker = scene.start({ app: fileURLToPath(new URL('./fixtures/broken.mjs', import.meta.url)), concurrency: 2 })
    const id = await scene.send('good')
    expect(await worker.end('SIGCONT')).toEqual({ code: 78, signal: null })
    expect(worker.output).toContain('the license server said no')
    expect(readFileSync(join(scene.folder, 'boots'), 'utf8').trim().split('\n').length).toBeLessThanOrEqual(5)
    // It stays where it was, uncounted, for a worker that works.
    expect(await scene.broker.rows("SELECT deliveries FROM messages WHERE queue = 'celery'")).toEqual([{ deliveries: 0 }])
    scene.ledger.confirmed.delete(id)
  },
)
