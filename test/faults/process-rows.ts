/** Processes that die, stand still or stop (reliability.md B.1), as they must be on every broker that processes share. */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { until } from '../conformance/wait.js'
import type { FaultTest, Seen } from '../harness/fault-test.js'
import { nowMs } from '../harness/recorder.js'
import type { Scene } from '../harness/scene.js'
import { leaseTtlMs } from '../harness/scene-broker.js'
import { processesOf } from '../harness/worker-process.js'

const hour = 3_600_000
const pools = ['prefork', 'threads', 'async'] as const

/**
 * Of two workers the first is killed while it runs four tasks and holds others. In the middle of its runs: a task that has just ended, and whose result is
 * not stored yet, would run again as well (B.15, run.after_return).
 */
export async function killedInTheMiddle(scene: Scene, pool: (typeof pools)[number]): Promise<Seen> {
  const first = await scene.worker({ pool, concurrency: 4, args: ['-n', 'first@%h'] })
  const held = await scene.sendMany(4, 'hold', ['go'])
  await scene.recorder.started(4)
  const others = await scene.sendMany(40, 'work', [20])
  const second = await scene.worker({ pool, concurrency: 4, args: ['-n', 'second@%h'] })
  const killedAt = nowMs()
  await first.end('SIGKILL')
  for (const id of held) await scene.recorder.started(2, id)
  scene.release('go')
  await scene.drained()
  const again = held.map((id) => scene.recorder.starts(id)[1])
  expect(again.every((run) => run?.redelivered === true && run.worker.startsWith('second@'))).toBe(true)
  for (const id of others) expect(scene.recorder.starts(id)).toHaveLength(1)
  expect(second.isRunning).toBe(true)
  return { recoverMs: Math.min(...again.map((run) => run?.atMs ?? 0)) - killedAt }
}

export function processRows(faultTest: FaultTest): void {
  for (const pool of pools) {
    faultTest(
      { id: 'P1', variant: pool, promise: 'kill -9 of a worker with 4 running tasks: another runs them again', dupBound: 4 },
      async (scene) => {
        return killedInTheMiddle(scene, pool)
      },
    )
  }

  faultTest(
    {
      id: 'P2',
      variant: 'prefork',
      promise: 'kill -9 of one child: its task runs again once, counted; the others do not notice',
      dupBound: 1,
      concurrent: false,
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
      expect(again.pid).not.toBe(victim.pid)
      expect(again.redelivered).toBe(true)
      const kept = await scene.broker.messages()
      expect(Object.fromEntries(kept.map((message) => [message.id, message.deliveries]))).toEqual(
        Object.fromEntries(ids.map((id) => [id, id === victim.id ? 1 : 0])),
      )
      scene.release('go')
      await scene.drained()
      for (const id of ids) expect(scene.recorder.starts(id).length).toBe(id === victim.id ? 2 : 1)
      return { recoverMs }
    },
  )

  for (const pool of pools) {
    faultTest(
      {
        id: 'P5',
        variant: pool,
        promise: 'SIGTERM with 4 running and 16 prefetched: running ones end, the others go back at once and uncounted',
      },
      async (scene) => {
        const worker = await scene.worker({ pool, concurrency: 4, args: ['--prefetch-multiplier', '5'] })
        const running = await scene.sendMany(4, 'hold', ['go'])
        await scene.recorder.started(4)
        const prefetched = await scene.sendMany(16, 'work', [1])
        const count = async (state: string): Promise<number> => (await scene.broker.messages()).filter((one) => one.state === state).length
        // The async pool runs what it gets; -c bounds it.
        await until(async () => (await count('leased')) === 20, 'all are leased')
        worker.signal('SIGTERM')
        await until(async () => (await count('waiting')) === 16, 'the prefetched are back')
        expect(worker.isRunning).toBe(true)
        scene.release('go')
        expect(await worker.end('SIGCONT')).toEqual({ code: 0, signal: null })
        expect((await scene.broker.messages()).map((message) => message.deliveries)).toEqual(prefetched.map(() => 0))
        for (const id of running) expect(await scene.app.result(id).state()).toBe('SUCCESS')
        await scene.worker()
        await scene.drained()
      },
    )
  }

  for (const pool of pools) {
    faultTest(
      {
        id: 'P9',
        variant: pool,
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
    {
      id: 'P22',
      variant: 'async',
      promise: 'two workers of one name: the second says so; one is killed (kill -9), and the other keeps what is its own',
      dupBound: 4,
      timeoutMs: 60_000,
    },
    async (scene) => {
      const settings = { pool: 'async', concurrency: 4, args: ['-n', 'same@h', '--prefetch-multiplier', '1'] } as const
      const first = await scene.worker(settings)
      const mine = await scene.sendMany(4, 'hold', ['go'])
      await scene.recorder.started(4)
      const second = await scene.worker(settings)
      await second.says('another worker is called same@h')
      await scene.sendMany(4, 'hold', ['go'])
      await scene.recorder.started(8)
      await second.end('SIGKILL')
      await scene.recorder.started(8)
      // What the second had comes to the first only when there is a place again.
      for (const id of mine) expect(scene.recorder.starts(id)).toHaveLength(1)
      scene.release('go')
      await scene.drained(40_000)
      for (const id of mine) expect(scene.recorder.starts(id)).toHaveLength(1)
      expect(processesOf(scene.folder)).toContain(first.pid)
    },
  )

  faultTest(
    {
      id: 'P1',
      variant: 'unique',
      promise:
        'kill -9 of a worker that runs a unique task: calls made meanwhile are that task, it runs again, and its lock goes with its end',
      dupBound: 1,
    },
    async (scene) => {
      const call = (taskId = randomUUID()) => scene.app.sendTask('hold', { args: ['go'] }, { taskId, unique: 'k' })
      const first = await scene.worker({ concurrency: 1, args: ['-n', 'first@%h'] })
      const id = await scene.send('hold', ['go'], { unique: 'k' })
      await scene.recorder.started(1, id)
      expect((await call()).id).toBe(id)
      await first.end('SIGKILL')
      expect((await call()).id).toBe(id)
      await scene.worker({ concurrency: 1, args: ['-n', 'second@%h'] })
      await scene.recorder.started(2, id)
      expect((await call()).id).toBe(id)
      scene.release('go')
      await scene.drained()
      const next = randomUUID()
      scene.ledger.attempted.add(next)
      await until(async () => (await call(next)).id === next, 'the lock is free')
      scene.ledger.confirmed.add(next)
      await scene.drained()
    },
  )

  faultTest(
    {
      id: 'B10',
      variant: 'clock set',
      promise:
        'the clock of a worker is put forward by an hour and back by two while tasks run: no lease ends, nothing runs twice, and what waits for its time runs',
    },
    async (scene) => {
      const clock = join(scene.folder, 'clock')
      const preload = fileURLToPath(new URL('./fixtures/clock.mjs', import.meta.url))
      const env = { FAULTS_CLOCK: clock, NODE_OPTIONS: `--import ${preload}` }
      const worker = await scene.worker({ pool: 'async', concurrency: 4, env, args: ['-n', 'set@%h', '--prefetch-multiplier', '1'] })
      await scene.sendMany(4, 'hold', ['go'])
      await scene.recorder.started(4)
      // It would take over what it could.
      await scene.worker({ pool: 'async', concurrency: 4, args: ['-n', 'right@%h', '--prefetch-multiplier', '1'] })
      writeFileSync(clock, String(hour))
      const setAt = nowMs()
      await until(() => nowMs() - setAt > leaseTtlMs, 'a lease time')
      expect(scene.recorder.starts()).toHaveLength(4)
      writeFileSync(clock, String(-hour))
      const first = await scene.send('good', [], { countdown: 1 })
      await until(() => nowMs() - setAt > leaseTtlMs + 500, 'half a second more')
      writeFileSync(clock, '0')
      const second = await scene.send('good', [], { countdown: 1 })
      scene.release('go')
      for (const id of [first, second]) expect(await scene.result(id)).toBe('good')
      await scene.drained()
      expect(worker.isRunning).toBe(true)
    },
  )
}
