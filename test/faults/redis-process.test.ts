/** Processes and results over Redis (reliability.md B.1, B.8, B.14, B.15). */
import { inspect } from 'node:util'
import { expect } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { until } from '../conformance/wait.js'
import { canary, everything, expectNone, expectNoneInProcesses, run } from '../harness/canary.js'
import { rounds, someOf, takesCell } from '../harness/depth.js'
import { nowMs } from '../harness/recorder.js'
import { RedisBroker } from '../harness/redis-broker.js'
import { redisTest } from '../harness/redis-fault-test.js'
import type { Scene } from '../harness/scene.js'
import type { WorkerProcess } from '../harness/worker-process.js'
import { crashRows } from './crash-rows.js'
import { processRows } from './process-rows.js'
import { resultRows } from './result-rows.js'

const oneSecond = 1_000

// P2: how often a message was delivered is kept in another way here.
processRows(someOf(redisTest, ({ id, variant }) => id === 'P2' || (id !== 'P22' && variant === (id === 'P5' ? 'prefork' : 'async'))))
crashRows(redisTest, {
  linksAgain: true,
  pools: ['prefork'],
  // Links that may run again are another promise; the other points are divided among the brokers.
  takes: ({ promise }) => /may run again|after_claim|after_return/.test(promise),
})
resultRows(someOf(redisTest, ({ id }) => id !== 'T4'))

redisTest(
  { id: 'P5', variant: 'Redis is away', promise: 'SIGTERM while Redis cannot be reached: the worker ends all the same', dupBound: 1 },
  async (scene) => {
    const { proxy, proxied } = scene.broker
    const worker = await scene.worker({ url: proxied, env: { CELERIAC_RESULT_BACKEND: scene.url }, concurrency: 1 })
    await scene.send('hold', ['go'])
    await scene.recorder.started(1)
    proxy.blackhole()
    await proxy.shut()
    worker.signal('SIGTERM')
    scene.release('go')
    expect((await worker.end('SIGCONT', 40_000)).signal).toBe(null)
    await proxy.open()
    proxy.clear()
    await scene.worker()
    await scene.drained()
  },
)

/** With results on a Redis server of their own, behind its proxy. */
async function withOwnResults(
  scene: Scene,
  use: (own: { results: RedisBroker; env: Record<string, string>; reader: Celeriac }) => Promise<void>,
): Promise<void> {
  await using results = await RedisBroker.start({ appendonly: true })
  const reader = new Celeriac('reader', { brokerUrl: scene.url, resultBackend: results.url, ...scene.broker.options })
  try {
    await use({ results, env: { CELERIAC_RESULT_BACKEND: results.proxied }, reader })
    // The verdict asks the scene's own store, which this row does not use.
    for (const id of scene.ledger.confirmed) {
      expect(scene.recorder.ends(id).length).toBeGreaterThanOrEqual(1)
      scene.ledger.confirmed.delete(id)
    }
    await scene.stopWorkers()
  } finally {
    await reader.close()
  }
}

for (const { seconds, promise, dupBound } of [
  { seconds: 7, promise: 'the result store is away for 7 s when the task ends: acked only after its result is stored', dupBound: 0 },
  {
    seconds: 33,
    promise: 'the result store is away for over 30 s: the task goes back to its queue, unacked, and runs again when the store is there',
    dupBound: 1,
  },
]) {
  redisTest({ id: 'T5', variant: `${seconds} s`, promise, dupBound }, (scene) =>
    withOwnResults(scene, async ({ results, env, reader }) => {
      const worker = await scene.worker({ concurrency: 1, env })
      const id = await scene.send('hold', ['go'])
      await scene.recorder.started(1, id)
      await results.proxy.shut()
      const awayAt = nowMs()
      scene.release('go')
      await scene.recorder.ended(1, id)
      if (dupBound === 0) {
        await until(
          async () => {
            expect(await scene.broker.messages()).toMatchObject([{ id, state: 'leased' }])
            return nowMs() - awayAt > seconds * oneSecond
          },
          'the store is back',
          (seconds + 30) * oneSecond,
        )
      } else {
        await worker.says(/could not be settled and goes back to its queue/, 45_000)
        expect(nowMs() - awayAt).toBeGreaterThan(30_000)
        // Whether it had ended before cannot be asked: it is not run without that.
        expect(scene.recorder.starts(id)).toHaveLength(1)
        expect(new Set((await scene.broker.messages()).map((message) => message.id))).toEqual(new Set([id]))
      }
      await results.proxy.open()
      expect(await reader.result(id).get({ timeout: 40 })).toBe('go')
      await until(async () => (await scene.broker.messages()).length === 0, 'the ack')
      expect(scene.recorder.starts(id)).toHaveLength(1 + dupBound)
    }),
  )
}

redisTest(
  {
    id: 'P7',
    variant: 'async',
    promise: 'SIGTERM while the answer to a claim is on its way (300 ms): what it brings goes back, nothing runs twice',
  },
  async (scene) => {
    const { proxy, proxied } = scene.broker
    const worker = await scene.worker({ pool: 'async', concurrency: 4, url: proxied, env: { CELERIAC_RESULT_BACKEND: scene.broker.url } })
    await scene.result(await scene.send('good'))
    // Every answer from now on is late.
    proxy.set({ down: { delayMs: 300 } })
    const claimed = async (): Promise<boolean> => (await scene.broker.messages()).some(({ state }) => state === 'leased')
    const ids = await scene.sendMany(20, 'good')
    await until(claimed, 'the server has given some away')
    expect(await worker.end('SIGTERM')).toEqual({ code: 0, signal: null })
    const started = new Set(scene.recorder.starts().map(({ id }) => id))
    const kept = await scene.broker.messages()
    expect(kept.map(({ state, deliveries }) => [state, deliveries])).toEqual(kept.map(() => ['waiting', 0]))
    expect(kept.map(({ id }) => id).sort()).toEqual(ids.filter((id) => !started.has(id)).sort())
    await scene.worker({ pool: 'async' })
    await scene.drained()
  },
)

const restarts = rounds(5, 20)
redisTest(
  {
    id: 'P21',
    variant: 'async',
    promise: 'a rolling restart, again and again, under 200 tasks a second: nothing is lost, nothing runs twice',
    timeoutMs: restarts * 30_000,
  },
  async (scene) => {
    const start = (): Promise<WorkerProcess> => scene.worker({ pool: 'async', concurrency: 10 })
    let worker = await start()
    let goesOn = true
    const load = (async () => {
      for (; goesOn; await new Promise((resolve) => setTimeout(resolve, 50))) await scene.sendMany(10, 'work', [20])
    })()
    for (let restart = 0; restart < restarts; restart++) {
      const before = scene.recorder.ends().length
      const next = await start()
      expect(await worker.end('SIGTERM')).toEqual({ code: 0, signal: null })
      worker = next
      await until(() => scene.recorder.ends().length > before + 20, 'the next is at work', 20_000)
    }
    goesOn = false
    await load
    await scene.drained(restarts * 12_000)
  },
)

redisTest(
  { id: 'T9', promise: '10 000 waits for results that nobody gives: one subscription each at most, all of them gone afterwards' },
  async (scene) => {
    const { raw } = scene.broker
    const channels = async (): Promise<number> => ((await raw.call('pubsub', 'channels', '*')) as unknown[]).length // a list, as Redis answers
    const before = process.memoryUsage().rss
    const ids = Array.from({ length: 10_000 }, (_, n) => `unknown-${n}`)
    // Several that wait for one result share what is listened to.
    const waits = [...ids, ...ids.slice(0, 100)].map((id) =>
      scene.app
        .result(id)
        .get({ timeout: 5 })
        .then(
          () => 'a result',
          (error: Error) => error.name,
        ),
    )
    await until(async () => (await channels()) >= 10_000, 'all are listened to', 20_000)
    expect(await channels()).toBeLessThanOrEqual(10_100)
    expect(new Set(await Promise.all(waits))).toEqual(new Set(['TimeoutError']))
    await until(async () => (await channels()) <= 100, 'nothing is listened to any more', 20_000)
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 ** 2)
  },
)

redisTest({ id: 'T6', promise: 'the result store is killed while 100 calls wait: all have their result after its return' }, (scene) =>
  withOwnResults(scene, async ({ results, env, reader }) => {
    await scene.worker({ pool: 'async', concurrency: 100, env })
    const ids = await scene.sendMany(100, 'hold', ['go'])
    const waits = ids.map((id) => reader.result(id).get({ timeout: 60 }))
    await scene.recorder.started(100)
    await results.server.kill()
    scene.release('go')
    await scene.recorder.ended(100)
    await results.server.restart()
    expect(await Promise.all(waits)).toEqual(ids.map(() => 'go'))
    await until(async () => (await scene.broker.messages()).length === 0, 'the acks')
  }),
)

redisTest(
  {
    id: 'L1',
    promise: 'the password of a Redis server is shown nowhere: banner, logs, errors, inspect-config, ps, util.inspect',
    server: { password: canary },
    // It starts some twenty processes.
    timeoutMs: 300_000,
  },
  async (scene) => {
    const { server } = scene.broker
    for (const format of ['json', 'human']) {
      const worker = await scene.worker({ args: ['-l', 'debug', '--log-format', format] })
      const ids = [await scene.send('good'), await scene.send('fail', ['on purpose'])]
      for (const id of ids) await scene.result(id)
      expectNoneInProcesses(scene.folder)
      // What is said of a lost connection as well.
      await scene.broker.raw.call('client', 'kill', 'type', 'normal', 'skipme', 'yes')
      await scene.result(await scene.send('good', [], { retry: { maxRetries: 10 } }))
      await worker.end()
      expect(worker.output).toContain('redis://:**@127.0.0.1')
      expectNone(worker.output, `a worker with ${format} logs`)
    }
    expectNone(inspect(scene.app, { depth: 20, showHidden: true, getters: true }), 'util.inspect of an app that is connected')
    // A password that is wrong here, a user that is none, a database and a port that are not there, and a server that is no Redis with TLS.
    const secret = encodeURIComponent(canary)
    const urls = [
      `redis://:${secret}wrong@127.0.0.1:${server.port}/0`,
      `redis://nobody:${secret}@127.0.0.1:${server.port}/0`,
      `redis://:${secret}@127.0.0.1:${server.port}/9999`,
      `redis://:${secret}@127.0.0.1:1/0`,
      `rediss://:${secret}@127.0.0.1:${server.port}/0`,
      `sentinel://:${secret}@127.0.0.1:${server.port}/0`,
      `redis+socket:///no/such/socket?virtual_host=0&password=${secret}`,
      `redis://:${secret}@127.0.0.1:${server.port}/not-a-number`,
    ]
    for (const [number, url] of urls.entries()) {
      const both = { CELERIAC_BROKER_URL: url, CELERIAC_RESULT_BACKEND: url }
      const commands: readonly [args: readonly string[], env: Readonly<Record<string, string>>][] = [
        [['worker', '--verbose', '-l', 'debug'], both],
        [['call', 'good', '--verbose'], { CELERIAC_BROKER_URL: url }],
        [['result', 'some-id', '--verbose', '--timeout', '1'], both],
        [['inspect-config', '--json'], both],
      ]
      // The first with all commands, the others with one each.
      const taken = commands.filter((_, index) => number === 0 || takesCell(number, index, commands.length))
      await Promise.all(
        taken.map(async ([args, env]) => {
          const output = await run(scene.folder, args, env)
          expect(output).not.toBe('')
          expectNone(output, `${args[0]} with ${url.slice(0, 12)}`)
        }),
      )
      let producer: Celeriac
      try {
        producer = new Celeriac('producer', { brokerUrl: url, resultBackend: url })
      } catch (error) {
        expectNone(everything(error), 'the error of new Celeriac')
        continue
      }
      for (const attempt of [() => producer.sendTask('good', {}, { retry: false }), () => producer.result('x').get({ timeout: 0.5 })]) {
        const error = await attempt().then(
          () => undefined,
          (thrown: unknown) => thrown,
        )
        expectNone(everything(error), `an error with ${url.slice(0, 12)}`)
      }
      await producer.close()
    }
  },
)
