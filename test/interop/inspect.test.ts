/** Python's own command line asks Node workers; what they answer has the shape that a Python worker's answer has. */
import { execFile } from 'node:child_process'
import { hostname } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../../dist/app/migration.js'
import { commandTable } from '../../dist/control/command-table.js'
import { systemClock } from '../../dist/internal/clock.js'
import { openTransport } from '../../dist/transports/index.js'
import { until } from '../conformance/wait.js'
import { isFullRun } from '../harness/depth.js'
import { cleanEnvironment } from '../harness/worker-process.js'
import { python } from '../python.js'
import { type Broker, Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'
import { shapeOf } from './shape.js'

const run = promisify(execFile)
const folder = fileURLToPath(new URL('python', import.meta.url))
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const nodeApp = fileURLToPath(new URL('node/app.mjs', import.meta.url))
const node = `node0@${hostname()}`
const snake = `python0@${hostname()}`
const brokers: readonly Broker[] = isFullRun ? ['redis', 'classic'] : ['redis']

describe.skipIf(skipped).each(brokers)(title('celery inspect and status on %s, with a worker of each language'), (broker) => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({ broker, node: ['node'], python: ['python'] })
    await until(async () => Object.keys(await fleet.app.control.ping({ limit: 2, timeout: 2 })).length === 2, 'both hear')
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  /** The program that a user runs. */
  async function celery(...args: string[]): Promise<string> {
    const env = {
      ...cleanEnvironment(),
      PYTHONDONTWRITEBYTECODE: '1',
      INTEROP_BROKER: fleet.url,
      INTEROP_BACKEND: fleet.backendUrl,
      INTEROP_STORE: fleet.storeUrl,
    }
    const { stdout } = await run(python(), ['-m', 'celery', '-A', 'interop_app', ...args], { cwd: folder, env, timeout: 80_000 })
    return stdout
  }

  /** What both workers answer, as the program shows it. */
  async function inspect(...args: string[]): Promise<{ readonly ours: unknown; readonly theirs: unknown }> {
    const command = ['inspect', '--json', '-t', '30', '-d', `${node},${snake}`, ...args]
    const answers: Record<string, unknown> = JSON.parse(await fleet.client.ask<string>('program', { args: command }))
    return { ours: answers[node], theirs: answers[snake] }
  }

  /** The same without the program. */
  async function ask(
    command: string,
    args: Readonly<Record<string, unknown>> = {},
  ): Promise<{ readonly ours: unknown; readonly theirs: unknown }> {
    const answers = await fleet.client.ask<Record<string, unknown>[]>('broadcast', { command, arguments: args, timeout: 5, limit: 2 })
    return { ours: answers.find((answer) => node in answer)?.[node], theirs: answers.find((answer) => snake in answer)?.[snake] }
  }

  test('celery status lists the Node worker', async () => {
    const said = await celery('status', '-t', '3')
    expect(said).toContain(`${node}: OK`)
    expect(said).toContain(`${snake}: OK`)
    expect(said).toContain('2 nodes online')
  })

  test.each(['ping', 'active', 'reserved', 'scheduled', 'revoked'])(
    '%s of an idle worker is what a Python worker answers',
    async (command) => {
      const { ours, theirs } = await ask(command)
      expect(ours).toEqual(theirs)
    },
  )

  test.each(['stats', 'active_queues', 'clock', 'report', 'conf', 'registered'])('%s has the shape of a Python answer', async (command) => {
    // Each through the program itself, too: it shows what it does not understand as an error.
    const { ours, theirs } = await inspect(command)
    expect(typeof ours).toBe(typeof theirs)
    if (command === 'active_queues') {
      // Python has no pauses.
      const [{ paused, ...queue } = { paused: undefined }] = ours as [Record<string, unknown>]
      expect(paused).toBe(false)
      expect(shapeOf([queue])).toEqual(shapeOf(theirs))
    }
    if (command === 'stats') {
      // What stands in a Python worker's pool depends on the kind of pool.
      expect(shapeOf({ ...(ours as object), pool: {} })).toEqual(shapeOf({ ...(theirs as object), pool: {} }))
      expect((ours as { pool: unknown }).pool).toMatchObject({ 'max-concurrency': 1, processes: [expect.any(Number)] })
      expect((ours as { broker: unknown }).broker).toMatchObject({
        transport: (theirs as { broker: { transport: string } }).broker.transport,
        hostname: '127.0.0.1',
        port: expect.any(Number),
      })
    }
    if (command === 'registered') expect(ours).toContain('interop.add')
    if (command === 'conf')
      expect(ours).toMatchObject({ broker_url: expect.stringContaining(`${new URL(fleet.url).protocol}//`), worker_concurrency: 1 })
  })

  test('memsample and memdump are answered with text, objgraph with what is missing', async () => {
    for (const [command, args] of [
      ['memsample', {}],
      ['memdump', { samples: 3 }],
    ] as const) {
      const { ours, theirs } = await ask(command, args)
      expect(typeof ours, command).toBe('string')
      // Nothing, where Python lacks psutil.
      expect(theirs === null || typeof theirs === 'string', command).toBe(true)
    }
    const { ours, theirs } = await ask('objgraph')
    expect(theirs).toEqual({ error: expect.stringContaining('objgraph') })
    expect(ours).toEqual({ error: expect.stringContaining('objgraph') })
  })

  test('every inspect command that this Celery has is one of ours', async () => {
    const known = Object.entries(await fleet.client.ask<Record<string, string>>('panel')).map(([name, kind]) => `${kind} ${name}`)
    expect(known.length).toBeGreaterThan(30)
    expect(known.filter((one) => !commandTable.some(({ kind, name }) => `${kind} ${name}` === one))).toEqual([])
  })

  test('our own command line asks and steers Python workers', async () => {
    const celeriac = async (...args: string[]): Promise<Record<string, unknown>> => {
      const env = { ...cleanEnvironment(), INTEROP_STORE: fleet.storeUrl }
      const flags = ['-A', nodeApp, '-b', fleet.url, '--result-backend', fleet.backendUrl, '--json', '-t', '10']
      const { stdout } = await run(process.execPath, [main, ...args, ...flags], { env, timeout: 30_000 })
      return JSON.parse(stdout)
    }
    expect(await celeriac('inspect', 'stats', '-d', snake)).toMatchObject({
      [snake]: { pid: expect.any(Number), pool: { 'max-concurrency': 1 } },
    })
    expect(await celeriac('control', 'rate_limit', 'interop.where', '1000/s', '-d', snake)).toEqual({
      [snake]: { ok: 'new rate limit set successfully' },
    })
    expect(await celeriac('inspect', 'registered', 'rate_limit', '-d', snake)).toMatchObject({
      [snake]: expect.arrayContaining(['interop.where [rate_limit=1000/s]']),
    })
  })

  test('a task that runs and one that waits behind it are shown as Python shows them', async () => {
    const gates = { node: fresh('gate'), python: fresh('gate') }
    const { client } = fleet
    const ids: Record<string, string[]> = {}
    for (const queue of ['node', 'python'] as const) {
      const first = await fleet.callers.python.call('interop.gate', [gates[queue]], {}, { queue })
      await fleet.atGate(gates[queue])
      ids[queue] = [first, await fleet.callers.python.call('interop.add', [1], { b: 2 }, { queue, priority: 3 })]
    }
    try {
      const active = await ask('active')
      expect(shapeOf(active.ours)).toEqual(shapeOf(active.theirs))
      expect(active.ours).toMatchObject([
        { id: ids.node?.[0], name: 'interop.gate', args: [gates.node], kwargs: {}, hostname: node, delivery_info: { routing_key: 'node' } },
      ])
      const reserved = await ask('reserved')
      expect(shapeOf(reserved.ours)).toEqual(shapeOf(reserved.theirs))
      expect(reserved.ours).toMatchObject([{ id: ids.node?.[1], args: [1], kwargs: { b: 2 }, time_start: null, worker_pid: null }])
      const found = await ask('query_task', { ids: Object.values(ids).flat() })
      expect(found.ours).toMatchObject({
        [ids.node?.[0] ?? '']: ['active', { id: ids.node?.[0] }],
        [ids.node?.[1] ?? '']: ['reserved', {}],
      })
      const [time] = active.ours as { time_start: number }[]
      expect(Math.abs((time?.time_start ?? 0) * 1000 - Date.now())).toBeLessThan(60_000)
      expect(await client.ask('inspect', { command: 'active', arguments: { safe: true } })).toMatchObject({
        [node]: [{ args: `('${gates.node}',)`, kwargs: '{}' }],
        [snake]: [{ args: `('${gates.python}',)`, kwargs: '{}' }],
      })
    } finally {
      await fleet.open(gates.node)
      await fleet.open(gates.python)
    }
  })

  test('what nobody knows is answered, and not waited for', async () => {
    const answers = await fleet.client.ask('broadcast', { command: 'no_such', arguments: {}, timeout: 5, limit: 2 })
    expect(answers).toEqual(
      expect.arrayContaining([{ [node]: { error: "KeyError('no_such')" } }, { [snake]: { error: "KeyError('no_such')" } }]),
    )
  })

  test('a pattern reaches the workers whose names fit, and no others', async () => {
    const { client } = fleet
    const ping = (pattern: string) => client.ask<object[]>('broadcast', { command: 'ping', pattern, matcher: 'glob', timeout: 1 })
    // A worker that is slow answers later, and another must not answer at all.
    const answers = async (pattern: string): Promise<object[]> => {
      let found: object[] = []
      const come = async (): Promise<boolean> => {
        found = await ping(pattern)
        return found.length > 0
      }
      await until(come, `answers to ${pattern}`)
      return found
    }
    expect(await answers('node*')).toEqual([{ [node]: { ok: 'pong' } }])
    expect(await answers('[!n]*@*')).toEqual([{ [snake]: { ok: 'pong' } }])
    expect(await ping('nobody*')).toEqual([])
  })

  test('the Node API asks both', async () => {
    const { control } = fleet.app
    const inspected = control.inspect({ limit: 2, timeout: 30 })
    expect(await inspected.ping()).toEqual({ [node]: { ok: 'pong' }, [snake]: { ok: 'pong' } })
    const queues = await inspected.activeQueues()
    expect(queues[node]?.map(({ name }) => name)).toEqual(['node'])
    expect(queues[snake]?.map(({ name }) => name)).toEqual(['python'])
    const registered = await inspected.registered()
    for (const worker of [node, snake]) expect(registered[worker]).toContain('interop.add')
    expect(Object.keys(await control.inspect({ destination: [snake], timeout: 30 }).stats())).toEqual([snake])
    expect(Object.keys(await control.ping({ pattern: 'py*', limit: 1, timeout: 30 }))).toEqual([snake])
    await fleet.allAcked()
  })
})

describe.skipIf(skipped).each(brokers)(title('celery control on %s: the same orders to a worker of each language'), (broker) => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({ broker, node: ['node'], python: ['python'], concurrency: 2 })
    // A Python worker is ready a moment before it hears requests.
    await until(async () => Object.keys(await fleet.app.control.ping({ limit: 2, timeout: 2 })).length === 2, 'both hear')
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  test('the program celery control gives an order, and shows the answers of both', async () => {
    const env = {
      ...cleanEnvironment(),
      PYTHONDONTWRITEBYTECODE: '1',
      INTEROP_BROKER: fleet.url,
      INTEROP_BACKEND: fleet.backendUrl,
      INTEROP_STORE: fleet.storeUrl,
    }
    const words = [
      '-m',
      'celery',
      '-A',
      'interop_app',
      'control',
      '--json',
      '-t',
      '5',
      '-d',
      `${node},${snake}`,
      'time_limit',
      'interop.add',
      '50',
      '60',
    ]
    const { stdout } = await run(python(), words, { cwd: folder, env, timeout: 30_000 })
    const ok = { ok: 'time limits set successfully' }
    expect(JSON.parse(stdout.slice(stdout.indexOf('[')))).toEqual(expect.arrayContaining([{ [node]: ok }, { [snake]: ok }]))
  })

  const orders: readonly (readonly [command: string, args: Readonly<Record<string, unknown>>])[] = [
    ['enable_events', {}],
    ['enable_events', {}],
    ['disable_events', {}],
    ['disable_events', {}],
    ['heartbeat', {}],
    ['rate_limit', { task_name: 'interop.add', rate_limit: '100/s' }],
    ['rate_limit', { task_name: 'interop.add', rate_limit: 0 }],
    ['rate_limit', { task_name: 'no.such', rate_limit: '1/s' }],
    ['time_limit', { task_name: 'interop.add', soft: 50, hard: 60 }],
    ['time_limit', { task_name: 'no.such', soft: 50 }],
    ['pool_grow', { n: 1 }],
    ['pool_shrink', { n: 1 }],
    ['autoscale', { max: 3, min: 1 }],
    ['election', { id: 'none', topic: 'none', action: null }],
    ['add_consumer', { queue: 'more' }],
    ['cancel_consumer', { queue: 'more' }],
    ['revoke', { task_id: 'no-such-task' }],
    ['revoke', { task_id: ['no-such-task'], terminate: true, signal: 'SIGKILL' }],
    ['terminate', { task_id: 'no-such-task', signal: 'TERM' }],
    ['revoke_by_stamped_headers', { headers: { header: ['value'] } }],
    ['revoke_by_stamped_headers', { headers: { header: ['value'] }, terminate: true }],
    ['no_such_command', {}],
  ]

  test.each(orders)('%s %j is answered in the same words, to clients of both languages', async (command, args) => {
    const ours = await fleet.app.control.broadcast(command, args, { limit: 2, timeout: 10 })
    expect(Object.keys(ours).sort()).toEqual([node, snake])
    expect(ours[node]).toEqual(ours[snake])
    // Those that count how often they were given are asked for once.
    if (command.endsWith('_events')) return
    // Late answers of an election count for the next of its id, and then Python dies of them: each has an id of its own.
    const given = command === 'election' ? { ...args, id: 'another' } : args
    const theirs = await fleet.client.ask('broadcast', { command, arguments: given, timeout: 10, limit: 2 })
    expect(theirs).toEqual(expect.arrayContaining([{ [node]: ours[node] }, { [snake]: ours[snake] }]))
  })

  test('a Node client steers the Python worker: a queue more, a task less', { timeout: 150_000 }, async () => {
    const { control } = fleet.app
    const to = { destination: [snake], timeout: 10 }
    await control.addConsumer('extra', to)
    const { id } = await fleet.app.sendTask('interop.where', {}, { queue: 'extra' })
    expect(await fleet.app.result(id).get({ timeout: 60 })).toBe('python')
    await control.cancelConsumer('extra', to)
    // It answers before it does it, and what it has to do it does in any order: the other queue of the orders above may be there again.
    const queues = async () => (await control.inspect(to).activeQueues())[snake]?.map(({ name }) => name)
    await until(async () => (await queues())?.includes('extra') === false, 'the Python worker has left the queue', 60_000)
  })

  test('a queue that both take from is paused and resumed: Python by its own means, and without a complaint', {
    timeout: 150_000,
  }, async () => {
    const { control } = fleet.app
    await control.addConsumer('both', { limit: 2, timeout: 10 })
    const queuesOf = async (name: string) => (await control.inspect({ destination: [name], timeout: 10 }).activeQueues())[name] ?? []
    const pythonHas = async () => (await queuesOf(snake)).some((queue) => queue.name === 'both')
    await until(pythonHas, 'the Python worker takes from the queue', 60_000)
    const [worker] = fleet.pythonWorkers
    const before = worker?.output.length ?? 0

    // Whoever is slow under load is told all the same: the pause may be said again.
    await until(
      async () => {
        await control.pause('both', { timeout: 3 })
        return !(await pythonHas())
      },
      'the Python worker has left the queue',
      60_000,
    )
    expect((await queuesOf(node)).map(({ name, paused }) => [name, paused])).toEqual(expect.arrayContaining([['both', true]]))
    const ids: string[] = []
    for (let call = 0; call < 4; call++) ids.push((await fleet.app.sendTask('interop.where', {}, { queue: 'both' })).id)
    await fleet.app.sendTask('interop.where', {}, { queue: 'python' }).get({ timeout: 60 })
    await fleet.app.sendTask('interop.where', {}, { queue: 'node' }).get({ timeout: 60 })
    expect(await fleet.waiting('both')).toBe(4)

    await control.resume('both', { timeout: 3 })
    for (const id of ids) expect(['node', 'python']).toContain(await fleet.app.result(id).get({ timeout: 60 }))
    await until(pythonHas, 'the Python worker takes from it again', 60_000)
    expect((await queuesOf(node)).map(({ name, paused }) => [name, paused])).toEqual(expect.arrayContaining([['both', false]]))
    // It has met no command that it does not know.
    expect(worker?.output.slice(before)).not.toMatch(/No such control command|KeyError|Traceback/)
  })

  test('a message of a Python client is migrated to another kind of broker and back, and a Python worker runs it', {
    timeout: 90_000,
  }, async () => {
    const name = fresh('moved')
    const id = await fleet.callers.python.call('interop.note', [1, name], {}, { queue: 'moving' })
    const open = async (url: string) => {
      const transport = await openTransport(url, { clock: systemClock })
      return { transport, connection: await transport.connect({ signal: AbortSignal.timeout(20_000) }) }
    }
    const [own, sqlite] = [await open(fleet.url), await open(`sqlite://${fleet.folder}/between.db`)]
    const topology = (queue: string) => ({
      exchanges: [],
      queues: [{ name: queue, durable: true, exclusive: false, autoDelete: false, arguments: {}, bindings: [] }],
    })
    const rest = {
      topology,
      limit: 1,
      idleMs: 20_000,
      acknowledges: true,
      publishTimeoutMs: 20_000,
      clock: systemClock,
      signal: AbortSignal.timeout(40_000),
      onMoved: () => {},
    }
    for (const [from, to, queues] of [
      [own, sqlite, [['moving', 'there']]],
      [sqlite, own, [['there', 'python']]],
    ] as const) {
      const priorities = { source: from.transport.supports.priority, destination: to.transport.supports.priority }
      const moved = await migrate({ ...rest, source: from.connection, destination: to.connection, priorities, queues: new Map(queues) })
      expect([...moved.moved.values()]).toEqual([1])
    }
    expect((await fleet.callers.python.end(id)).error).toBeUndefined()
    expect(await fleet.redis.exists(`note:${name}`)).toBe(1)
    await own.connection.close()
    await sqlite.connection.close()
  })

  test('a Python client stops the Node worker, which ends in order', async () => {
    const [worker] = fleet.nodeWorkers
    await fleet.client.ask('broadcast', { command: 'shutdown', destination: [node], timeout: 0.2 })
    expect(await worker?.exited).toEqual({ code: 0, signal: null })
    expect(await fleet.client.ask('broadcast', { command: 'ping', timeout: 30, limit: 1 })).toEqual([{ [snake]: { ok: 'pong' } }])
  })
})
