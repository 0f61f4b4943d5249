/** Peers that are set up otherwise than by default find each other, when both are set up alike. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import { Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'

const options = { priority_steps: [0, 5], sep: ':', unacked_key: 'held', unacked_index_key: 'held_index', fanout_prefix: '/app-{db}.' }

describe.skipIf(skipped)(title('options of both sides'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({
      python: ['python'],
      node: ['node'],
      db: 3,
      pythonConfig: {
        broker_transport_options: { global_keyprefix: 'app:', ...options },
        // Celery puts an underscore behind a prefix that does not end in one of : _ - .
        result_backend_transport_options: { global_keyprefix: 'app' },
        result_extended: true,
        task_track_started: true,
      },
      nodeOptions: {
        // Celery's spelling is taken, too.
        brokerTransportOptions: { globalKeyprefix: 'app:', ...options },
        resultBackendTransportOptions: { globalKeyprefix: 'app' },
        resultExtended: true,
        taskTrackStarted: true,
      },
    })
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  test.each([
    ['node', 'python'],
    ['python', 'node'],
  ] as const)('%s client, %s worker: prefixes, steps, names of keys and a database of its own', async (from, to) => {
    const client = fleet.caller(from)
    const gate = fresh('gate')
    const first = await client.call('interop.gate', [gate], {}, { queue: to })
    await fleet.atGate(gate)
    expect((await client.look(first)).state).toBe('STARTED')
    const revoked = await client.call('interop.where', [], {}, { queue: to })
    const id = await client.call('interop.add', [2, 3], {}, { queue: to, priority: 7 })
    await until(async () => (await fleet.redis.exists(`app:${to}`)) + (await fleet.redis.exists('app:held')) > 0, 'the keys')
    await client.revoke([revoked])
    await fleet.workerSays(new RegExp(`flagged as revoked.*${revoked}`))
    await fleet.open(gate)
    expect(await client.end(first)).toEqual({ value: gate })
    expect((await client.end(revoked)).error).toMatchObject({ type: 'TaskRevokedError', args: ['revoked'] })
    expect(await client.end(id)).toEqual({ value: 5 })
    const meta = JSON.parse((await fleet.redis.get(`app_celery-task-meta-${id}`)) ?? '{}')
    expect(meta).toMatchObject({ status: 'SUCCESS', result: 5, name: 'interop.add', args: [2, 3], kwargs: {}, retries: 0, queue: to })
    await until(async () => (await fleet.redis.exists('app:held')) === 0, 'every message is acknowledged')
  })

  test('no key is outside of the prefixes', async () => {
    const own = /^(at-gate|gate|note|runs|starts|ran|ran-by):/
    const keys = (await fleet.redis.keys('*')).filter((key) => !own.test(key))
    expect(keys.filter((key) => !key.startsWith('app:') && !key.startsWith('app_'))).toEqual([])
  })
})
