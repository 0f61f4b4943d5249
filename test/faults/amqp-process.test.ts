/** Processes that die or stop over RabbitMQ (reliability.md B.1). */
import { beforeAll, expect } from 'vitest'
import { until } from '../conformance/wait.js'
import { amqpTestAt, queueTypes } from '../harness/amqp-fault-test.js'
import { nowMs } from '../harness/recorder.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'
import { killedInTheMiddle } from './process-rows.js'

let url = ''
beforeAll(async () => {
  if (!withoutRabbit()) url = (await virtualHost()).url
}, 120_000)
const amqpTest = amqpTestAt(() => url)

for (const type of queueTypes) {
  // Each type with each pool takes long, and shows nothing more.
  for (const pool of [type === 'classic' ? 'prefork' : 'async'] as const) {
    amqpTest(
      {
        id: 'P1',
        type,
        variant: pool,
        depth: type === 'classic' ? 'full' : undefined,
        promise: 'kill -9 of a worker with 4 running tasks: another runs them again',
        dupBound: 4,
      },
      async (scene) => {
        return killedInTheMiddle(scene, pool)
      },
    )

    amqpTest(
      {
        id: 'P5',
        type,
        variant: pool,
        depth: type === 'quorum' ? 'full' : undefined,
        promise: 'SIGTERM with 4 running and 16 prefetched: running ones end, the others go back at once and uncounted',
      },
      async (scene) => {
        const worker = await scene.worker({ pool, concurrency: 4, args: ['--prefetch-multiplier', '5'] })
        await scene.sendMany(4, 'hold', ['go'])
        await scene.recorder.started(4)
        const prefetched = await scene.sendMany(16, 'good')
        await until(async () => (await scene.broker.messages()).length === 0, 'all are prefetched')
        const from = nowMs()
        worker.signal('SIGTERM')
        await until(async () => (await scene.broker.messages()).length === 16, 'they are back')
        const recoverMs = nowMs() - from
        // Those that run go on meanwhile.
        expect(worker.isRunning).toBe(true)
        const back = await scene.broker.waiting()
        expect(new Set(back.map(({ id }) => id))).toEqual(new Set(prefetched))
        expect(back.every(({ deliveries }) => deliveries === 0)).toBe(true)
        scene.release('go')
        expect(await worker.end('SIGCONT')).toEqual({ code: 0, signal: null })
        await scene.worker()
        await scene.drained()
        return { recoverMs }
      },
    )
  }

  amqpTest(
    {
      id: 'P2',
      type,
      promise: 'kill -9 of one child: its task runs again, counted, and the others do not notice; then of their worker: all run again',
      dupBound: 4,
    },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 3 })
      const ids = await scene.sendMany(3, 'hold', ['go'])
      await scene.recorder.started(3)
      const [victim] = scene.recorder.running()
      if (victim === undefined) throw new Error('unreachable')
      const killedAt = nowMs()
      process.kill(victim.pid, 'SIGKILL')
      const again = await scene.recorder.started(2, victim.id)
      expect(again.redelivered).toBe(true)
      // What it counts is seen when everything is back.
      await worker.end('SIGKILL')
      await until(async () => (await scene.broker.messages()).length === 3, 'they are back')
      const counted = (await scene.broker.waiting()).find(({ id }) => id === victim.id)
      expect(counted?.deliveries).toBe(type === 'classic' ? 1 : 2)
      scene.release('go')
      await scene.worker({ concurrency: 3 })
      await scene.drained()
      for (const id of ids) expect(scene.recorder.starts(id).length).toBe(id === victim.id ? 3 : 2)
      return { recoverMs: again.atMs - killedAt }
    },
  )

  amqpTest(
    {
      id: 'P15',
      type,
      // Q10 counts the same deaths.
      depth: type === 'quorum' ? 'full' : undefined,
      promise: 'a task that kills each process it runs in: after 5 it lies in the dead letters with the reason; the worker lives',
      dupBound: 4,
    },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      const id = await scene.send('die', ['SIGKILL'])
      const [letter] = await scene.deadLettersReach(1)
      expect(letter).toMatchObject({ queue: 'celery', deliveries: 4, reason: expect.stringMatching(/5 times/) })
      expect(letter?.message.headers.id).toBe(id)
      expect(await scene.result(id)).toMatchObject({ excType: 'WorkerLostError' })
      expect(scene.recorder.starts(id)).toHaveLength(5)
      expect(await scene.result(await scene.send('good'))).toBe('good')
      expect(worker.isRunning).toBe(true)
    },
  )
}
