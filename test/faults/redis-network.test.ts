/** A network that fails between workers, producers and Redis (reliability.md B.2). The proxy is in this process, the workers are in their own. */
import { expect } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { until } from '../conformance/wait.js'
import { nowMs } from '../harness/recorder.js'
import type { RedisBroker } from '../harness/redis-broker.js'
import { redisTest } from '../harness/redis-fault-test.js'
import type { Scene, WorkerOfScene } from '../harness/scene.js'

const oneSecond = 1_000

/** Its broker connection goes through the proxy; its results do not, so that a fault hits one thing. */
function behind(scene: Scene<RedisBroker>, settings: WorkerOfScene = {}): WorkerOfScene {
  return { ...settings, url: scene.broker.proxied, env: { CELERIAC_RESULT_BACKEND: scene.broker.url, ...settings.env } }
}

/** Whether messages went back to their list since the server began. */
async function wereGivenBack({ broker }: Scene<RedisBroker>): Promise<boolean> {
  return (await broker.raw.info('commandstats')).includes('cmdstat_rpush:')
}

async function withProducer<T>(
  scene: Scene<RedisBroker>,
  options: object,
  use: (send: (retry: boolean) => Promise<string>) => Promise<T>,
): Promise<T> {
  const app = new Celeriac('behind', { brokerUrl: scene.broker.proxied, ...scene.broker.options, ...options })
  try {
    return await use(async (retry) => {
      const id = crypto.randomUUID()
      scene.ledger.attempted.add(id)
      await app.sendTask('good', {}, { taskId: id, retry })
      scene.ledger.confirmed.add(id)
      return id
    })
  } finally {
    await app.close()
  }
}

redisTest({ id: 'N1', promise: 'every connection is reset 10 times under 500 tasks: back each time, nothing twice' }, async (scene) => {
  const { proxy, proxied } = scene.broker
  // Results as well.
  await scene.worker({ url: proxied, pool: 'async', concurrency: 4 })
  await scene.sendMany(500, 'work', [20])
  for (let cut = 1; cut <= 10; cut++) {
    await scene.recorder.ended(cut * 40)
    const before = proxy.accepted
    proxy.rst()
    await until(() => proxy.accepted > before, 'it connects again')
  }
  await scene.drained()
})

redisTest(
  {
    id: 'N2',
    promise: 'a half-open connection for 10 s: another worker takes over, the silence is noticed, and it works on when healed',
    dupBound: 4,
  },
  async (scene) => {
    const { proxy } = scene.broker
    await scene.worker(behind(scene, { concurrency: 4, args: ['-n', 'cut@%h', '--prefetch-multiplier', '1'] }))
    const ids = await scene.sendMany(4, 'hold', ['go'])
    await scene.recorder.started(4)
    const other = await scene.worker({ concurrency: 4, args: ['-n', 'other@%h', '--prefetch-multiplier', '1'] })
    const before = proxy.accepted
    const cutAt = nowMs()
    proxy.blackhole()
    await scene.recorder.started(8)
    const recoverMs = (scene.recorder.starts()[4]?.atMs ?? 0) - cutAt
    scene.release('go')
    for (const id of ids) await scene.result(id)
    await until(() => proxy.accepted > before, 'a new connection is tried')
    await until(() => nowMs() - cutAt > 10_000, 'ten seconds')
    proxy.clear()
    await other.end()
    // Only the one that was cut off is left.
    const id = await scene.send('good')
    await scene.recorder.started(1, id)
    await scene.drained()
    return { recoverMs }
  },
)

for (const killed of [false, true]) {
  redisTest(
    {
      id: 'N3',
      variant: killed ? 'killed' : 'alive',
      promise: killed
        ? 'the reply to a claim is lost and the worker killed before it knows: another runs all 5, nothing twice'
        : 'the reply to a claim is lost: the worker gets what it has claimed over its next connection, nothing twice',
    },
    async (scene) => {
      const { proxy } = scene.broker
      const worker = await scene.worker(behind(scene, { concurrency: 1 }))
      const id = crypto.randomUUID()
      // The first bytes of the message on their way to the worker: Redis has handed it over by then.
      const lost = proxy.before({ direction: 'down', bytes: id }, (link) => (killed ? link.set({ down: { flow: 'drop' } }) : link.rst()))
      await scene.send('good', [], { taskId: id })
      await scene.sendMany(4, 'good')
      await lost
      expect(scene.recorder.starts()).toEqual([])
      if (killed) {
        await worker.end('SIGKILL')
        await scene.worker()
      }
      await scene.drained()
      expect(scene.recorder.starts(id)).toHaveLength(1)
      // A worker that forgets what it claimed gets it, too, when its lease is over.
      expect(await wereGivenBack(scene)).toBe(killed)
    },
  )
}

for (const what of ['request', 'reply'] as const) {
  redisTest(
    { id: 'N4', variant: what, promise: `the ${what} of an ack is lost with its connection: it is repeated, nothing runs twice` },
    async (scene) => {
      const { proxy, raw } = scene.broker
      await scene.worker(behind(scene, { concurrency: 1, args: ['--prefetch-multiplier', '1'] }))
      const id = await scene.send('hold', ['go'])
      await scene.recorder.started(1, id)
      const [lease] = await raw.hkeys('unacked')
      if (lease === undefined) throw new Error('there is no lease')
      // The settling script: one ack, how many messages are wanted, seconds of a lease, and what the leases of this worker begin with.
      const prefix = lease.replace(/[^:]*$/, '')
      const ack = new RegExp(`\\r\\n1\\r\\n\\$\\d+\\r\\n\\d+\\r\\n\\$\\d+\\r\\n[\\d.]+\\r\\n\\$\\d+\\r\\n${prefix}\\r\\n`)
      const lost = proxy.before({ direction: 'up', bytes: ack }, (link) => {
        if (what === 'request') return link.rst()
        link.set({ down: { flow: 'drop' } })
      })
      scene.release('go')
      const link = await lost
      const info = await until(async () => (await scene.app.result(id).state()) === 'SUCCESS', 'its result').then(() =>
        scene.app.result(id).info(),
      )
      if (what === 'reply') {
        await until(async () => (await raw.hlen('unacked')) === 0, 'Redis has the ack')
        link.rst()
      }
      await until(async () => (await raw.hlen('unacked')) === 0, 'the ack')
      // Nor is it the next run that finds that all is done.
      expect(await wereGivenBack(scene)).toBe(false)
      const next = await scene.send('good')
      expect(await scene.result(next)).toBe('good')
      expect(scene.recorder.starts(id)).toHaveLength(1)
      expect(await scene.app.result(id).info()).toEqual(info)
    },
  )
}

redisTest(
  {
    id: 'N5',
    promise: 'the answer to a publish is lost: "uncertain" at its deadline, which is neither success nor failure; the task runs',
  },
  async (scene) => {
    const { proxy } = scene.broker
    await withProducer(scene, {}, async (send) => {
      await send(false)
      for (const cut of [false, true]) {
        const lost = proxy.before({ direction: 'up', bytes: 'LPUSH' }, (link) => link.set({ down: { flow: 'drop' } }))
        const from = nowMs()
        const sending = send(true)
        const link = await lost
        const ids = [...scene.ledger.attempted]
        if (cut) {
          await until(async () => (await scene.broker.messages()).length === ids.length, 'Redis has it')
          link.rst()
        }
        await expect(sending).rejects.toMatchObject({ code: 'ERR_PUBLISH_UNCERTAIN' })
        // Five seconds, whatever the tries would take.
        expect(nowMs() - from).toBeLessThanOrEqual(20 * oneSecond)
        // A half-open connection is left behind: the next call must not be sent on it.
        proxy.rst()
      }
      await send(true)
    })
    await scene.worker()
    await scene.recorder.ended(4)
    await scene.drained()
  },
)

redisTest(
  { id: 'N5', variant: 'again', promise: 'an uncertain call that is made again with its task id leaves one result', dupBound: 1 },
  async (scene) => {
    const { proxy, raw } = scene.broker
    await withProducer(scene, {}, async (send) => {
      await send(false)
      const id = crypto.randomUUID()
      scene.ledger.attempted.add(id)
      const app = scene.app
      const lost = proxy.before({ direction: 'up', bytes: id }, (link) => link.set({ down: { flow: 'drop' } }))
      const other = new Celeriac('once', { brokerUrl: scene.broker.proxied, ...scene.broker.options })
      try {
        const sending = other.sendTask('good', { args: ['once'] }, { taskId: id })
        const link = await lost
        await until(async () => (await raw.llen('celery')) === 2, 'Redis has it')
        link.rst()
        await expect(sending).rejects.toMatchObject({ code: 'ERR_PUBLISH_UNCERTAIN' })
        await other.sendTask('good', { args: ['once'] }, { taskId: id })
        scene.ledger.confirmed.add(id)
      } finally {
        await other.close()
      }
      await scene.worker()
      expect(await app.result(id).get({ timeout: 30 })).toBe('once')
    })
    await scene.drained()
  },
)

redisTest(
  { id: 'N6', promise: 'a slow line (200 ± 100 ms, 64 KB/s) with messages of 20 KB: slower, and no lease is lost' },
  async (scene) => {
    const { proxy } = scene.broker
    const slow = { delayMs: 200, jitterMs: 100, bytesPerSecond: 64 * 1024 }
    proxy.set({ up: slow, down: slow })
    const worker = await scene.worker(behind(scene, { concurrency: 2, args: ['--prefetch-multiplier', '1'] }))
    // Somebody who would take over what is lost.
    await scene.sendMany(20, 'returns', ['nothing', 'x'.repeat(20_000)])
    await scene.drained()
    expect(worker.log().filter((line) => line.level >= 50)).toEqual([])
  },
)

redisTest(
  { id: 'N8', promise: 'a server that takes connections and never speaks: the next of the list, for workers and callers' },
  async (scene) => {
    const { proxy, proxied, url } = scene.broker
    proxy.acceptOnly()
    const worker = scene.start({ url: `${proxied};${url}`, env: { CELERIAC_RESULT_BACKEND: url } })
    const app = new Celeriac('lists', { brokerUrl: [proxied, url], ...scene.broker.options, publishTimeout: 40 })
    try {
      const id = crypto.randomUUID()
      scene.ledger.attempted.add(id)
      await app.sendTask('good', {}, { taskId: id })
      scene.ledger.confirmed.add(id)
    } finally {
      await app.close()
    }
    await worker.ready()
    await scene.drained()
    const alone = scene.start({ url: proxied, env: { CELERIAC_RESULT_BACKEND: url }, options: { brokerConnectionRetryOnStartup: false } })
    expect(await alone.end('SIGCONT', 40_000)).toEqual({ code: 69, signal: null })
    expect(alone.output).toMatch(/did not answer within 4 s/)
  },
)

for (const how of ['refused', 'silent'] as const) {
  redisTest(
    {
      id: 'N14',
      variant: how,
      promise: `Redis is away (${how}) for 10 s while the worker is idle: it consumes again within seconds of its return`,
    },
    async (scene) => {
      const { proxy } = scene.broker
      const worker = await scene.worker(behind(scene, { concurrency: 1 }))
      const first = await scene.send('good')
      await scene.result(first)
      const awayAt = nowMs()
      if (how === 'refused') await proxy.shut()
      else proxy.blackhole()
      const id = await scene.send('good')
      await until(() => nowMs() - awayAt > 10_000, 'ten seconds')
      expect(scene.recorder.starts(id)).toEqual([])
      expect(worker.isRunning).toBe(true)
      const backAt = nowMs()
      if (how === 'refused') await proxy.open()
      else proxy.clear()
      const { atMs } = await scene.recorder.started(1, id)
      // Two at most: the waits between tries do not grow without end.
      expect(atMs - backAt).toBeLessThanOrEqual(10 * oneSecond)
      await scene.drained()
      return { recoverMs: atMs - backAt }
    },
  )
}

redisTest(
  { id: 'N14', variant: 'probe', promise: 'a worker is not ready while Redis does not answer, and ready again when it does' },
  async (scene) => {
    const { proxy, proxied, options } = scene.broker
    for (const [away, back] of [
      [() => proxy.shut(), () => proxy.open()],
      [() => proxy.blackhole(), () => proxy.clear()],
    ] as const) {
      const app = new Celeriac('probe', {
        brokerUrl: proxied,
        resultBackend: scene.url,
        ...options,
        workerPool: 'async',
        workerLogLevel: 'fatal',
      })
      app.task('nothing', () => 0)
      const worker = await app.worker({ concurrency: 1 }).start()
      try {
        expect(worker.isReady).toBe(true)
        await away()
        await until(() => !worker.isReady, 'it is not ready')
        await back()
        await until(() => worker.isReady, 'it is ready')
      } finally {
        await worker.stop()
        await app.close()
      }
    }
  },
)
