import { afterAll, beforeAll, describe } from 'vitest'
import { type TransportDriver, testTransport } from '../conformance/transport.js'
import { type VirtualHost, virtualHost, withoutRabbit } from '../rabbit.js'
import { onQuorumQueues, Peek, transportTo } from './amqp-broker.js'

const queues = ['q', 'p', 'r', 'short', 'a', 'b', 'all', 'tasks', 'w', 'mine', 'e', 'used', 'fine', 'celeriac.dead']
const exchanges = ['x', 't', 'f']

describe.skipIf(withoutRabbit())('RabbitMQ', () => {
  let host: VirtualHost
  let peek: Peek

  beforeAll(async () => {
    host = await virtualHost()
    peek = await Peek.open(host.url)
  }, 120_000)
  afterAll(() => peek[Symbol.asyncDispose]())

  const noDelay = 'the message must be in its queue, where Python workers find it: the worker that takes it lets it wait for its time'
  const heldByWorker = 'what waits for its time in a worker is unacknowledged at the broker'
  const itsPlace = 'before 4.3 a quorum queue counts every message that comes back: it is put at the end instead, as a new one'
  const delayQueues = "what waits for its time lies in Celery's delay queues, by the broker's own clock and for all queues together"
  const fromItsHead = 'a queue can only be read from its head'
  const noFences = 'RabbitMQ keeps no numbers: beat writes down what it is about to send'
  const gaps = {
    'behind a fence one message of a number is published, whoever tries and how often': noFences,
    'a fence that was raised holds what has an older number, and a held message passes no other fence': noFences,
    'locate tells where the message of a task is': fromItsHead,
    'a deferred message frees its place at once and comes back when it is due': heldByWorker,
    'what waits for its time can be hurried': 'RabbitMQ gives a message back from a delay queue when its time has come, and not before',
  }

  const open: TransportDriver['open'] = async (clock) => {
    // Real time, as much as the broker's shortest times need.
    let leftMs = 1_300
    return {
      transport: async () => transportTo(host.url, clock, { deliveryLimit: 5 }),
      pass: async (ms) => {
        const waitMs = Math.min(ms, leftMs)
        leftMs -= waitMs
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
      },
      locate: async (taskId) => ((await peek.finds(taskId, queues.slice(0, -1))) ? 'waiting' : 'absent'),
      dispose: () => peek.delete(queues, exchanges),
    }
  }

  testTransport({
    name: 'amqp, classic queues',
    open,
    gaps: {
      ...gaps,
      'a message is not delivered before notBefore, and at once then': noDelay,
      'what came due while nobody consumed is delivered to the first that does': noDelay,
    },
  })

  testTransport({
    name: 'amqp, quorum queues',
    open: async (clock) => {
      const broker = await open(clock)
      return {
        ...broker,
        transport: async () => onQuorumQueues(await broker.transport()),
        dispose: async () => {
          await peek.purgeDelays()
          await broker.dispose()
        },
      }
    },
    gaps: {
      ...gaps,
      'a released message comes back to its place, uncounted': itsPlace,
      'close gives back what is out, uncounted and in its place': itsPlace,
      'a message is not delivered before notBefore, and at once then': delayQueues,
      'purge removes what waits and tells how many, but not what is out': delayQueues,
      'declaring again is fine; with other properties it names both':
        'quorum queues know no priorities: it is their type that differs then',
    },
  })
})
