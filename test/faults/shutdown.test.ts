/** Workers that are told to end, whose processes end by themselves, or that run short of files (reliability.md B.1), on the embedded broker. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { until } from '../conformance/wait.js'
import { faultTest } from '../harness/fault-test.js'
import type { Scene } from '../harness/scene.js'

const kept = async (scene: Scene, state: string): Promise<readonly number[]> =>
  (await scene.broker.messages()).filter((one) => one.state === state).map((one) => one.deliveries)

faultTest(
  {
    id: 'P6',
    variant: 'prefork',
    promise:
      'SIGTERM three times, then SIGQUIT twice: the first stops warm, those after it change nothing; SIGQUIT gives back what runs, uncounted',
    dupBound: 2,
    timeoutMs: 60_000,
  },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 2 })
    await scene.sendMany(2, 'hold', ['go'])
    await scene.recorder.started(2)
    await scene.sendMany(3, 'good')
    for (let time = 0; time < 3; time++) {
      worker.signal('SIGTERM')
      await until(async () => (await kept(scene, 'waiting')).length === 3, 'what waits is back')
    }
    expect(scene.recorder.running()).toHaveLength(2)
    worker.signal('SIGQUIT')
    expect(await worker.end('SIGQUIT')).toEqual({ code: 0, signal: null })
    expect(worker.log().filter(({ msg }) => msg.includes('shutting down'))).toHaveLength(1)
    expect(await kept(scene, 'waiting')).toEqual([0, 0, 0, 0, 0])
    scene.release('go')
    await scene.worker()
    await scene.drained()
  },
)

faultTest(
  {
    id: 'P8',
    variant: 'prefork',
    promise:
      'SIGTERM with REMAP_SIGTERM=SIGQUIT and a grace of 1 s: a task that is still at work then is told "shutdown" and goes back, uncounted',
    dupBound: 1,
    timeoutMs: 60_000,
  },
  async (scene) => {
    const worker = await scene.worker({ env: { REMAP_SIGTERM: 'SIGQUIT' }, options: { workerSoftShutdownTimeout: 1 } })
    const long = await scene.send('patient')
    const short = await scene.send('hold', ['go'])
    await scene.recorder.started(2)
    worker.signal('SIGTERM')
    await worker.says('shutting down')
    expect(existsSync(join(scene.folder, 'told'))).toBe(false)
    scene.release('go')
    expect(await worker.end('SIGCONT')).toEqual({ code: 0, signal: null })
    expect(readFileSync(join(scene.folder, 'told'), 'utf8')).toBe('WorkerShutdown')
    expect((await scene.broker.messages()).map(({ id, deliveries }) => [id, deliveries])).toEqual([[long, 0]])
    expect(await scene.app.result(short).state()).toBe('SUCCESS')
    await scene.worker()
    await scene.drained()
  },
)

faultTest(
  {
    id: 'P10',
    timeoutMs: 60_000,
    variant: 'prefork',
    promise: 'a child that is stopped (SIGSTOP) is killed by the hard limit of its task, and its place is back',
  },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 1 })
    const id = await scene.send('hold', ['never'], { timeLimit: 2 })
    const { pid } = await scene.recorder.started(1, id)
    process.kill(pid, 'SIGSTOP')
    const next = await scene.send('good')
    expect(await scene.result(id)).toMatchObject({ excType: 'TimeLimitExceeded' })
    expect(await scene.result(next)).toBe('good')
    expect(worker.isRunning).toBe(true)
    // It never ended, and its end is its failure.
    scene.ledger.confirmed.delete(id)
  },
)

for (const [pool, ends] of [
  ['prefork', ['abort', 'SIGSEGV', '0', '3', 'uncaught']],
  ['threads', ['0', '3', 'uncaught']],
] as const) {
  faultTest(
    {
      id: 'P20',
      variant: pool,
      depth: pool === 'threads' ? 'full' : undefined,
      promise:
        'process.exit(0) and exit(3) (P11), an uncaught error (P13) and, in a process, abort() and a segmentation fault in tasks: each costs its child, and the task runs again; the worker lives',
      dupBound: 5,
      timeoutMs: 60_000,
    },
    async (scene) => {
      const worker = await scene.worker({ pool, concurrency: 2 })
      const ids = await Promise.all(ends.map((how) => scene.send('lost', [how])))
      for (const [n, how] of ends.entries()) expect(await scene.result(ids[n] ?? '', 30_000)).toBe(how)
      const early = await scene.send('lostEarly', ['3'])
      expect(await scene.result(early, 30_000)).toMatchObject({ excType: 'WorkerLostError' })
      scene.ledger.confirmed.delete(early)
      expect(await scene.result(await scene.send('good'), 30_000)).toBe('good')
      expect(worker.isRunning).toBe(true)
    },
  )
}

for (const [id, how, code, what] of [
  ['P11', '3', 3, 'process.exit(3) in a task'],
  ['P13', 'uncaught', 1, 'an error that nobody catches, in a timer of a task'],
] as const) {
  faultTest(
    {
      id,
      variant: 'async',
      promise: `${what}, with 9 others at work: the worker ends with ${code}, another runs all of them again`,
      dupBound: 10,
      timeoutMs: 60_000,
    },
    async (scene) => {
      const worker = await scene.worker({ pool: 'async', concurrency: 10 })
      await scene.sendMany(9, 'hold', ['go'])
      await scene.recorder.started(9)
      await scene.send('lost', [how])
      expect(await worker.end('SIGCONT')).toEqual({ code, signal: null })
      if (how === 'uncaught') expect(worker.output).toContain('from a timer')
      scene.release('go')
      await scene.worker({ pool: 'async', concurrency: 10 })
      await scene.drained()
    },
  )
}

faultTest(
  {
    id: 'P18',
    variant: 'prefork',
    promise:
      'no file descriptor is left when a child must be replaced: EMFILE is told, a few times and not in a loop; with one free the work goes on',
    dupBound: 1,
    timeoutMs: 60_000,
    skip: existsSync('/usr/bin/prlimit') ? undefined : 'there is no prlimit',
  },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 1 })
    const limit = (files: number): void => void execFileSync('prlimit', ['--pid', String(worker.pid), `--nofile=${files}:4096`])
    await scene.send('hold', ['go'])
    const { pid } = await scene.recorder.started(1)
    limit(readdirSync(`/proc/${worker.pid}/fd`).length - 4)
    process.kill(pid, 'SIGKILL')
    await worker.says(/EMFILE[\s\S]*EMFILE/, 20_000)
    expect(worker.isRunning).toBe(true)
    expect(worker.output.split('\n').length).toBeLessThan(60)
    limit(1024)
    scene.release('go')
    await scene.drained()
  },
)
