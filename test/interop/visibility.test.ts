/**
 * Beside a Python worker that gives back what is unacknowledged for more than a second (kombu's visibility timeout, without a lease), our tasks run once.
 * That it really does so is seen all the while: a message that a Python client took and holds comes back again and again.
 */
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import { Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'

/** The Python worker looks each second. Older kombu has no such options; there it looks each 100 s, and the tests say that it did not. */
const sweeping = { visibility_timeout: 1, unacked_restore_interval: 1, unacked_restore_throttle: 1 }

describe.skipIf(skipped)(title('a visibility timeout of 1 s'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({
      python: ['python'],
      node: ['node'],
      // A place for the second run, should there be one.
      concurrency: 2,
      pythonConfig: { broker_transport_options: sweeping, task_acks_late: true },
      nodeOptions: { brokerTransportOptions: { leaseTtl: 2, sweepInterval: 0.25 } },
    })
  }, 60_000)
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  /** Takes the only message of the queue `lost` and waits until the Python worker has put it back. */
  const abandonOnce = async (): Promise<void> => {
    const tag = await fleet.client.ask<string>('take', { queue: 'lost' })
    expect(await fleet.redis.hexists('unacked', tag)).toBe(1)
    await until(async () => (await fleet.redis.llen('lost')) === 1, `the Python worker gives ${tag} back\n${fleet.said()}`, 6_000)
  }

  test.concurrent('our task of 10 s runs once, though the Python worker gives back what others hold', async () => {
    const { node } = fleet.callers
    const id = await node.call('interop.sleep', [10], {}, { queue: 'node' })
    await fleet.callers.python.call('interop.where', [], {}, { queue: 'lost' })
    await fleet.listed(`starts:${id}`, 1)
    let restored = 0
    while (!(await fleet.app.result(id).ready())) {
      await abandonOnce()
      restored++
    }
    expect(restored).toBeGreaterThanOrEqual(3)
    expect(await node.end(id)).toEqual({ value: 10 })
    // One look more after the end: had it been given back, it would be here now.
    await abandonOnce()
    expect(await fleet.redis.llen(`starts:${id}`)).toBe(1)
    expect(await fleet.redis.llen('node')).toBe(0)
  }, 40_000)

  test.concurrent('our task that waits for its eta runs once, at its time', async () => {
    const { node } = fleet.callers
    const name = fresh('eta')
    const sentMs = Date.now()
    const id = await node.call('interop.note', ['ran', name], {}, { queue: 'node', countdown: 4 })
    expect(await node.end(id)).toEqual({ value: 'ran' })
    expect(Date.now() - sentMs).toBeGreaterThanOrEqual(4_000)
    await fleet.listed(`starts:${await node.call('interop.sleep', [3], {}, { queue: 'node' })}`, 1)
    expect(await fleet.redis.lrange(`note:${name}`, 0, -1)).toEqual(['"ran"'])
  }, 30_000)

  test.concurrent('what a killed Node worker held is given back by the Python worker, once the lease is over', async () => {
    const { node } = fleet.callers
    const [queue, gate] = [fresh('killed'), fresh('gate')]
    const worker = await fleet.startNode([queue])
    const id = await node.call('interop.gate', [gate], {}, { queue })
    await fleet.atGate(gate)
    worker.signal('SIGKILL')
    await until(async () => (await fleet.redis.llen(queue)) === 1, 'the message is back', 10_000)
    await fleet.open(gate)
    await fleet.client.ask('add_consumer', { queue, destination: [`python0@${hostname()}`] })
    expect(await node.end(id)).toEqual({ value: gate })
  }, 40_000)
})

describe.skipIf(skipped)(title("leases of 1 s beside Python's hour"), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({
      python: ['python'],
      node: ['node'],
      concurrency: 2,
      pythonConfig: { task_acks_late: true },
      nodeOptions: { brokerTransportOptions: { leaseTtl: 1, sweepInterval: 0.2 } },
    })
  }, 60_000)
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  test("a Node worker gives back nothing that a Python worker holds: Python's task of 4 s runs once", async () => {
    const { node } = fleet.callers
    const id = await node.call('interop.sleep', [4], {}, { queue: 'python' })
    expect(await node.end(id)).toEqual({ value: 4 })
    expect(await fleet.redis.llen(`starts:${id}`)).toBe(1)
    await fleet.allAcked()
    expect(await fleet.redis.llen('python')).toBe(0)
  }, 30_000)
})

describe.skipIf(skipped)(title('a visibility timeout of our own'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({ nodeOptions: { brokerTransportOptions: { visibilityTimeout: 0.3, sweepInterval: 0.1 } } })
  }, 60_000)
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  test('what a Python worker took and held longer is given back by a Node worker, and runs as redelivered', async () => {
    const { python } = fleet.callers
    const queue = fresh('lost')
    const id = await python.call('interop.request', [], {}, { queue, headers: { tenant: 'acme' } })
    const tag = await fleet.client.ask<string>('take', { queue })
    expect(await fleet.redis.hexists('unacked', tag)).toBe(1)
    await fleet.startNode([queue])
    expect((await python.end(id)).value).toMatchObject({ id, redelivered: true, headers: { tenant: 'acme' }, queue })
    await fleet.allAcked()
  })
})
