/** Values that cannot be results, and result stores that fail (reliability.md B.8). */
import { expect } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { loadEngine } from '../../dist/internal/sqlite/engine.js'
import { until } from '../conformance/wait.js'
import { faultTest } from '../harness/fault-test.js'
import { nowMs } from '../harness/recorder.js'
import type { Scene } from '../harness/scene.js'
import { resultRows } from './result-rows.js'

faultTest(
  { id: 'T1', promise: 'values that are no data fail their task with the path of what cannot be written; none hangs' },
  async (scene) => {
    await scene.worker({ concurrency: 1 })
    const refused = {
      cycle: 'result.a.b',
      function: 'result.a[0]',
      proxy: 'result.a',
      toJSON: 'result.a',
      nan: 'result.a',
      symbol: 'result.a',
    }
    for (const [what, path] of Object.entries(refused)) {
      const id = await scene.send('returns', [what])
      expect(await scene.result(id), what).toMatchObject({ excType: 'EncodeError', message: expect.stringContaining(path) })
      expect(scene.recorder.starts(id), what).toHaveLength(1)
    }
    const written: Record<string, unknown> = {
      undefined: null,
      bigint: 12345678901234567890n,
      date: new Date(Date.UTC(2026, 0, 2)),
      buffer: new Uint8Array(Buffer.from('bytes')),
    }
    for (const [what, value] of Object.entries(written)) {
      const result = await scene.result(await scene.send('returns', [what]))
      expect(result instanceof Uint8Array ? new Uint8Array(result) : result, what).toEqual(value)
    }
    // An Error or a Map is no data either, whatever it looks like.
    for (const what of ['error', 'map']) {
      expect(await scene.result(await scene.send('returns', [what])), what).toMatchObject({ excType: 'EncodeError' })
    }
  },
)

faultTest({ id: 'T2', promise: 'a result of 64 MB fails its task, which is not run again' }, async (scene) => {
  await scene.worker({ concurrency: 1 })
  const id = await scene.send('returns', ['large'])
  expect(await scene.result(id)).toMatchObject({ excType: 'TooLargeError' })
  await scene.result(await scene.send('good'))
  expect(scene.recorder.starts(id)).toHaveLength(1)
})

/** Holds the lock of the result store, as a process does that hangs in a transaction. */
async function lockResults(scene: Scene): Promise<() => void> {
  const engine = (await loadEngine())(`${scene.folder}/broker/results.db`)
  engine.exec('PRAGMA busy_timeout = 5000')
  engine.exec('BEGIN IMMEDIATE')
  return () => {
    engine.exec('ROLLBACK')
    engine.close()
  }
}

async function withOwnResults(scene: Scene): Promise<{ env: Record<string, string>; app: Celeriac }> {
  const url = `sqlite://${scene.folder}/broker/results.db`
  const app = new Celeriac('reader', { brokerUrl: scene.url, resultBackend: url })
  await Celeriac.internals(app).core.connections.backend()
  return { env: { CELERIAC_RESULT_BACKEND: url }, app }
}

for (const { seconds, promise, dupBound } of [
  { seconds: 7, promise: 'the result store is away for 7 s when the task ends: acked only after its result is stored', dupBound: 0 },
  { seconds: 33, promise: 'the result store is away for over 30 s: the task goes back to its queue, unacked', dupBound: 1 },
]) {
  faultTest({ id: 'T5', variant: `${seconds} s`, promise, dupBound }, async (scene) => {
    const { env, app } = await withOwnResults(scene)
    try {
      await scene.worker({ concurrency: 1, env })
      const id = await scene.send('hold', ['go'])
      await scene.recorder.started(1, id)
      const unlock = await lockResults(scene)
      const lockedAt = nowMs()
      scene.release('go')
      await scene.recorder.ended(1, id)
      const connection = await scene.connection()
      if (dupBound === 0) {
        await until(
          async () => {
            expect(await connection.locate(id)).toBe('leased')
            return nowMs() - lockedAt > seconds * 1_000
          },
          'the store is back',
          seconds * 1_000 + 1_000,
        )
      } else {
        await scene.recorder.started(2, id, 45_000)
        expect(nowMs() - lockedAt).toBeGreaterThan(30_000)
      }
      unlock()
      expect(await app.result(id).get({ timeout: 30 })).toBe('go')
      await until(async () => (await connection.locate(id)) === 'absent', 'the ack')
      expect(scene.recorder.starts(id)).toHaveLength(1 + dupBound)
      // The verdict asks the scene's own store, which this test does not use.
      scene.ledger.confirmed.delete(id)
      expect(scene.recorder.ends(id).length).toBeGreaterThanOrEqual(1)
    } finally {
      await app.close()
    }
  })
}

resultRows(faultTest)
