/**
 * A model of a queue against a real broker: random commands, and after each run the verdict of reliability.md B.0. What was confirmed and not ended comes out
 * of a complete drain exactly once; nothing unexpected comes; nothing is stuck; what was rejected or failed too often lies in the dead letters.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import type { Connection, Consumer, Delivery } from '../../dist/transport.js'
import { idOf, message, queue, type TransportDriver, topology } from './transport.js'
import { settled, until } from './wait.js'

const deliveryLimit = 5

interface Entry {
  readonly id: string
  readonly priority: number
  /** Not delivered before. */
  dueMs: number
  deliveries: number
  state: 'waiting' | 'held' | 'done' | 'dead'
}

/** What must be true, and who holds what. */
class Model {
  readonly entries = new Map<string, Entry>()
  readonly held = new Map<string, Delivery>()

  those(state: Entry['state']): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.state === state)
  }
}

class Real {
  connections: Connection[] = []
  consumer: { readonly connection: Connection; readonly handle: Consumer } | undefined

  constructor(
    readonly model: Model,
    readonly clock: VirtualClock,
    readonly connect: () => Promise<Connection>,
    readonly loseLeases: (() => Promise<void>) | undefined,
  ) {}

  get publisher(): Connection {
    const [first] = this.connections
    if (first === undefined) throw new Error('nothing is connected')
    return first
  }

  /** Every delivery is checked as it comes. */
  async consume(prefetch: number): Promise<void> {
    const connection = await this.connect()
    const handle = await connection.consume({
      queues: ['q'],
      prefetch,
      onDeliveries: (deliveries) => {
        for (const delivery of deliveries) this.#onDelivery(delivery)
      },
    })
    this.consumer = { connection, handle }
  }

  readonly wrong: string[] = []

  #onDelivery(delivery: Delivery): void {
    const entry = this.model.entries.get(idOf(delivery))
    if (entry === undefined) this.wrong.push(`${idOf(delivery)} was never published`)
    else if (entry.state !== 'waiting') this.wrong.push(`${entry.id} was delivered while it was ${entry.state}`)
    else if (entry.dueMs > this.clock.now()) this.wrong.push(`${entry.id} came ${entry.dueMs - this.clock.now()} ms too early`)
    else if (entry.deliveries !== delivery.deliveries)
      this.wrong.push(`${entry.id} came with ${delivery.deliveries} deliveries, not ${entry.deliveries}`)
    if (entry !== undefined) entry.state = 'held'
    this.model.held.set(idOf(delivery), delivery)
  }

  /** The broker has done all that it can do now. */
  async rest(): Promise<void> {
    await settled()
    expect(this.wrong).toEqual([])
  }
}

type Step = (model: Model, real: Real) => Promise<void>

class Command implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly text: string,
    readonly step: Step,
  ) {}
  check(): boolean {
    return true
  }
  async run(model: Model, real: Real): Promise<void> {
    await this.step(model, real)
    await real.rest()
  }
  toString(): string {
    return this.text
  }
}

let lastId = 0

function publish(count: number, delayMs: number, priority: number): Command {
  return new Command(`publish ${count} +${delayMs} p${priority}`, async (model, real) => {
    const dueMs = delayMs === 0 ? 0 : real.clock.now() + delayMs
    const entries = Array.from({ length: count }, (): Entry => ({ id: `m${++lastId}`, priority, dueMs, deliveries: 0, state: 'waiting' }))
    for (const entry of entries) model.entries.set(entry.id, entry)
    const options = delayMs === 0 ? { deadlineMs: 60_000 } : { deadlineMs: 60_000, notBefore: dueMs }
    await Promise.all(
      entries.map(({ id }) => real.publisher.publish(message({ id, priority }), { exchange: '', routingKey: 'q' }, options)),
    )
  })
}

/** Settles one of those that are held, if there is one. */
function settle(text: string, pick: number, how: (entry: Entry, delivery: Delivery, real: Real) => void): Command {
  return new Command(`${text} #${pick}`, async (model, real) => {
    const held = [...model.held]
    const chosen = held[pick % Math.max(1, held.length)]
    if (chosen === undefined) return
    const [id, delivery] = chosen
    const entry = model.entries.get(id)
    if (entry === undefined) throw new Error('what is held was published')
    model.held.delete(id)
    how(entry, delivery, real)
  })
}

const commands = [
  fc.tuple(fc.integer({ min: 1, max: 8 }), fc.constantFrom(0, 0, 0, 500, 5_000), fc.nat(3)).map((args) => publish(...args)),
  fc.nat(9).map((pick) =>
    settle('ack', pick, (entry, delivery) => {
      entry.state = 'done'
      delivery.ack()
    }),
  ),
  fc.nat(9).map((pick) =>
    settle('release', pick, (entry, delivery) => {
      entry.state = 'waiting'
      delivery.release()
    }),
  ),
  fc.nat(9).map((pick) =>
    settle('fail', pick, (entry, delivery) => {
      entry.deliveries += 1
      entry.state = entry.deliveries >= deliveryLimit ? 'dead' : 'waiting'
      delivery.release({ counted: true })
    }),
  ),
  fc.nat(9).map((pick) =>
    settle('reject', pick, (entry, delivery) => {
      entry.state = 'dead'
      delivery.reject('the model says so')
    }),
  ),
  fc.tuple(fc.nat(9), fc.constantFrom(1, 700, 7_000)).map(([pick, delayMs]) =>
    settle(`defer +${delayMs}`, pick, (entry, delivery, real) => {
      entry.state = 'waiting'
      entry.dueMs = real.clock.now() + delayMs
      delivery.defer(entry.dueMs)
    }),
  ),
  fc.constantFrom(1, 500, 3_000).map((ms) => new Command(`advance ${ms}`, async (_, real) => real.clock.moveTo(real.clock.now() + ms))),
  fc.integer({ min: 0, max: 10 }).map(
    (prefetch) =>
      new Command(`consume with prefetch ${prefetch}`, async (_, real) => {
        if (real.consumer === undefined) await real.consume(prefetch)
        else real.consumer.handle.setPrefetch(prefetch)
      }),
  ),
  fc.constant(
    new Command('lose the leases', async (model, real) => {
      if (real.loseLeases === undefined) return
      // Acks may wait for each other for moments. What was acked and is not written when its lease is lost comes again: at least once.
      await real.clock.moveTo(real.clock.now() + 20)
      await real.rest()
      await real.loseLeases()
      for (const entry of model.those('held')) {
        entry.deliveries += 1
        entry.state = entry.deliveries >= deliveryLimit ? 'dead' : 'waiting'
      }
      // What the broker took away is settled all the same: that must change nothing.
      for (const delivery of model.held.values()) delivery.ack()
      model.held.clear()
    }),
  ),
  fc.constant(
    new Command('close the consumer', async (model, real) => {
      const consumer = real.consumer
      if (consumer === undefined) return
      real.consumer = undefined
      await consumer.handle.cancel()
      for (const entry of model.those('held')) entry.state = 'waiting'
      model.held.clear()
      await consumer.connection.close()
      real.connections = real.connections.filter((connection) => connection !== consumer.connection)
    }),
  ),
]

export function testTransportModel(driver: TransportDriver, { runs }: { readonly runs: number }): void {
  test(`transport ${driver.name}: whatever is done in whatever order, nothing is lost, doubled or stuck`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 60 }), async (steps) => {
        const model = new Model()
        const clock = new VirtualClock()
        const broker = await driver.open(clock)
        const connect = async (): Promise<Connection> => {
          const connection = await (await broker.transport()).connect({ signal: new AbortController().signal })
          real.connections.push(connection)
          return connection
        }
        const real = new Real(model, clock, connect, broker.loseLeases?.bind(broker))
        try {
          await (await real.connect()).declare(topology(queue('q')))
          await fc.asyncModelRun(() => ({ model, real }), steps)
          await drain(model, real)
        } finally {
          for (const connection of real.connections) await connection.close()
          await broker.dispose()
        }
      }),
      { numRuns: runs, endOnFailure: true },
    )
  }, 120_000)
}

async function drain(model: Model, real: Real): Promise<void> {
  if (real.consumer === undefined) await real.consume(1_000)
  else real.consumer.handle.setPrefetch(1_000)
  await real.clock.moveTo(real.clock.now() + 10_000)
  await until(() => model.those('waiting').length === 0, `the drain (${JSON.stringify(model.those('waiting'))} are stuck)`)
  await real.rest()
  for (const delivery of model.held.values()) delivery.ack()
  const dead = model.those('dead')
  await until(async () => (await real.publisher.deadLetters.count()) === dead.length, 'the dead letters')
  const letters = await real.publisher.deadLetters.list({ limit: 10_000 })
  expect(letters.map((letter) => `${letter.message.headers.id} ${letter.deliveries}`).sort()).toEqual(
    dead.map((entry) => `${entry.id} ${entry.deliveries}`).sort(),
  )
  await real.rest()
  expect(await real.publisher.size('q')).toBe(0)
}
