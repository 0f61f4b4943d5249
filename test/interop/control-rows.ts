/** Broadcasts across the languages, over kombu's fan-out channel: what a client revokes does not run at a worker of the other language. */
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import { type Broker, Fleet, fresh } from './fleet.js'
import { skippedOn, title } from './needs.js'

export function testControl(broker: Broker): void {
  // Each with one kind of worker: a Python worker stores REVOKED for every id that it hears of, whoever has its message.
  describe.skipIf(skippedOn(broker)).each([
    ['python', 'node'],
    ['node', 'python'],
  ] as const)(title('%s client, %s worker: revoke', broker), (from, to) => {
    let fleet: Fleet
    beforeAll(async () => {
      fleet = await Fleet.start({ broker, [to]: [to] })
    })
    afterAll(async () => fleet?.[Symbol.asyncDispose]())

    /** The worker has taken the broadcast: it says so in its log. */
    const heard = (id: string): Promise<void> => fleet.workerSays(new RegExp(`flagged as revoked.*${id}`))

    test('a task that waits behind another does not run, and is revoked for whoever waits', async () => {
      const client = fleet.caller(from)
      const [gate, name] = [fresh('gate'), fresh('revoked')]
      const first = await client.call('interop.gate', [gate], {}, { queue: to })
      await fleet.atGate(gate)
      const ids = await Promise.all([1, 2].map((value) => client.call('interop.note', [value, name], {}, { queue: to })))
      await client.revoke(ids)
      await Promise.all(ids.map((id) => heard(id)))
      await fleet.open(gate)
      expect(await client.end(first)).toEqual({ value: gate })
      for (const id of ids) {
        expect((await client.end(id)).error).toMatchObject({ type: 'TaskRevokedError', module: 'celery.exceptions', args: ['revoked'] })
      }
      expect(await client.end(await client.call('interop.where', [], {}, { queue: to }))).toEqual({ value: to })
      expect(await fleet.redis.exists(`note:${name}`)).toBe(0)
    })

    test('a task that waits for its eta does not run', async () => {
      const client = fleet.caller(from)
      const name = fresh('revoked')
      const id = await client.call('interop.note', [1, name], {}, { queue: to, countdown: 2 })
      // The worker has it: it waits there or, with us, in the broker.
      await until(async () => (await fleet.waiting(to)) === 0, 'the worker takes the message')
      await client.revoke([id])
      await heard(id)
      expect((await client.end(id)).error).toMatchObject({ type: 'TaskRevokedError', args: ['revoked'] })
      // One that comes later runs: the time of the revoked one is over then.
      expect(await client.end(await client.call('interop.where', [], {}, { queue: to, countdown: 2.5 }))).toEqual({ value: to })
      expect(await fleet.redis.exists(`note:${name}`)).toBe(0)
      await fleet.allAcked()
    })

    test('with terminate a running task ends as terminated, and the worker goes on', async () => {
      const client = fleet.caller(from)
      const gate = fresh('gate')
      const id = await client.call('interop.gate', [gate], {}, { queue: to })
      await fleet.atGate(gate)
      await client.revoke([id], { terminate: true })
      const { error } = await client.end(id)
      expect(error).toMatchObject({ type: 'TaskRevokedError', module: 'celery.exceptions' })
      // Celery before 5.7 stores `revoked` first, for a moment.
      expect(to === 'node' ? ['terminated'] : ['terminated', 'revoked']).toContain(error?.args[0])
      expect(await client.end(await client.call('interop.where', [], {}, { queue: to }))).toEqual({ value: to })
    })

    // A Python worker is not ours to judge.
    if (to !== 'node') return

    test('a revoke that is addressed to another worker is not ours', async () => {
      const { client, callers } = fleet
      const [gate, name] = [fresh('gate'), fresh('kept')]
      const first = await callers.python.call('interop.gate', [gate], {}, { queue: 'node' })
      await fleet.atGate(gate)
      const id = await callers.python.call('interop.note', [1, name], {}, { queue: 'node' })
      const other = await callers.python.call('interop.note', [2, name], {}, { queue: 'node' })
      await client.ask('revoke', { ids: [id], terminate: false, signal: 'SIGTERM', destination: ['someone@else'] })
      await client.ask('revoke', { ids: [other], terminate: false, signal: 'SIGTERM', destination: [`node0@${hostname()}`] })
      await until(() => fleet.nodeWorkers[0]?.output.includes(other) === true, `the worker heard of ${other}`)
      await fleet.open(gate)
      expect(await callers.python.end(first)).toEqual({ value: gate })
      expect(await callers.python.end(id)).toEqual({ value: 1 })
      expect((await callers.python.end(other)).error).toMatchObject({ type: 'TaskRevokedError' })
    })

    test('answers to commands that nobody knows, and to those who do not wait, leave nothing behind', async () => {
      const before = await fleet.redis.keys('*')
      const answers = await fleet.client.ask('broadcast', { command: 'ping', timeout: 30, limit: 1 })
      expect(answers).toEqual([{ [`node0@${hostname()}`]: { ok: 'pong' } }])
      await fleet.client.ask('broadcast', { command: 'no_such', timeout: 0.001 })
      const { python } = fleet.callers
      expect(await python.end(await python.call('interop.where', [], {}, { queue: 'node' }))).toEqual({ value: 'node' })
      const lists = (await fleet.redis.keys('*')).filter((key) => !before.includes(key) && key.endsWith('.pidbox'))
      expect(lists.filter((key) => !key.startsWith('_kombu.binding'))).toEqual([])
    })
  })
}
