/** Queues that are deleted, declared otherwise, or fed with poison (reliability.md B.4). */
import { connect, createServer, type Socket } from 'node:net'
import { beforeAll, expect } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { exchange, Inbox, message, queue, topology } from '../conformance/transport.js'
import { until, within } from '../conformance/wait.js'
import { amqpTestAt, queueTypes } from '../harness/amqp-fault-test.js'
import { statementTest } from '../harness/fault-test.js'
import { nowMs } from '../harness/recorder.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'
import { transportTo } from '../transports/amqp-broker.js'

const missing = withoutRabbit()

let url = ''
beforeAll(async () => {
  if (!missing) url = (await virtualHost()).url
}, 120_000)
const amqpTest = amqpTestAt(() => url)
const statement: typeof statementTest = (row, body) => {
  if (missing === false) statementTest(row, body)
}

for (const type of queueTypes) {
  amqpTest(
    {
      id: 'Q5',
      type,
      depth: type === 'classic' ? 'full' : undefined,
      promise: 'the queue is deleted under its consumer: it is declared and consumed again, and the log says so',
    },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      expect(await scene.result(await scene.send('good'))).toBe('good')
      const channel = await (await scene.broker.link()).openChannel()
      await channel.api.deleteQueue('celery')
      const deletedAt = nowMs()
      await worker.says('queue celery is there again')
      const id = await scene.send('good')
      const { atMs } = await scene.recorder.started(1, id)
      expect(worker.output).toContain('queue celery was deleted under its consumer')
      await channel.close()
      await scene.drained()
      return { recoverMs: atMs - deletedAt }
    },
  )
}

amqpTest(
  {
    id: 'Q6',
    type: 'classic',
    promise:
      'the queue exists with other arguments: the worker ends with 78 and names queue, argument and both values; callers are told the same',
  },
  async (scene) => {
    const channel = await (await scene.broker.link()).openChannel()
    await channel.api.assertQueue('celery', { durable: true, exclusive: false, autoDelete: false, arguments: { 'x-max-priority': 10 } })
    await channel.close()
    const words = /the queue \\?"celery\\?" exists as x-max-priority: 10 and was declared as x-max-priority: none/
    const worker = scene.start()
    expect(await worker.end('SIGCONT')).toEqual({ code: 78, signal: null })
    expect(worker.output).toMatch(words)
    await expect(scene.app.sendTask('good')).rejects.toMatchObject({
      code: 'ERR_DECLARATION_MISMATCH',
      entity: 'celery',
      message: expect.stringMatching(words),
    })
  },
)

amqpTest(
  {
    id: 'Q6',
    type: 'classic',
    variant: 'back',
    promise:
      'the queue was declared otherwise while the worker was cut off: it ends with 78 when it comes back, and names both; and at once for what the server never takes',
  },
  async (scene) => {
    const { proxy, proxied } = scene.broker
    const worker = await scene.worker({ url: proxied, pool: 'async' })
    await proxy.shut()
    const channel = await (await scene.broker.link()).openChannel()
    await channel.api.deleteQueue('celery')
    await channel.api.assertQueue('celery', { durable: true, exclusive: false, autoDelete: false, arguments: { 'x-max-priority': 10 } })
    await channel.close()
    await proxy.open()
    expect(await worker.end('SIGCONT')).toEqual({ code: 78, signal: null })
    expect(worker.output).toMatch(/the queue \\?"celery\\?" exists as x-max-priority: 10 and was declared as x-max-priority: none/)
    const taskQueues = [{ name: 'never', arguments: { 'x-queue-type': 'quorum', 'x-max-priority': 10 } }]
    const other = scene.start({ pool: 'async', options: { taskQueues } })
    expect(await other.end('SIGCONT')).toEqual({ code: 78, signal: null })
    expect(other.output).toMatch(/the declaration of queue \\?"never\\?" is not supported: RabbitMQ says .*x-max-priority/)
  },
)

statement(
  { id: 'Q9', driver: 'rabbitmq', promise: 'a message that no queue takes is refused, by default and direct exchanges' },
  async () => {
    const connection = await transportTo(url, systemClock).connect({ signal: AbortSignal.timeout(10_000) })
    try {
      await connection.declare(topology(exchange('q9', 'direct'), queue('q9', { bindings: [{ exchange: 'q9', routingKey: 'k' }] })))
      for (const to of [
        { exchange: '', routingKey: 'nobody' },
        { exchange: 'q9', routingKey: 'nobody' },
        { exchange: 'nowhere', routingKey: 'k' },
      ]) {
        await expect(connection.publish(message(), to, { deadlineMs: 5_000 })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
      }
      await connection.publish(message(), { exchange: 'q9', routingKey: 'k' }, { deadlineMs: 5_000 })
      expect(await connection.purge('q9')).toBe(1)
    } finally {
      await connection.close()
    }
  },
)

amqpTest(
  {
    id: 'Q10',
    type: 'quorum',
    promise: 'a task that kills its whole worker 5 times is a dead letter with its headers intact; its neighbours in the prefetch are not',
    // The poison runs 5 times; what ran beside it may run again.
    dupBound: 14,
  },
  async (scene) => {
    const headers = { tenant: 'a', nested: { n: [1, null, 'x'] } }
    const poison = await scene.send('die', ['SIGKILL'], { headers })
    const others = await scene.sendMany(6, 'work', [50])
    const start = () => scene.worker({ pool: 'async', concurrency: 1, args: ['--prefetch-multiplier', '8'] })
    let worker = await start()
    for (let death = 1; death <= 5; death++) {
      await scene.recorder.started(death, poison)
      expect(await within(worker.exited, 'its death', 20_000)).toMatchObject({ signal: 'SIGKILL' })
      worker = await start()
    }
    const [letter, ...more] = await scene.deadLettersReach(1)
    expect(more).toEqual([])
    expect(letter).toMatchObject({ queue: 'celery', deliveries: 5, message: { headers: { id: poison, ...headers } } })
    for (const id of others) expect(await scene.result(id)).toBe(50)
    expect(scene.recorder.starts(poison)).toHaveLength(5)
    await scene.drained()
  },
)

for (const [what, garbage] of Object.entries({
  'a frame that does not end': Buffer.from([1, 0, 0, 0, 0, 0, 4, 0, 60, 0, 80, 0]),
  'a method that nobody knows': Buffer.from([1, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0x7f, 0xff, 0xce]),
  'a frame of 4 GiB': Buffer.from([1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]),
  'a frame of a type that nobody knows': Buffer.from([77, 0, 0, 0, 0, 0, 0, 0xce]),
})) {
  statement(
    { id: 'Q13', driver: `rabbitmq, ${what}`, promise: 'nonsense from the server: the connection ends, and nothing else' },
    async () => {
      const sockets: Socket[] = []
      const between = createServer((client) => {
        const server = connect(Number(new URL(url).port), '127.0.0.1')
        for (const socket of [client, server]) socket.on('error', () => {})
        client.pipe(server)
        server.pipe(client)
        sockets.push(client, server)
      })
      await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
      const address = between.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      const connection = await transportTo(url.replace(/:\d+(?=\/)/, `:${port}`), systemClock).connect({
        signal: AbortSignal.timeout(10_000),
      })
      try {
        await connection.declare(topology(queue('q13')))
        await Inbox.open(connection, { queues: ['q13'] })
        const before = process.memoryUsage().rss
        sockets[0]?.write(garbage)
        const reason = await within(connection.closed, 'the end of the connection')
        expect(reason).toMatchObject({ code: 'ERR_CONNECTION' })
        expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 ** 2)
      } finally {
        await connection.close()
        for (const socket of sockets) socket.destroy()
        await new Promise<void>((resolve) => between.close(() => resolve()))
      }
    },
  )
}

statement(
  {
    id: 'Q14',
    driver: 'rabbitmq',
    promise: 'queues of both types in one consumer, one of them not known as a quorum queue: never more than its prefetch are out',
  },
  async () => {
    const transport = transportTo(url, systemClock)
    const connection = await transport.connect({ signal: AbortSignal.timeout(10_000) })
    const other = await transport.connect({ signal: AbortSignal.timeout(10_000) })
    try {
      const quorum = { 'x-queue-type': 'quorum' }
      await connection.declare(topology(queue('q14c'), queue('q14q', { arguments: quorum })))
      await other.declare(topology(queue('q14x', { arguments: quorum })))
      const names = ['q14c', 'q14q', 'q14x']
      const send = (routingKey: string) => connection.publish(message(), { exchange: '', routingKey }, { deadlineMs: 10_000 })
      await Promise.all(names.flatMap((name) => Array.from({ length: 10 }, () => send(name))))
      const inbox = await Inbox.open(connection, { queues: names, prefetch: 4 })
      let settled = 0
      await until(() => {
        expect(inbox.deliveries.length - settled).toBeLessThanOrEqual(4)
        const next = inbox.deliveries[settled]
        if (next !== undefined) {
          next.ack()
          settled++
        }
        return settled === 30
      }, 'all 30')
      expect(connection.isAnswering).toBe(true)
    } finally {
      await connection.close()
      await other.close()
    }
  },
)
