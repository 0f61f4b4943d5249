/** Quorum queues: both kinds of worker on one queue, and tasks that wait at the broker for their time, in Celery's own delay queues. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { until } from '../conformance/wait.js'
import { rounds } from '../harness/depth.js'
import { lookInto, virtualHost } from '../rabbit.js'
import { Fleet } from './fleet.js'
import { skippedOn, title } from './needs.js'
import { testSharedQueue } from './shared-queue-rows.js'

testSharedQueue('quorum', { count: rounds(500, 1_500) })

const topicQuorum = { taskDefaultExchangeType: 'topic', taskCreateMissingQueueType: 'quorum', taskDefaultQueueType: 'quorum' } as const

describe.skipIf(skippedOn('quorum'))(title('calls', 'quorum'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({
      broker: 'quorum',
      python: ['python'],
      node: ['node', 'plain'],
      // Celery delays on exchanges of this kind only.
      pythonConfig: { task_default_exchange_type: 'topic', task_create_missing_queue_exchange_type: 'topic' },
      nodeOptions: { ...topicQuorum, taskQueues: [{ name: 'plain' }] },
    })
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  const directions = [
    ['node', 'python'],
    ['python', 'node'],
    ['node', 'node'],
  ] as const

  test.each(directions)('%s client, %s worker: results, errors, retries and priorities that quorum queues have not', async (from, to) => {
    const client = fleet.caller(from)
    const run = async (task: string, args: readonly unknown[]) => client.end(await client.call(task, args, {}, { queue: to, priority: 3 }))
    expect(await run('interop.add', [2, 3])).toEqual({ value: 5 })
    expect((await run('interop.fail', [to === 'python' ? 'value' : 'range'])).error).toMatchObject({ type: 'ValueError' })
    expect(await run('interop.flaky', [2])).toMatchObject({ value: { retries: 2 } })
  })

  test.each(directions)('%s client, %s worker: a task waits at the broker, and runs at its time', async (from, to) => {
    const client = fleet.caller(from)
    const sentMs = Date.now()
    const id = await client.call('interop.where', [], {}, { queue: to, countdown: 3.5 })
    // Three whole seconds: two of them at the level of two, then one at the level of one.
    await until(async () => (await fleet.waiting('celery_delayed_1')) === 1, 'it waits for two seconds')
    await until(async () => (await fleet.waiting('celery_delayed_0')) === 1, 'it waits for one second')
    expect(await client.end(id)).toEqual({ value: to })
    expect(Date.now() - sentMs).toBeGreaterThanOrEqual(3_500)
  })

  test('a message that waits is the same from Python and from Node, bit for bit of its routing key', async () => {
    const eta = new Date(Date.now() + 3_600_500)
    for (const language of ['python', 'node'] as const) await fleet.caller(language).call('interop.where', [], {}, { queue: 'node', eta })
    // A Python client does not wait for the broker.
    await until(async () => (await fleet.waiting('celery_delayed_11')) === 2, 'both wait at the level of 2048 seconds')
    const channel = await (await fleet.looking()).createChannel()
    const shown = []
    for (let count = 0; count < 2; count++) {
      const message = await channel.get('celery_delayed_11', { noAck: true })
      if (message === false) throw new Error('it does not wait at the level of 2048 seconds')
      const { eta: written, lang } = message.properties.headers ?? {}
      shown.push({ lang, exchange: message.fields.exchange, key: message.fields.routingKey, eta: new Date(String(written)).getTime() })
    }
    await channel.close()
    // Which of the two was there first is up to the server: the Python client does not wait for it.
    expect(shown.map(({ lang }) => lang).sort()).toEqual(['js', 'py'])
    for (const { exchange, key, eta: at } of shown) {
      expect(exchange).toBe('celery_delayed_27')
      expect(key).toMatch(/^(?:[01]\.){28}node$/)
      const seconds = Number.parseInt(key.slice(0, 55).replaceAll('.', ''), 2)
      expect([3_598, 3_599, 3_600]).toContain(seconds)
      expect(at).toBe(eta.getTime())
    }
  })

  test('prefetch is that of each consumer, also beside a classic queue', async () => {
    const { node } = fleet.callers
    expect(await node.end(await node.call('interop.where', [], {}, { queue: 'plain' }))).toEqual({ value: 'node' })
    const consumers = await fleet.ctl('list_consumers', 'queue_name', 'ack_required', 'prefetch_count')
    const limits = Object.fromEntries(
      consumers.map((line) => line.split('\t')).flatMap(([queue, acked, limit]) => (acked === 'true' ? [[queue, Number(limit)]] : [])),
    )
    expect(limits.node).toBeGreaterThan(0)
    expect(limits.python).toBeGreaterThan(0)
  })

  test('a client that delays before any worker was there declares where it waits', async () => {
    const { url } = await virtualHost()
    await using app = new Celeriac('early', { brokerUrl: url, publishTimeout: 30, ...topicQuorum })
    // Celery's client would get NOT_FOUND, since its workers alone declare it.
    await app.sendTask('interop.where', {}, { queue: 'early', countdown: 3.5 })
    const connection = await lookInto(url)
    try {
      const channel = await connection.createChannel()
      expect((await channel.checkQueue('celery_delayed_1')).messageCount).toBe(1)
      await until(async () => (await channel.checkQueue('early')).messageCount === 1, 'it comes to its queue', 20_000)
    } finally {
      await connection.close()
    }
  })
})
