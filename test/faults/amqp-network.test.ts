/** A network that fails between workers, producers and RabbitMQ (reliability.md B.2). The proxy is in this process, the workers are in their own. */
import { createServer } from 'node:net'
import { beforeAll, expect } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { until } from '../conformance/wait.js'
import { type AmqpBroker, shortHeartbeatSeconds } from '../harness/amqp-broker.js'
import { amqpTestAt, queueTypes } from '../harness/amqp-fault-test.js'
import { nowMs } from '../harness/recorder.js'
import type { Scene } from '../harness/scene.js'
import { type VirtualHost, virtualHost, withoutRabbit } from '../rabbit.js'

const oneSecond = 1_000
/** Of a method frame: its class and number. */
const ack = /\0\x3c\0\x50/
const publish = /\0\x3c\0\x28/
/** A delivery's mark that it was delivered before, the exchange without a name, and the queue. */
const deliveredAgain = '\x01\0\x06celery'

let url = ''
let ctl: VirtualHost['ctl']
let vhost = ''
beforeAll(async () => {
  if (!withoutRabbit()) ({ url, ctl, name: vhost } = await virtualHost())
}, 120_000)
const amqpTest = amqpTestAt(() => url)

async function withProducer<T>(
  scene: Scene<AmqpBroker>,
  options: object,
  use: (send: (retry: boolean) => Promise<string>, app: Celeriac) => Promise<T>,
): Promise<T> {
  const app = new Celeriac('behind', { brokerUrl: scene.broker.proxied, ...scene.broker.options, ...options })
  try {
    return await use(async (retry) => {
      const id = crypto.randomUUID()
      scene.ledger.attempted.add(id)
      await app.sendTask('good', {}, { taskId: id, retry })
      scene.ledger.confirmed.add(id)
      return id
    }, app)
  } finally {
    await app.close()
  }
}

for (const type of queueTypes) {
  amqpTest(
    {
      id: 'N1',
      type,
      depth: type === 'classic' ? 'full' : undefined,
      promise: 'every connection is reset 10 times under 300 tasks: back each time; only what was out runs again',
      // Four run at once, and the broker gives what is out to the next connection.
      dupBound: 40,
    },
    async (scene) => {
      const { proxy, proxied } = scene.broker
      await scene.worker({ url: proxied, pool: 'async', concurrency: 4 })
      await scene.sendMany(300, 'work', [20])
      for (let cut = 1; cut <= 10; cut++) {
        await scene.recorder.ended(cut * 25)
        const before = proxy.accepted
        proxy.rst()
        await until(() => proxy.accepted > before, 'it connects again')
      }
      await scene.drained()
      expect(await scene.deadLetters()).toEqual([])
    },
  )
}

amqpTest(
  {
    id: 'N2',
    type: 'classic',
    heartbeat: shortHeartbeatSeconds,
    promise: `a half-open connection for 10 s: with a heartbeat of ${shortHeartbeatSeconds} s another worker takes over, the silence is noticed, and it works on when healed`,
    dupBound: 4,
  },
  async (scene) => {
    const { proxy, proxied } = scene.broker
    await scene.worker({ url: proxied, concurrency: 4, args: ['-n', 'cut@%h', '--prefetch-multiplier', '1'] })
    const ids = await scene.sendMany(4, 'hold', ['go'])
    await scene.recorder.started(4)
    const other = await scene.worker({ concurrency: 4, args: ['-n', 'other@%h', '--prefetch-multiplier', '1'] })
    const before = proxy.accepted
    const cutAt = nowMs()
    proxy.blackhole()
    await scene.recorder.started(8, undefined, 40_000)
    const recoverMs = (scene.recorder.starts()[4]?.atMs ?? 0) - cutAt
    // Two heartbeats; of the server's own heartbeat it would be two minutes.
    expect(recoverMs).toBeLessThanOrEqual(32 * oneSecond)
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

amqpTest(
  {
    id: 'N4',
    type: 'classic',
    promise: 'an ack is lost with its connection: the message comes again, and its task does not, since its result is there',
  },
  async (scene) => {
    const { proxy, proxied } = scene.broker
    // Events of workers are acknowledged as well: it hears none.
    await scene.worker({ url: proxied, concurrency: 1, args: ['--prefetch-multiplier', '1', '--without-gossip'] })
    const id = await scene.send('hold', ['go'])
    await scene.recorder.started(1, id)
    const lost = proxy.before({ direction: 'up', bytes: ack }, (link) => link.rst(), 40_000)
    const again = proxy.after({ direction: 'down', bytes: deliveredAgain }, () => {}, 40_000)
    scene.release('go')
    await lost
    const acked = proxy.after({ direction: 'up', bytes: ack }, () => {}, 40_000)
    const info = await scene.app.result(id).info()
    expect(info).toBe('go')
    // RabbitMQ may notice later than the worker that the connection is lost: a message that is sent now may come before that one.
    await again
    await acked
    expect(await scene.result(await scene.send('good'))).toBe('good')
    await scene.drained()
    expect(scene.recorder.starts(id)).toHaveLength(1)
    expect(await scene.app.result(id).info()).toEqual(info)
  },
)

amqpTest(
  {
    id: 'N5',
    type: 'classic',
    promise: 'the confirmation of a publish is lost: "uncertain" at its deadline, which is neither success nor failure; the task runs',
  },
  async (scene) => {
    const { proxy } = scene.broker
    await withProducer(scene, {}, async (send, app) => {
      await send(false)
      for (const cut of [false, true]) {
        const lost = proxy.before({ direction: 'up', bytes: publish }, (link) => link.set({ down: { flow: 'drop' } }))
        const from = nowMs()
        const sending = send(true)
        sending.catch(() => {})
        const link = await lost
        const count = scene.ledger.attempted.size
        if (cut) {
          await until(async () => (await scene.broker.messages()).length === count, 'RabbitMQ has it')
          link.rst()
        }
        await expect(sending).rejects.toMatchObject({ code: 'ERR_PUBLISH_UNCERTAIN' })
        // Five seconds, whatever the heartbeat and the tries would take.
        expect(nowMs() - from).toBeLessThanOrEqual(20 * oneSecond)
        // A half-open connection is left behind: the next call must not be sent on it.
        const connection = await Celeriac.internals(app).core.connections.publisher()
        proxy.rst()
        await until(() => cut || !connection.isAnswering, 'it is known to be lost')
      }
      await send(true)
    })
    await scene.worker()
    await scene.recorder.ended(4)
    await scene.drained()
  },
)

amqpTest(
  {
    id: 'N8',
    type: 'classic',
    promise: 'a server that takes connections and never speaks: the next of the list, for workers and callers',
  },
  async (scene) => {
    const { proxy, proxied, url: live } = scene.broker
    proxy.acceptOnly()
    const worker = scene.start({ url: `${proxied};${live}` })
    const app = new Celeriac('lists', { brokerUrl: [proxied, live], ...scene.broker.options, publishTimeout: 40 })
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
    const alone = scene.start({ url: proxied, options: { brokerConnectionRetryOnStartup: false } })
    expect(await alone.end('SIGCONT')).toEqual({ code: 69, signal: null })
    expect(alone.output).toMatch(/did not open a connection within 3 s/)
  },
)

amqpTest(
  {
    id: 'N10',
    type: 'classic',
    promise: 'the first of a list is dead: the next one, for callers and for a worker whose broker went away',
  },
  async (scene) => {
    const { proxy, proxied, url: live } = scene.broker
    const worker = await scene.worker({ url: `amqp://127.0.0.1:1//;${proxied};${live}` })
    await proxy.shut()
    const app = new Celeriac('lists', { brokerUrl: [proxied, live], ...scene.broker.options })
    try {
      const id = crypto.randomUUID()
      scene.ledger.attempted.add(id)
      await app.sendTask('good', {}, { taskId: id })
      scene.ledger.confirmed.add(id)
      await scene.recorder.started(1, id)
    } finally {
      await app.close()
    }
    await scene.drained()
    expect(worker.isRunning).toBe(true)
  },
)

amqpTest(
  {
    id: 'N12',
    type: 'classic',
    heartbeat: shortHeartbeatSeconds,
    promise:
      'a task that blocks the process of an async worker for 10 s, with a heartbeat of 2 s: the connection is kept, nothing runs twice',
  },
  async (scene) => {
    const worker = await scene.worker({ pool: 'async', concurrency: 2, options: { workerStuckTimeout: 15 } })
    const id = await scene.send('spin', ['go'])
    const { atMs } = await scene.recorder.started(1, id)
    await until(() => nowMs() - atMs > 10_000, 'ten seconds')
    scene.release('go')
    expect(await scene.result(id)).toBe('go')
    await scene.drained()
    // A worker that loses its connection says so.
    expect(worker.output).not.toMatch(/is lost/)
  },
)

amqpTest(
  {
    id: 'N13',
    type: 'classic',
    promise: '50 workers lose their broker at once: none tries more than 10 times a second, and their return is spread over a second',
  },
  async (scene) => {
    const { proxy, proxied } = scene.broker
    const app = new Celeriac('many', {
      ...scene.broker.options,
      brokerTransportOptions: {},
      brokerUrl: proxied,
      workerPool: 'async',
      workerLogLevel: 'fatal',
    })
    app.task('good', () => 'good')
    const workers = Array.from({ length: 50 }, (_, n) => app.worker({ concurrency: 1, hostname: `w${n}@%h` }))
    try {
      await Promise.all(workers.map((worker) => worker.start()))
      await proxy.shut()
      const attempts: number[] = []
      const counter = createServer((socket) => {
        attempts.push(nowMs())
        socket.on('error', () => {}).destroy()
      })
      await new Promise<void>((resolve) => counter.listen(proxy.port, '127.0.0.1', resolve))
      const awayAt = nowMs()
      await until(() => nowMs() - awayAt > 4_000, 'four seconds')
      await new Promise<void>((resolve) => counter.close(() => resolve()))
      for (let second = 0; second < 4; second++) {
        const within = attempts.filter((atMs) => atMs - awayAt >= second * oneSecond && atMs - awayAt < (second + 1) * oneSecond)
        expect(within.length).toBeLessThanOrEqual(50 * 10)
      }
      await proxy.open()
      const backAt = nowMs()
      const returns: number[] = []
      let accepted = proxy.accepted
      await until(
        () => {
          for (; accepted < proxy.accepted; accepted++) returns.push(nowMs())
          return workers.every((worker) => worker.isReady)
        },
        'all are back',
        20_000,
      )
      expect((returns.at(-1) ?? 0) - (returns[0] ?? 0)).toBeGreaterThanOrEqual(0.9 * oneSecond)
      return { recoverMs: nowMs() - backAt }
    } finally {
      await Promise.all(workers.map((worker) => worker.stop()))
      await app.close()
    }
  },
)

amqpTest(
  {
    id: 'N14',
    variant: 'deaf',
    type: 'classic',
    promise: 'RabbitMQ forgets the consumer of a worker and tells nobody: it connects anew, and what runs goes on',
    timeoutMs: 60_000,
  },
  async (scene) => {
    const worker = await scene.worker({ pool: 'async', concurrency: 2, options: { workerDeafTimeout: 1 } })
    const running = await scene.send('hold', ['go'])
    await scene.recorder.started(1)
    const queue = `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"${vhost}">>, queue, <<"celery">>))`
    const cancel = '{basic_cancel, element(1, C), element(2, C), undefined, <<"nobody">>}'
    await ctl('eval', `${queue}, [gen_server2:call(amqqueue:get_pid(Q), ${cancel}) || C <- rabbit_amqqueue:consumers(Q)].`)
    await scene.sendMany(5, 'good')
    await worker.says(/nothing came for 1 s, although there are free places .* connects anew/, 20_000)
    await scene.recorder.ended(5, undefined, 20_000)
    expect(scene.recorder.ends(running)).toEqual([])
    scene.release('go')
    await scene.drained()
    // Its own lines tell of one repair, which was enough.
    expect(worker.log().filter(({ msg }) => msg.includes('connects anew'))).toHaveLength(1)
  },
)
