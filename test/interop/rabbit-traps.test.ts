/** Traps of Celery's wire that are RabbitMQ's own: what is declared, what a message is, who is first, what comes back. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { GetMessage } from 'amqplib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { until } from '../conformance/wait.js'
import type { Options } from './caller.js'
import { Fleet, fresh } from './fleet.js'
import { skippedOn, title } from './needs.js'

describe.skipIf(skippedOn('classic'))(title('traps', 'classic'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({
      broker: 'classic',
      python: ['python'],
      node: ['node'],
      pythonConfig: { task_queue_max_priority: 10 },
      nodeOptions: { taskQueueMaxPriority: 10 },
    })
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  /** The first message of a queue as it lies there, once it does: Python does not wait for a confirmation. It is taken. */
  const taken = async (queue: string) => {
    const channel = await (await fleet.looking()).createChannel()
    try {
      const got: GetMessage[] = []
      await until(
        async () => got.push(...[await channel.get(queue, { noAck: true })].filter((message) => message !== false)) > 0,
        `there is a message in ${queue}`,
      )
      return got[0] as GetMessage
    } finally {
      await channel.close()
    }
  }

  test.each<[string, Options, readonly string[]]>([
    ['a plain call', {}, []],
    ['a countdown', { countdown: 60 }, ['headers.eta']],
    // A message that RabbitMQ drops when it has expired could tell nobody that its task is revoked.
    ['an expiry', { expires: new Date(Date.now() + 86_400_000) }, ['expiration']],
    ['a priority', { priority: 5 }, []],
    ['time limits', { timeLimit: 20, softTimeLimit: 10 }, []],
    ['headers and a shadow', { headers: { tenant: 'acme', nested: { a: [1, null, 1.5, true] } }, shadow: 'shown' }, []],
    ['an ignored result', { ignoreResult: true }, []],
    ['msgpack', { serializer: 'msgpack' }, []],
    ['YAML', { serializer: 'yaml' }, []],
    ['links', { link: [{ task: 'interop.note', args: ['x'], options: { queue: 'q', task_id: 'next' } }] }, []],
  ])('%s is the same message from Python and from Node, but for what must differ', async (_, options, alsoDiffers) => {
    const [taskId, queue] = [randomUUID(), fresh('same')]
    const shown = []
    for (const caller of [fleet.callers.python, fleet.callers.node]) {
      await caller.call('interop.add', [2, 3], {}, { ...options, taskId, queue })
      const { content, fields, properties } = await taken(queue)
      const body = properties.contentType === 'application/x-msgpack' ? content.toString('hex') : parse(content.toString())
      const { headers, ...rest } = properties
      shown.push({ exchange: fields.exchange, routingKey: fields.routingKey, body, ...rest, headers })
    }
    const mustDiffer = ['replyTo', 'headers.lang', 'headers.origin', ...alsoDiffers]
    // Ours is null: the worker's task decides. Python before 5.7 says false for tasks that it does not know.
    if (options.ignoreResult === undefined && shown[0]?.headers?.ignore_result === false) mustDiffer.push('headers.ignore_result')
    expect(differences(shown[0], shown[1]).sort()).toEqual(mustDiffer.sort())
  })

  test('both declare the same queue, exchange and binding', async () => {
    const queues = { python: fresh('declared'), node: fresh('declared') }
    for (const language of ['python', 'node'] as const)
      await fleet.caller(language).call('interop.add', [2, 3], {}, { queue: queues[language] })
    const lines = [
      ...(await fleet.ctl('list_queues', 'name', 'durable', 'auto_delete', 'exclusive', 'arguments')),
      ...(await fleet.ctl('list_exchanges', 'name', 'type', 'durable', 'auto_delete', 'internal', 'arguments')),
      ...(await fleet.ctl('list_bindings', 'source_name', 'destination_name', 'destination_kind', 'routing_key', 'arguments')),
    ]
    const of = (queue: string): string[] =>
      lines.filter((line) => line.includes(queue)).map((line) => line.replaceAll(queue, 'it').replaceAll(/\s+/g, ' '))
    expect(of(queues.node)).toEqual(of(queues.python))
    expect(of(queues.node).length).toBeGreaterThanOrEqual(3)
    expect(of(queues.node)[0]).toContain('x-max-priority')
  })

  test.each(['python', 'node'] as const)(
    'arguments of every kind are the same to the server, whoever declares first: %s',
    async (first) => {
      const all = {
        limits: {
          'x-max-priority': 5,
          'x-message-ttl': 3_600_000,
          'x-expires': 7_200_000,
          'x-max-length': 1_000,
          'x-max-length-bytes': 2 ** 40,
        },
        quorum: { 'x-queue-type': 'quorum', 'x-delivery-limit': 50, 'x-overflow': 'reject-publish', 'x-single-active-consumer': true },
        dead: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'node', 'x-queue-mode': 'lazy' },
      }
      for (const [kind, given] of Object.entries(all)) {
        const [name, exchange] = [fresh(kind), fresh('exchange')]
        await using app = fleet.another({ taskQueues: [{ name, exchange, exchangeType: 'topic', routingKey: 'a.#', arguments: given }] })
        const byNode = () => app.sendTask('interop.where', {}, { queue: name })
        const byPython = () => fleet.client.ask('bind', { queue: name, exchange, type: 'topic', routing_key: 'a.#', arguments: given })
        for (const declare of first === 'node' ? [byNode, byPython] : [byPython, byNode]) await declare()
        expect(await fleet.waiting(name)).toBe(1)
      }
    },
  )

  test('a queue that Python declared otherwise is named, with the argument and both values', async () => {
    const queue = fresh('otherwise')
    await fleet.client.ask('bind', { queue, exchange: queue, type: 'direct', routing_key: queue, arguments: { 'x-max-priority': 3 } })
    const sent = fleet.app.sendTask('interop.where', {}, { queue })
    await expect(sent).rejects.toMatchObject({ code: 'ERR_DECLARATION_MISMATCH', kind: 'queue', entity: queue })
    await expect(sent).rejects.toThrow(/x-max-priority: 3 .*x-max-priority: 10/)
    // And the client goes on.
    expect(await fleet.callers.node.end(await fleet.callers.node.call('interop.where', [], {}, { queue: 'node' }))).toEqual({
      value: 'node',
    })
  })

  test.each(['node', 'python'] as const)('the highest priority is served first, by both kinds of worker: %s', async (to) => {
    const [queue, name] = [fresh('priority'), fresh('order')]
    const given = [0, 3, 9, 1, 8, 6]
    for (const [index, priority] of given.entries()) {
      await fleet.caller(index % 2 === 0 ? 'node' : 'python').call('interop.note', [priority, name], {}, { queue, priority })
    }
    if (to === 'node') await fleet.startNode([queue])
    else await fleet.client.ask('add_consumer', { queue, destination: [`python0@${hostname()}`] })
    expect(await fleet.listed(`note:${name}`, given.length)).toEqual(['9', '8', '6', '3', '1', '0'])
  })

  test('a task that came as a dead letter can be retried: RabbitMQ takes no message for one on a round trip', async () => {
    const [dying, id] = [fresh('dying'), randomUUID()]
    const channel = await (await fleet.looking()).createChannel()
    const toNode = { 'x-message-ttl': 50, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'node' }
    await channel.assertQueue(dying, { durable: true, arguments: toNode })
    channel.sendToQueue(dying, Buffer.from('[[2], {}, {}]'), {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      correlationId: id,
      headers: { lang: 'js', task: 'interop.flaky', id },
    })
    expect(await fleet.callers.node.end(id)).toEqual({ value: { retries: 2, headers: {}, id, parent: id } })
    await channel.deleteQueue(dying)
    await channel.close()
  })

  test('what a killed Node worker held runs at a Python worker, as redelivered', async () => {
    const { python } = fleet.callers
    const [queue, gate] = [fresh('killed'), fresh('gate')]
    const worker = await fleet.startNode([queue])
    await python.call('interop.gate', [gate], {}, { queue })
    await fleet.atGate(gate)
    const id = await python.call('interop.request', [], {}, { queue, headers: { tenant: 'acme' } })
    await until(async () => (await fleet.waiting(queue)) === 0, 'the Node worker holds both')
    worker.signal('SIGKILL')
    await fleet.client.ask('add_consumer', { queue, destination: [`python0@${hostname()}`] })
    await fleet.open(gate)
    await fleet.open(gate)
    expect((await python.end(id)).value).toMatchObject({ id, redelivered: true, headers: { tenant: 'acme' }, queue })
  })

  test('what a killed Python worker held runs at a Node worker, as redelivered', async () => {
    const { python } = fleet.callers
    const [queue, gate] = [fresh('killed'), fresh('gate')]
    const worker = await fleet.startPython([queue])
    await python.call('interop.gate', [gate], {}, { queue })
    await fleet.atGate(gate)
    const id = await python.call('interop.request', [], {}, { queue, headers: { tenant: 'acme' } })
    await until(async () => (await fleet.waiting(queue)) === 0, 'the Python worker holds both')
    await worker.kill()
    await fleet.startNode([queue])
    expect((await python.end(id)).value).toMatchObject({ id, redelivered: true, headers: { tenant: 'acme' }, queue })
  })

  test('a Node worker that stops gives back what it holds, and a Python worker runs it', async () => {
    const { python } = fleet.callers
    const [queue, gate] = [fresh('handed'), fresh('gate')]
    const worker = await fleet.startNode([queue])
    await python.call('interop.gate', [gate], {}, { queue })
    await fleet.atGate(gate)
    const id = await python.call('interop.request', [], {}, { queue, headers: { tenant: 'acme' } })
    await until(async () => (await fleet.waiting(queue)) === 0, 'the Node worker holds both')
    const ended = worker.end('SIGTERM', 20_000)
    await until(async () => (await fleet.waiting(queue)) === 1, 'it gives the second back')
    await fleet.open(gate)
    await ended
    await fleet.client.ask('add_consumer', { queue, destination: [`python0@${hostname()}`] })
    expect((await python.end(id)).value).toMatchObject({ id, headers: { tenant: 'acme' }, queue })
  })

  test.each([
    ['topic', 'a.*', ['a.b'], ['a', 'b.a']],
    ['topic', 'a.#', ['a', 'a.b', 'a.b.c'], ['b.a']],
    ['fanout', '', ['anything'], []],
    ['direct', 'a.b', ['a.b'], ['a', 'a.b.c']],
  ] as const)('a %s exchange with %s: who declared it and who publishes may be of either language', async (type, key, fit, others) => {
    const [exchange, queueOfPython, queueOfNode] = [fresh('exchange'), fresh('queue'), fresh('queue')]
    const { client } = fleet
    await client.ask('bind', { queue: queueOfPython, exchange, type, routing_key: key })
    await using app = fleet.another({
      taskQueues: [{ name: queueOfNode, exchange, exchangeType: type, ...(key === '' ? {} : { routingKey: key }) }],
      taskCreateMissingQueues: false,
    })
    for (const routingKey of [...fit, ...others]) {
      await app.sendTask('interop.where', {}, { exchange, routingKey }).catch(() => undefined)
      await client.ask('publish_to', { task: 'interop.where', exchange, type, routing_key: routingKey })
    }
    const expected = fit.flatMap((routingKey) => [`py ${routingKey}`, `js ${routingKey}`])
    for (const queue of [queueOfPython, queueOfNode]) {
      const got: string[] = []
      while (got.length < expected.length) {
        const { fields, properties } = await taken(queue)
        got.push(`${properties.headers?.lang} ${fields.routingKey}`)
      }
      expect(new Set(got)).toEqual(new Set(expected))
      expect(await fleet.waiting(queue)).toBe(0)
    }
  })
})

/** The paths at which two values are not the same. */
function differences(a: unknown, b: unknown, path = ''): string[] {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return Object.is(a, b) ? [] : [path]
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].flatMap((key) => differences(a[key], b[key], path === '' ? key : `${path}.${key}`))
}
