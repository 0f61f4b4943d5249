/** Faults of the embedded database (reliability.md B.5) under whole workers and producers. The transport alone is tested in test/transports and test/internal/sqlite. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { until } from '../conformance/wait.js'
import { faultTest } from '../harness/fault-test.js'
import { produce } from '../harness/producer-process.js'
import type { Scene } from '../harness/scene.js'
import { mountSmallDisk, noSmallDisk, unmountSmallDisk } from '../harness/small-disk.js'
import type { SqliteBroker } from '../harness/sqlite-broker.js'

async function expectWhole(scene: Scene<SqliteBroker>): Promise<void> {
  expect(await scene.broker.rows('PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }])
}

for (const point of ['sqlite.before-commit', 'sqlite.after-commit']) {
  faultTest(
    {
      id: 'S1',
      promise: `kill -9 of workers and producers at ${point}: what was confirmed is run, the file is whole`,
      // Two workers are killed, each with at most its prefetch of 2 x 4 runs that had ended and were not stored yet.
      dupBound: 16,
    },
    async (scene) => {
      // The first commits of each make the tables; those that follow carry tasks.
      for (const at of [4, 9]) {
        const producer = await produce(scene, 100, ['work', 1], { CELERIAC_FAILPOINTS: `${point}=kill9@${at}` })
        expect(producer.signal).toBe('SIGKILL')
        const worker = scene.start({ pool: 'async', concurrency: 2, env: { CELERIAC_FAILPOINTS: `${point}=kill9@${at + 3}` } })
        expect(await worker.end('SIGCONT')).toEqual({ code: null, signal: 'SIGKILL' })
        await expectWhole(scene)
      }
      await scene.worker()
      await scene.drained()
      await expectWhole(scene)
    },
  )
}

for (const point of ['publish.before_send', 'publish.after_send']) {
  faultTest(
    { id: 'S1', variant: 'producer', promise: `kill -9 of a producer at ${point}: all that it was told is confirmed is run` },
    async (scene) => {
      const producer = await produce(scene, 50, ['work', 1], { CELERIAC_FAILPOINTS: `${point}=kill9@13` })
      expect(producer.signal).toBe('SIGKILL')
      expect(scene.ledger.confirmed.size).toBeGreaterThanOrEqual(10)
      await scene.worker()
      await scene.drained()
    },
  )
}

faultTest({ id: 'S2', promise: '4 producers and 4 workers on one file: no error, nothing twice' }, async (scene) => {
  const workers = await Promise.all(
    [1, 2, 3, 4].map((n) => scene.worker({ pool: n % 2 === 0 ? 'async' : 'prefork', concurrency: 1, args: ['-n', `w${n}@%h`] })),
  )
  const producers = await Promise.all([1, 2, 3, 4].map(() => produce(scene, 100, ['work', 1])))
  expect(producers).toEqual(producers.map(() => ({ code: 0, signal: null, errors: '' })))
  expect(scene.ledger.confirmed.size).toBe(400)
  await scene.drained()
  // That an async worker cannot keep the hard limit of a task of the fixture is no fault.
  const complaints = workers.flatMap((worker) =>
    worker.log().filter(({ level, msg }) => level >= 40 && !msg.includes('time limit of spinLimited')),
  )
  expect(complaints).toEqual([])
})

faultTest(
  {
    id: 'S3',
    skip: noSmallDisk(),
    promise: 'a full disk: calls say so, what was taken is run and acked, and all is well when there is room again',
  },
  async (scene) => {
    const folder = join(scene.folder, 'broker')
    mountSmallDisk(folder, '6m')
    try {
      await scene.sendMany(20, 'hold', ['go'])
      const worker = await scene.worker({ pool: 'async', concurrency: 20, args: ['--prefetch-multiplier', '1'] })
      await scene.recorder.started(20)
      const filler = 'x'.repeat(100_000)
      let refusal: unknown
      await until(async () => {
        refusal = await scene.send('returns', ['nothing', filler]).then(
          () => undefined,
          (error: unknown) => error,
        )
        return refusal !== undefined
      }, 'a call is refused')
      expect(refusal).toMatchObject({ code: 'ERR_BROKER_FULL' })
      scene.release('go')
      await scene.drained()
      expect(worker.isRunning).toBe(true)
      // The reserve is written again when there is room, which is tried now and then.
      await until(
        () =>
          scene.send('good', [1]).then(
            () => true,
            (error: { code?: string }) => error.code !== 'ERR_BROKER_FULL',
          ),
        'calls are taken again',
      )
      await scene.drained()
      await expectWhole(scene)
      await scene.stopWorkers()
      const verdict = await scene.verdict()
      expect([verdict.lost, verdict.stuck, verdict.left]).toEqual([[], [], 0])
    } finally {
      await scene.app.close()
      await scene.stopWorkers()
      // The verdict reads the file once more.
      execFileSync('cp', ['-a', folder, `${folder}-kept`])
      unmountSmallDisk(folder)
      rmSync(folder, { recursive: true })
      execFileSync('mv', [`${folder}-kept`, folder])
    }
  },
)

faultTest(
  { id: 'S7', promise: 'a database that others may write to, or a link to one: worker and producer refuse it and say what helps' },
  async (scene) => {
    const folder = join(scene.folder, 'broker')
    mkdirSync(folder, { mode: 0o700 })
    const file = join(folder, 'queue.db')
    const refused = async (): Promise<void> => {
      const worker = scene.start()
      expect(await worker.end('SIGCONT')).toEqual({ code: 78, signal: null })
      expect(worker.output).toContain('ERR_UNSAFE_FILE')
      const producer = await produce(scene, 5, ['good'])
      expect(producer.code).not.toBe(0)
      expect(producer.errors).toContain('ERR_UNSAFE_FILE')
    }
    const target = join(scene.folder, 'tmp/elsewhere.db')
    writeFileSync(target, '', { mode: 0o600 })
    symlinkSync(target, file)
    await refused()
    rmSync(file)
    rmSync(target)
    writeFileSync(file, '')
    chmodSync(file, 0o666)
    await refused()
    rmSync(file)
    chmodSync(folder, 0o777)
    await refused()
    chmodSync(folder, 0o700)
    // What it made now is its own: 0600 in 0700.
    await scene.send('good')
    await scene.worker()
    await scene.drained()
  },
)
