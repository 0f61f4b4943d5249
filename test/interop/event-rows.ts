/** Events across the languages: Celery's own Receiver and State see Node workers as they see Python's, and our monitor sees both. */
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Monitor } from '../../dist/index.js'
import type { ClusterEvent } from '../../dist/protocol/events.js'
import { until } from '../conformance/wait.js'
import { isFullRun } from '../harness/depth.js'
import { type Broker, Fleet, fresh } from './fleet.js'
import { skippedOn, title } from './needs.js'
import { PythonMonitor, type SeenEvent } from './python-process.js'

const nodeName = `node0@${hostname()}`
const pythonName = `python0@${hostname()}`

export function testEvents(broker: Broker): void {
  describe.skipIf(skippedOn(broker))(title('events of a worker of each language', broker), () => {
    let fleet: Fleet
    let python: PythonMonitor
    let node: Monitor
    beforeAll(async () => {
      fleet = await Fleet.start({ broker, node: ['node'], python: ['python'], flags: ['-E'] })
      node = await fleet.app.monitor()
      python = await new PythonMonitor({ broker: fleet.url, backend: fleet.backendUrl, store: fleet.storeUrl }).ready()
    }, 120_000)
    afterAll(async () => {
      await python?.stop()
      await node?.close()
      await fleet?.[Symbol.asyncDispose]()
    })

    /** The events of one task that both monitors have seen, when its last one is there. */
    async function eventsOf(id: string, last: string): Promise<readonly SeenEvent[]> {
      await python.sees(last, id)
      return python.events.filter(({ uuid }) => uuid === id)
    }

    const shape = (events: readonly SeenEvent[]): unknown =>
      events.map((event) =>
        Object.fromEntries(
          Object.entries(event)
            .map(([key, value]) => [key, key === 'type' ? value : value === null ? 'null' : typeof value])
            .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
        ),
      )

    test.each<[string, readonly unknown[], string, string]>([
      ['interop.add', [1, 2], 'task-succeeded', 'received started succeeded'],
      ['interop.fail', ['value'], 'task-failed', 'received started failed'],
      ['interop.gives_up', [true], 'task-failed', 'received started retried received started failed'],
    ])('%s %j: the same events with the same fields', async (task, args, last, expected) => {
      const events: Record<string, readonly SeenEvent[]> = {}
      for (const queue of ['node', 'python'])
        events[queue] = await eventsOf(
          await fleet.callers.python.call(task, queue === 'node' && task === 'interop.fail' ? ['range'] : args, {}, { queue }),
          last,
        )
      const { node: ours = [], python: theirs = [] } = events
      expect(ours.map(({ type }) => type.replace('task-', '')).join(' ')).toBe(expected)
      // Between the workers of one language, too, the next run may be told of before the retry is.
      const sorted = (list: readonly SeenEvent[]): readonly SeenEvent[] => [...list].sort((a, b) => (a.type < b.type ? -1 : 1))
      expect(shape(sorted(ours))).toEqual(shape(sorted(theirs)))
      expect(ours[0]).toMatchObject({ hostname: nodeName, name: task, root_id: ours[0]?.uuid, parent_id: null, retries: 0 })
      expect(ours.map(({ clock }) => clock)).toEqual([...ours].map(({ clock }) => clock as number).sort((a, b) => a - b))
    })

    test('the texts of an event are those that Python shows', async () => {
      const id = await fleet.callers.python.call('interop.add', [1], { b: 2 }, { queue: 'node' })
      const [received, , succeeded] = await eventsOf(id, 'task-succeeded')
      expect(received).toMatchObject({ args: '(1,)', kwargs: "{'b': 2}" })
      expect(succeeded).toMatchObject({ result: '3', runtime: expect.any(Number) })
      const failed = await eventsOf(await fleet.callers.python.call('interop.fail', ['range'], {}, { queue: 'node' }), 'task-failed')
      expect(failed.at(-1)).toMatchObject({ exception: "ValueError('too far')", traceback: expect.stringContaining('RangeError') })
    })

    test('a revoked, an expired and a terminated task are told apart', async () => {
      const { client, callers } = fleet
      const gate = fresh('gate')
      const running = await callers.python.call('interop.gate', [gate], {}, { queue: 'node' })
      await fleet.atGate(gate)
      const revoked = await callers.python.call('interop.add', [1, 2], {}, { queue: 'node' })
      await client.ask('revoke', { ids: [revoked], terminate: false, signal: 'SIGTERM' })
      expect(await python.sees('task-revoked', revoked)).toMatchObject({ terminated: false, signum: null, expired: false })
      await client.ask('revoke', { ids: [running], terminate: true, signal: 'SIGKILL' })
      expect(await python.sees('task-revoked', running)).toMatchObject({ terminated: true, signum: 9, expired: false })
      const expired = await callers.python.call('interop.add', [1, 2], {}, { queue: 'node', countdown: 0.5, expires: 0.2 })
      expect(await python.sees('task-revoked', expired)).toMatchObject({ terminated: false, expired: true })
    })

    test('enable_events and disable_events of Python turn task events on and off', async () => {
      const { client, callers } = fleet
      const tell = (command: string) => client.ask('broadcast', { command, destination: [nodeName], timeout: 5 })
      expect(await tell('disable_events')).toEqual([{ [nodeName]: { ok: 'task events disabled' } }])
      const silent = await callers.python.call('interop.add', [1, 2], {}, { queue: 'node' })
      expect(await callers.python.end(silent)).toEqual({ value: 3 })
      expect(await tell('enable_events')).toEqual([{ [nodeName]: { ok: 'task events enabled' } }])
      const told = await callers.python.call('interop.add', [1, 2], {}, { queue: 'node' })
      await python.sees('task-succeeded', told)
      expect(python.events.filter(({ uuid }) => uuid === silent)).toEqual([])
    })

    test('a Node sender tells of what it sends', async () => {
      await using app = fleet.another({ taskSendSentEvent: true })
      const { id } = await app.sendTask('interop.add', { args: [1, 2] }, { queue: 'node' })
      expect(await python.sees('task-sent', id)).toMatchObject({
        hostname: expect.stringMatching(/^gen\d+@/),
        name: 'interop.add',
        args: '(1, 2)',
        kwargs: '{}',
        queue: 'node',
        routing_key: 'node',
        exchange: '',
        retries: 0,
        root_id: id,
      })
    })

    test('our monitor sees workers and tasks of both languages', async () => {
      const ids = await Promise.all(['node', 'python'].map((queue) => fleet.callers.python.call('interop.add', [4, 5], {}, { queue })))
      await until(() => ids.every((id) => node.state.task(id)?.state === 'SUCCESS'), 'both tasks have succeeded')
      for (const [index, worker] of [nodeName, pythonName].entries())
        expect(node.state.task(ids[index] ?? '')).toMatchObject({
          name: 'interop.add',
          args: '(4, 5)',
          result: '9',
          worker,
          runtime: expect.any(Number),
        })
      await until(() => node.state.workers().length === 2, 'two workers are heard')
      expect(node.state.workers()).toMatchObject([
        { hostname: nodeName, isAlive: true, freq: expect.any(Number), software: { ident: 'celeriac' } },
        { hostname: pythonName, isAlive: true, software: { ident: 'py-celery' } },
      ])
    })

    test('Celery State has the Node worker alive, and its tasks as they ended', async () => {
      const id = await fleet.callers.python.call('interop.add', [2, 2], {}, { queue: 'node' })
      await python.sees('task-succeeded', id)
      const state = await python.ended()
      expect(state.workers).toMatchObject({ [nodeName]: { alive: true, sw_ident: 'celeriac' }, [pythonName]: { alive: true } })
      expect(state.tasks[id]).toEqual({
        state: 'SUCCESS',
        name: 'interop.add',
        args: '(2, 2)',
        kwargs: '{}',
        result: '4',
        worker: nodeName,
      })
    })
  })

  describe.skipIf(skippedOn(broker))(title('elections and mingle among workers of both languages', broker), () => {
    let fleet: Fleet
    beforeAll(async () => {
      fleet = await Fleet.start({ broker, node: ['node'], python: ['python'] })
    }, 120_000)
    afterAll(async () => fleet?.[Symbol.asyncDispose]())

    test('a Python worker that is alone with a Node worker survives elections, and each is won by one', async () => {
      await knowEachOther(fleet)
      for (let round = 0; round < 2; round++) await elect(fleet)
    })

    if (broker === 'redis' || isFullRun)
      test('the only Python worker survives elections among Node workers, and each is won by one', async () => {
        await fleet.startNode(['another'])
        await knowEachOther(fleet)
        for (let round = 0; round < 2; round++) await elect(fleet)
      })

    test('a worker that starts learns from the others what is revoked, across the languages', async () => {
      const ids = [fresh('revoked'), fresh('revoked')]
      await fleet.client.ask('revoke', { ids, terminate: false, signal: 'SIGTERM' })
      await fleet.workerSays(new RegExp(`flagged as revoked.*${ids[0]}`))
      await fleet.startNode(['other'])
      await fleet.startPython(['other'])
      const [node2, python1] = [`node${fleet.nodeWorkers.length - 1}@${hostname()}`, `python1@${hostname()}`]
      await until(
        async () => {
          const revoked = await fleet.app.control.inspect({ destination: [node2, python1], timeout: 5 }).revoked()
          return [node2, python1].every((name) => ids.every((id) => revoked[name]?.includes(id)))
        },
        'both know what is revoked',
        20_000,
      )
    }, 120_000)
  })

  if (!isFullRun) return
  test.skipIf(skippedOn(broker))(
    title('two Python workers survive elections beside a Node worker, and each is won by one', broker),
    {
      timeout: 240_000,
    },
    async () => {
      await using fleet = await Fleet.start({ broker, node: ['node'], python: ['python'] })
      await fleet.startPython(['another'])
      await knowEachOther(fleet)
      for (let round = 0; round < 8; round++) await elect(fleet)
    },
  )
}

/** Until each worker has heard of every other: whoever listens now has heard each of them twice. */
async function knowEachOther(fleet: Fleet): Promise<void> {
  const heard = new Map<string, number>()
  const count = ({ type, hostname: name }: ClusterEvent): void => {
    if (type === 'worker-heartbeat') heard.set(name, (heard.get(name) ?? 0) + 1)
  }
  await using _ = await fleet.app.monitor({ routingKey: 'worker.#', onEvent: count })
  const workers = fleet.nodeWorkers.length + fleet.pythonWorkers.length
  await until(() => [...heard.values()].filter((times) => times > 1).length === workers, `${workers} workers are heard`, 60_000)
}

/** Lets the workers elect one that sends a task: they all live, one of them says that it has won, and the task runs once. */
async function elect(fleet: Fleet): Promise<void> {
  const name = fresh('elected')
  const queue = fleet.nodeWorkers.length > 0 ? 'node' : 'python'
  const action = { task: 'interop.note', args: [1, name], kwargs: {}, options: { queue }, subtask_type: null, immutable: false }
  const workers = [...fleet.nodeWorkers, ...fleet.pythonWorkers]
  const limit = workers.length
  await fleet.client.ask('broadcast', { command: 'election', arguments: { id: name, topic: 'task', action }, timeout: 10, limit })
  const said = (output: string): boolean =>
    output.split('\n').some((line) => /I won the election|elected for/.test(line) && line.includes(name))
  // A Python worker may hear too few answers to end an election; ours always do, and later than Python's.
  await until(() => fleet.nodeWorkers.every(({ output }) => said(output)), `the Node workers know who is elected\n${fleet.said()}`, 30_000)
  await fleet.listed(`note:${name}`, 1, 30_000)
  await fleet.allAcked()
  const winners = workers.filter(({ output }) => output.split('\n').some((line) => /I won the election/.test(line) && line.includes(name)))
  expect(winners, fleet.said()).toHaveLength(1)
  expect(await fleet.redis.llen(`note:${name}`)).toBe(1)
  expect(fleet.pythonWorkers.every(({ isRunning }) => isRunning)).toBe(true)
}
