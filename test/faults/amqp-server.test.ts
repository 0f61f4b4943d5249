/** RabbitMQ itself stops, dies, or has too little of something (reliability.md B.4): a node of this file's own. */
import { afterAll, beforeAll, expect } from 'vitest'
import { Celeriac, chain, chord, group } from '../../dist/index.js'
import { AmqpTarget } from '../../dist/internal/amqp/target.js'
import { systemClock } from '../../dist/internal/clock.js'
import { startRabbit } from '../../scripts/services.mjs'
import { message, queue, topology } from '../conformance/transport.js'
import { until, within } from '../conformance/wait.js'
import { type AmqpBroker, shortHeartbeatSeconds } from '../harness/amqp-broker.js'
import { amqpTestAt, queueTypes } from '../harness/amqp-fault-test.js'
import { statementTest } from '../harness/fault-test.js'
import { nowMs } from '../harness/recorder.js'
import type { Scene } from '../harness/scene.js'
import { withoutRabbit } from '../rabbit.js'
import { transportTo } from '../transports/amqp-broker.js'

const missing = withoutRabbit()
const largest = 100_000

let node: Awaited<ReturnType<typeof startRabbit>>
beforeAll(async () => {
  if (missing !== false) return
  node = await startRabbit({ config: { max_message_size: largest } })
}, 120_000)
afterAll(async () => {
  await node?.stop()
}, 60_000)
const amqpTest = amqpTestAt(() => node.url)

/** Sends until it is told to stop, each call with all its tries. */
async function sending(scene: Scene<AmqpBroker>): Promise<() => Promise<void>> {
  let goesOn = true
  const work = (async () => {
    while (goesOn) {
      // What could not be sent, or is uncertain, is nobody's loss.
      await scene.send('work', [5], { retry: { maxRetries: 100 } }).catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  return async () => {
    goesOn = false
    await work
  }
}

for (const type of queueTypes) {
  amqpTest(
    {
      id: 'Q1',
      type,
      depth: type === 'classic' ? 'full' : undefined,
      promise: 'RabbitMQ is stopped and started again under load: nothing confirmed is lost; only what was out runs again',
      dupBound: 40,
    },
    async (scene) => {
      await scene.worker({ concurrency: 2 })
      const stop = await sending(scene)
      for (let turn = 1; turn <= (type === 'classic' ? 2 : 1); turn++) {
        const done = scene.recorder.ends().length
        await scene.recorder.ended(done + 50)
        await node.ctl('stop_app')
        await node.ctl('start_app')
      }
      const done = scene.recorder.ends().length
      await scene.recorder.ended(done + 20)
      await stop()
      await scene.drained()
    },
  )

  amqpTest(
    {
      id: 'Q2',
      type,
      depth: type === 'quorum' ? 'full' : undefined,
      promise:
        'RabbitMQ is killed (kill -9) under load and started again: all that it had confirmed is there; only what was out runs again',
      dupBound: 128,
    },
    async (scene) => {
      await scene.worker({ concurrency: 2 })
      const stop = await sending(scene)
      await scene.recorder.ended(50)
      await scene.sendMany(200, 'work', [1])
      await node.kill()
      const killedAt = nowMs()
      await node.restart()
      const backAt = nowMs()
      const done = scene.recorder.ends().length
      await scene.recorder.ended(done + 20)
      await stop()
      await scene.drained()
      return { recoverMs: backAt - killedAt }
    },
  )
}

/** A connection that is blocked can be closed: the server does not hear of it, and who closes does not wait for that. */
async function leavesAtOnce(): Promise<void> {
  const options = { tls: undefined, heartbeat: undefined, socketConnectTimeout: 5, clientName: undefined }
  const link = await new AmqpTarget(node.url, options).open({ signal: AbortSignal.timeout(10_000), name: 'test' })
  const channel = await link.openConfirmChannel()
  channel.api.publish('', 'nobody', Buffer.from('x'), {}, () => {})
  await until(() => link.blocked !== undefined, 'it is blocked')
  await within(link.close(), 'its end')
}

for (const { id, what, alarm, heal } of [
  {
    id: 'Q3',
    what: 'memory',
    alarm: ['set_vm_memory_high_watermark', 'absolute', '1'],
    heal: ['set_vm_memory_high_watermark', '0.4'],
  },
  { id: 'Q4', what: 'disk space', alarm: ['set_disk_free_limit', '1000000GB'], heal: ['set_disk_free_limit', '50MB'] },
]) {
  amqpTest(
    {
      id,
      type: 'classic',
      heartbeat: shortHeartbeatSeconds,
      promise: `RabbitMQ has too little ${what}: a publish fails at its deadline of 3 s and says so, whatever the heartbeat; tasks run and are acknowledged`,
    },
    async (scene) => {
      await scene.worker({ concurrency: 1 })
      const held = await scene.send('hold', ['go'])
      await scene.recorder.started(1, held)
      const waiting = await scene.sendMany(5, 'good')
      const app = new Celeriac('blocked', { brokerUrl: scene.url, ...scene.broker.options, publishTimeout: 3 })
      try {
        await node.ctl(...alarm)
        // The broker says that it is blocked to who publishes: the first is written, and may be read still.
        const taskId = crypto.randomUUID()
        scene.ledger.attempted.add(taskId)
        await app.sendTask('good', {}, { taskId }).catch((error: unknown) =>
          expect(error).toMatchObject({
            code: 'ERR_PUBLISH_UNCERTAIN',
            message: expect.stringMatching(/as it takes none at the moment \(low on/),
          }),
        )
        const from = nowMs()
        // A queue that is new to who publishes has to be declared, and who is blocked is not heard.
        for (const sent of ['celery', 'new-meanwhile'].map((queue) => app.sendTask('good', {}, { queue })))
          await expect(within(sent, 'the end of the call')).rejects.toMatchObject({ code: 'ERR_BROKER_FULL' })
        expect(nowMs() - from).toBeGreaterThan(2_500)
        expect(nowMs() - from).toBeLessThan(12_000)
        await leavesAtOnce()
        scene.release('go')
        for (const each of [held, ...waiting]) await scene.result(each)
        await until(async () => (await scene.broker.messages()).length === 0, 'all are acknowledged')
      } finally {
        await node.ctl(...heal)
      }
      await until(
        () =>
          app.sendTask('good').then(
            ({ id }) => {
              scene.ledger.attempted.add(id)
              scene.ledger.confirmed.add(id)
              return true
            },
            () => false,
          ),
        'it takes messages again',
        20_000,
      )
      await app.close()
      const channel = await (await scene.broker.link()).openChannel()
      await channel.api.deleteQueue('new-meanwhile')
      await channel.close()
      await scene.drained()
    },
  )
}

amqpTest(
  {
    id: 'Q8',
    type: 'classic',
    promise:
      'a task runs longer than the consumer_timeout of 2 s: the log names it and what to do, the worker works on, and what was out alone runs again',
    dupBound: 3,
  },
  async (scene) => {
    // Looked at each second, and not each minute.
    await node.ctl('eval', 'application:set_env(rabbit, consumer_timeout, 2000), application:set_env(rabbit, channel_tick_interval, 1000).')
    const worker = await scene.worker({ concurrency: 1, args: ['--prefetch-multiplier', '1'] })
    const id = await scene.send('hold', ['go'])
    await scene.recorder.started(1, id)
    await worker.says(/was not acknowledged within its consumer_timeout of 2 s/)
    expect(worker.output).toMatch(/larger consumer_timeout in rabbitmq\.conf/)
    // Its one process is busy with the first run until it ends; what that gives does not count.
    scene.release('go')
    await scene.recorder.started(2, id)
    await scene.result(id)
    expect(await scene.result(await scene.send('good'))).toBe('good')
    expect(worker.isRunning).toBe(true)
    expect(worker.output).not.toMatch(/the connection to the broker is lost/)
    await scene.drained()
  },
)

if (missing === false)
  statementTest(
    {
      id: 'Q12',
      driver: 'rabbitmq',
      promise:
        'a message that is larger than the server takes is refused before it is sent, once its limit is known, and takes no other with it',
    },
    async () => {
      const send = async (more: object) => {
        const connection = await transportTo(node.url, systemClock, more).connect({ signal: AbortSignal.timeout(10_000) })
        await connection.declare(topology(queue('q12')))
        const publish = (bytes: number) =>
          connection.publish(message({ body: 'x'.repeat(bytes) }), { exchange: '', routingKey: 'q12' }, { deadlineMs: 5_000 })
        return { connection, publish }
      }
      const told = await send({ maxMessageSize: largest })
      const tooLarge = { code: 'ERR_TOO_LARGE', limit: largest }
      await expect(told.publish(largest + 1)).rejects.toMatchObject(tooLarge)
      await told.publish(largest)
      await told.connection.close()
      // It does not tell: the first is sent, and the channel ends with it.
      const { connection, publish } = await send({})
      const outcomes = await Promise.allSettled([publish(largest + 1), publish(10), publish(largest + 2), publish(11)])
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled'])
      for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(tooLarge)
      await expect(publish(largest + 1)).rejects.toMatchObject(tooLarge)
      expect(await connection.purge('q12')).toBe(3)
      expect(connection.isAnswering).toBe(true)
      await connection.close()
    },
  )

amqpTest(
  {
    id: 'C9',
    type: 'classic',
    promise: 'RabbitMQ takes no message when a chain and a chord go on: they wait, unacked, and go on when it does',
    // What was written when it blocked may be written again, with each try of the two that go on.
    dupBound: 6,
  },
  async (scene) => {
    await scene.worker({ concurrency: 3, options: { publishTimeout: 3 } })
    const hold = scene.sig('hold', ['go'])
    const chained = await scene.sendCanvas(chain(hold, scene.sig('echo', ['next'])))
    const body = await scene.sendCanvas(chord(group([hold, hold]), scene.sig('echo')))
    await scene.recorder.started(3)
    await node.ctl('set_vm_memory_high_watermark', 'absolute', '1')
    try {
      scene.release('go')
      await scene.recorder.ended(3)
      await until(async () => (await chained.parent?.state()) === 'SUCCESS', 'the end of the first step is stored')
      await until(() => scene.workers.some(({ output }) => /block|full|takes no/i.test(output)), 'the worker says why it waits')
      for (const { id } of [chained, body]) expect(scene.recorder.starts(id)).toHaveLength(0)
    } finally {
      await node.ctl('set_vm_memory_high_watermark', '0.4')
    }
    expect(await chained.get({ timeout: 40 })).toEqual(['go', 'next'])
    expect(await body.get({ timeout: 40 })).toEqual([['go', 'go']])
    await scene.drained()
  },
)
