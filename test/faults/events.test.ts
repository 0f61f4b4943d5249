/** Events that nobody reads any more (reliability.md B.12). */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect } from 'vitest'
import { eventRoad } from '../../dist/app/event-road.js'
import { Celeriac } from '../../dist/index.js'
import { eventExchange, eventQueue } from '../../dist/protocol/events.js'
import { until } from '../conformance/wait.js'
import { statementTest } from '../harness/fault-test.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'

const missing = withoutRabbit()
let rabbit = ''
beforeAll(async () => {
  if (missing === false) rabbit = (await virtualHost()).url
}, 120_000)

/** What a monitor leaves that was stopped in the middle: its queue, and nobody who reads. */
async function deadMonitor(app: Celeriac, seconds: number): Promise<{ readonly most: number; left(): Promise<number> }> {
  const { core } = Celeriac.internals(app)
  const connection = await core.connections.connect()
  const { exchangeType, queueLimits } = eventRoad(core, connection)
  const queue = eventQueue('celeryev.dead', core.config.eventExchange, '#', queueLimits)
  await connection.declare({ exchanges: [eventExchange(core.config.eventExchange, exchangeType)], queues: [queue] })
  const events = core.senderEvents()
  let most = 0
  for (let batch = 0; batch < seconds * 10; batch++) {
    // Half of them are messages of their own, as those of workers are.
    for (let index = 0; index < 500; index++) events.send(index % 2 === 0 ? 'worker-heartbeat' : 'task-sent', { uuid: `${batch}-${index}` })
    await events.flush()
    most = Math.max(most, await connection.size(queue.name))
  }
  return { most, left: () => connection.size(queue.name) }
}

if (missing === false)
  statementTest(
    {
      id: 'E1',
      driver: 'rabbitmq',
      timeoutMs: 60_000,
      promise: '25 000 events for a monitor that is dead: the broker keeps 10 000 messages at most, and none for longer than 5 s',
    },
    async () => {
      await using app = new Celeriac('e1', { broker: rabbit })
      const { most, left } = await deadMonitor(app, 5)
      expect(most).toBeLessThanOrEqual(10_000)
      expect(most).toBeGreaterThan(1_000)
      await until(async () => (await left()) === 0, 'the events are gone', 30_000)
    },
  )

statementTest(
  {
    id: 'E1',
    driver: 'sqlite',
    timeoutMs: 60_000,
    promise: '5 000 events for a monitor that is dead: the file keeps none for longer than eventQueueTtl',
  },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-e1-'))
    try {
      await using app = new Celeriac('e1', { broker: `sqlite://${folder}/queue.db`, eventQueueTtl: 2 })
      // Whoever consumes anything looks for what is over.
      await using _ = await app.worker({ pool: 'async', heartbeat: false }).start()
      const { most, left } = await deadMonitor(app, 1)
      expect(most).toBeGreaterThan(100)
      await until(async () => (await left()) === 0, 'the events are gone', 30_000)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

statementTest(
  {
    id: 'E1',
    driver: 'sqlite',
    timeoutMs: 60_000,
    promise:
      '25 000 events for a monitor that is dead, and no worker that looks: the file keeps 10 000 messages and a tenth at most, the latest',
  },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'celeriac-e1-'))
    try {
      await using app = new Celeriac('e1', { broker: `sqlite://${folder}/queue.db`, eventQueueTtl: null })
      const { most, left } = await deadMonitor(app, 5)
      expect(most).toBeLessThanOrEqual(11_000)
      expect(await left()).toBeGreaterThanOrEqual(9_000)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

statementTest(
  {
    id: 'E1',
    driver: 'memory',
    timeoutMs: 60_000,
    promise: '25 000 events for a monitor that is dead: the broker keeps 10 000 messages at most, the latest',
  },
  async () => {
    await using app = new Celeriac('e1', { broker: `memory://${randomUUID()}`, eventQueueTtl: null })
    const { most, left } = await deadMonitor(app, 5)
    expect([most, await left()]).toEqual([10_000, 10_000])
  },
)
