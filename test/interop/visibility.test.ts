/**
 * Beside a Python worker that gives back what is unacknowledged for more than a second (kombu's visibility timeout, without a lease), our tasks run once.
 * That it really does so is seen all the while: a message that a Python client took and holds comes back again and again.
 */
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import { Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'

/** The Python worker looks each second. A kombu before 5.7 knows the first only: it looks when it starts, and then each 100 s. */
const sweeping = { visibility_timeout: 1, unacked_restore_interval: 1, unacked_restore_throttle: 1 }

describe.skipIf(skipped)(title('who gives back what'), () => {
  /** A Python worker that gives back after a second. Ours have a place for the second run, should there be one. */
  let strict: Fleet
  /** Its second Node worker, beside that of the defaults: its leases end within the tests, if nobody refreshes them. */
  const short = { brokerTransportOptions: { leaseTtl: 2, sweepInterval: 0.25 } }
  /** The other way round: leases of 1 s beside Python's hour. */
  let hasty: Fleet
  /** No worker yet. */
  let empty: Fleet
  let looksEachSecond = true
  beforeAll(async () => {
    const late = { task_acks_late: true }
    ;[strict, hasty, empty] = await Promise.all([
      Fleet.start({
        python: ['python'],
        node: ['node'],
        concurrency: 2,
        pythonConfig: { ...late, broker_transport_options: sweeping },
      }),
      Fleet.start({
        python: ['python'],
        node: ['node'],
        concurrency: 2,
        pythonConfig: late,
        nodeOptions: { brokerTransportOptions: { leaseTtl: 1, sweepInterval: 0.2 } },
      }),
      Fleet.start({ nodeOptions: { brokerTransportOptions: { visibilityTimeout: 0.3, sweepInterval: 0.1 } } }),
    ])
    await strict.startNode(['short'], short)
    const { kombu } = await strict.client.ask<{ kombu: string }>('versions')
    looksEachSecond = !/^5\.[0-6]\./.test(kombu)
  })
  afterAll(async () => {
    await Promise.all([strict, hasty, empty].map((fleet) => fleet?.[Symbol.asyncDispose]()))
  })

  /** Takes the only message of the queue `lost` and waits until the Python worker has put it back. */
  const abandonOnce = async (): Promise<void> => {
    const tag = await strict.client.ask<string>('take', { queue: 'lost' })
    expect(await strict.redis.hexists('unacked', tag)).toBe(1)
    if (!looksEachSecond) await strict.startPython(['another'])
    await until(async () => (await strict.redis.llen('lost')) === 1, `the Python worker gives ${tag} back\n${strict.said()}`)
  }

  test.concurrent('our task of 10 s runs once, though the Python worker gives back what others hold for a second', async () => {
    const { node, python } = strict.callers
    const ids = await Promise.all(['node', 'short'].map((queue) => node.call('interop.sleep', [10], {}, { queue })))
    await python.call('interop.where', [], {}, { queue: 'lost' })
    for (const id of ids) await strict.listed(`starts:${id}`, 1)
    let restored = 0
    const running = async (): Promise<boolean> => {
      for (const id of ids) if (!(await strict.app.result(id).ready())) return true
      return false
    }
    while (await running()) {
      await abandonOnce()
      restored++
    }
    expect(restored).toBeGreaterThanOrEqual(2)
    for (const id of ids) expect(await node.end(id)).toEqual({ value: 10 })
    // One look more after the end: had one been given back, it would be here now.
    await abandonOnce()
    for (const id of ids) expect(await strict.redis.llen(`starts:${id}`)).toBe(1)
    for (const queue of ['node', 'short']) expect(await strict.redis.llen(queue)).toBe(0)
  })

  test.concurrent('our task that waits for its eta beside it runs once, at its time', async () => {
    const { node } = strict.callers
    const name = fresh('eta')
    const sentMs = Date.now()
    const id = await node.call('interop.note', ['ran', name], {}, { queue: 'node', countdown: 4 })
    expect(await node.end(id)).toEqual({ value: 'ran' })
    expect(Date.now() - sentMs).toBeGreaterThanOrEqual(4_000)
    // Longer than the Python worker needs to see and to return something.
    await node.end(await node.call('interop.sleep', [3], {}, { queue: 'node' }))
    expect(await strict.redis.lrange(`note:${name}`, 0, -1)).toEqual(['"ran"'])
  })

  test.concurrent('what a killed Node worker held is given back by the Python worker, once the lease is over', async () => {
    const { node } = strict.callers
    const [queue, gate] = [fresh('killed'), fresh('gate')]
    const worker = await strict.startNode([queue], short)
    const id = await node.call('interop.gate', [gate], {}, { queue })
    await strict.atGate(gate)
    worker.signal('SIGKILL')
    // A kombu before 5.7 finds it with the workers that the test above starts.
    await until(async () => (await strict.redis.llen(queue)) === 1, 'the message is back', 25_000)
    await strict.open(gate)
    await strict.client.ask('add_consumer', { queue, destination: [`python0@${hostname()}`] })
    expect(await node.end(id)).toEqual({ value: gate })
  })

  test.concurrent("a Node worker gives back nothing that a Python worker holds: Python's task of 4 s runs once", async () => {
    const { node } = hasty.callers
    const id = await node.call('interop.sleep', [4], {}, { queue: 'python' })
    expect(await node.end(id)).toEqual({ value: 4 })
    expect(await hasty.redis.llen(`starts:${id}`)).toBe(1)
    await hasty.allAcked()
    expect(await hasty.redis.llen('python')).toBe(0)
  })

  test.concurrent('what a Python worker took and held for longer than our visibility timeout is given back, and runs as redelivered', async () => {
    const { python } = empty.callers
    const queue = fresh('lost')
    const id = await python.call('interop.request', [], {}, { queue, headers: { tenant: 'acme' } })
    const tag = await empty.client.ask<string>('take', { queue })
    expect(await empty.redis.hexists('unacked', tag)).toBe(1)
    await empty.startNode([queue])
    expect((await python.end(id)).value).toMatchObject({ id, redelivered: true, headers: { tenant: 'acme' }, queue })
    await empty.allAcked()
  })
})
