/** Workflows over Redis (reliability.md B.9). */
import { expect } from 'vitest'
import { Celeriac, chain, chord, group } from '../../dist/index.js'
import { until } from '../conformance/wait.js'
import { someOf } from '../harness/depth.js'
import { RedisBroker } from '../harness/redis-broker.js'
import { redisTest } from '../harness/redis-fault-test.js'
import type { Scene } from '../harness/scene.js'
import { canvasRows } from './canvas-rows.js'

// The counting of a chord is this store's own; what leads to it is the same on every one.
canvasRows(
  someOf(
    redisTest,
    ({ id, variant = '', promise }) =>
      id === 'C3' || /headers/.test(variant) || (id === 'C4' && variant === 'prefork' && !/continuation|ack/.test(promise)),
  ),
)

/** With results on a Redis server of their own. */
async function withOwnResults(
  scene: Scene<RedisBroker>,
  use: (own: { results: RedisBroker; env: Record<string, string>; app: Celeriac }) => Promise<void>,
): Promise<void> {
  await using results = await RedisBroker.start()
  const app = new Celeriac('producer', { brokerUrl: scene.url, resultBackend: results.url, ...scene.broker.options })
  try {
    await use({ results, env: { CELERIAC_RESULT_BACKEND: results.url }, app })
    // The verdict asks the scene's own store, which this row does not use.
    for (const id of scene.ledger.confirmed) {
      expect(scene.recorder.ends(id).length).toBeGreaterThanOrEqual(1)
      scene.ledger.confirmed.delete(id)
    }
    await scene.stopWorkers()
  } finally {
    await app.close()
  }
}

redisTest(
  { id: 'C7', promise: 'the result store is flushed in the middle of a chord: its body ends with ChordError, and nobody waits for ever' },
  (scene) =>
    withOwnResults(scene, async ({ results, env, app }) => {
      await scene.worker({ concurrency: 2, env })
      const headers = [scene.sig('good', [1], {}, app), scene.sig('hold', ['go'], {}, app)]
      const result = await chord(group(headers), scene.sig('good', [], {}, app)).delay()
      scene.expect(result)
      scene.neverRuns(result.id)
      await scene.recorder.started(2)
      await until(async () => (await results.raw.zcard(`celery-taskset-meta-${result.parent?.id}.j`)) === 1, 'the first part')
      await results.raw.flushall()
      scene.release('go')
      await expect(result.get({ timeout: 30 })).rejects.toMatchObject({
        excType: 'ChordError',
        message: expect.stringContaining('state lost'),
      })
    }),
)

redisTest(
  {
    id: 'C9',
    promise:
      'the broker takes no message when a chain and a chord go on: they wait, unacked, and go on when there is room; no step runs twice',
    concurrent: false,
  },
  (scene) =>
    withOwnResults(scene, async ({ env, app }) => {
      await scene.worker({ concurrency: 3, env })
      const hold = scene.sig('hold', ['go'], {}, app)
      const chained = await chain(hold, scene.sig('echo', ['next'], {}, app)).delay()
      const body = await chord(group([hold, hold]), scene.sig('echo', [], {}, app)).delay()
      for (const result of [chained, body]) scene.expect(result)
      await scene.recorder.started(3)
      const { raw } = scene.broker
      await raw.config('SET', 'maxmemory', '1mb')
      scene.release('go')
      await scene.recorder.ended(3)
      const result = app.result(chained.parent?.id ?? '')
      await until(async () => (await result.state()) === 'SUCCESS', 'the end of the first step is stored')
      await until(() => scene.workers.some(({ output }) => /full|maxmemory|OOM/.test(output)), 'the worker says why it waits')
      const kept = async () => (await scene.broker.messages()).some(({ state }) => state === 'leased')
      await until(kept, 'a worker holds what cannot go on')
      await raw.config('SET', 'maxmemory', '0')
      expect(await chained.get({ timeout: 30 })).toEqual(['go', 'next'])
      expect(await body.get({ timeout: 30 })).toEqual([['go', 'go']])
      await until(async () => (await scene.broker.messages()).length === 0, 'every ack')
    }),
)
