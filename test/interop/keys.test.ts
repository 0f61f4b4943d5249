/** What is in Redis after a call, a run and a result: the same, whichever language did it, but for the values that must differ. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { decodeJson } from '../../dist/serializers/json.js'
import { until } from '../conformance/wait.js'
import type { Options } from './caller.js'
import { Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'

const sep = '\x06\x16'

describe.skipIf(skipped)(title('keys'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    // With late acks a Python worker's message is in `unacked` while it runs, as ours is.
    fleet = await Fleet.start({ python: ['python'], node: ['node'], pythonConfig: { task_acks_late: true } })
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  /** Every key whose name has this text, with its type, its time to live and what is in it. */
  const dump = async (text: string): Promise<Record<string, unknown>> => {
    const { redis } = fleet
    const keys = (await redis.keys('*')).filter((key) => key.includes(text)).sort()
    const entries = keys.map(async (key) => {
      const type = await redis.type(key)
      const content =
        type === 'list'
          ? (await redis.lrange(key, 0, -1)).map(envelope)
          : type === 'set'
            ? (await redis.smembers(key)).sort()
            : type === 'string'
              ? decodeJson((await redis.get(key)) ?? '')
              : `a ${type}`
      return [key, { type, ttl: await redis.ttl(key), content }] as const
    })
    return Object.fromEntries(await Promise.all(entries))
  }

  describe.each<[string, readonly unknown[], Options, readonly string[]]>([
    ['a plain call', [2, 3], {}, []],
    ['a countdown', [2, 3], { countdown: 60 }, ['headers.eta']],
    ['an eta', [2, 3], { eta: new Date(Date.UTC(2040, 0, 2, 3, 4, 5, 678)) }, []],
    // Both count from now: the one in microseconds, the other in milliseconds.
    ['an expiry', [2, 3], { expires: new Date(Date.UTC(2040, 0, 2, 3, 4, 5, 678)) }, ['properties.expiration']],
    ['a priority', [2, 3], { priority: 5 }, []],
    ['time limits', [2, 3], { timeLimit: 20, softTimeLimit: 10 }, []],
    ['headers and a shadow', [2, 3], { headers: { tenant: 'acme' }, shadow: 'shown' }, []],
    ['an ignored result', [2, 3], { ignoreResult: true }, []],
    ['text, lists and objects', ["it's", 'é', [1, 2.5, null, true, { a: [] }], {}], {}, []],
    ['msgpack', [2, 'é'], { serializer: 'msgpack' }, []],
    ['YAML', [2, 'é', { b: [1], a: null }], { serializer: 'yaml' }, []],
    ['links', [2, 3], { link: [{ task: 'interop.note', args: ['x'], options: { queue: 'q', task_id: 'next' } }] }, []],
  ])('%s', (_, args, options, alsoDiffers) => {
    test('a Python and a Node publish leave the same keys; ours differ where they must', async () => {
      const [taskId, queue] = [randomUUID(), fresh('dump')]
      const dumps: Record<string, unknown>[] = []
      for (const caller of [fleet.callers.python, fleet.callers.node]) {
        await caller.call('interop.add', args, {}, { ...options, taskId, queue })
        dumps.push(await dump(queue))
        for (const key of await fleet.redis.keys(`*${queue}*`)) await fleet.redis.del(key)
      }
      const [python, node] = dumps
      const list = options.priority === undefined ? queue : `${queue}${sep}3`
      const differing = differences(python, node).map((path) => path.replace(`${list}.content.0.`, ''))
      const mustDiffer = ['headers.lang', 'headers.origin', 'properties.delivery_tag', 'properties.reply_to', ...alsoDiffers]
      // kombu before 5.7 has no such set, and does not look at ours.
      const permanent = `_kombu.binding_permanent.${queue}`
      if (python !== undefined && !Object.hasOwn(python, permanent)) mustDiffer.push(permanent)
      // Ours is null: the worker's task decides. Python before 5.7 says false for tasks that it does not know.
      if (JSON.stringify(python).includes('"ignore_result":false')) mustDiffer.push('headers.ignore_result')
      expect(differing.sort()).toEqual(mustDiffer.sort())
      // Queues never end by themselves.
      expect(Object.values(node ?? {}).map((key) => (key as { ttl: number }).ttl)).not.toContainEqual(
        expect.not.toSatisfy((ttl) => ttl === -1),
      )
    })
  })

  test('every message has a delivery tag of its own', async () => {
    const queue = fresh('tags')
    await Promise.all(Array.from({ length: 200 }, () => fleet.callers.node.call('interop.where', [], {}, { queue })))
    const tags = (await fleet.redis.lrange(queue, 0, -1)).map((text) => JSON.parse(text).properties.delivery_tag)
    expect(new Set(tags).size).toBe(200)
    await fleet.app.control.purge(queue)
  })

  test.each(['interop.add', 'interop.fail'])(
    'the result of %s is the same key and broadcast, from a Python and a Node worker',
    async (task) => {
      const seen = []
      const subscriber = fleet.redis.duplicate()
      try {
        for (const queue of ['python', 'node']) {
          const taskId = randomUUID()
          const key = `celery-task-meta-${taskId}`
          const told: string[] = []
          subscriber.on('message', (channel, text) => void (channel === key && told.push(text)))
          await subscriber.subscribe(key)
          const { python } = fleet.callers
          await python.call(task, task === 'interop.add' ? [2, 3] : [queue === 'python' ? 'value' : 'range'], {}, { queue, taskId })
          await python.end(taskId)
          await until(() => told.length > 0, 'the broadcast of the result')
          const text = await fleet.redis.get(key)
          expect(told).toEqual([text])
          const meta = JSON.parse(text ?? '')
          expect(meta.date_done).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/)
          const ttl = await fleet.redis.ttl(key)
          expect(ttl).toBeGreaterThan(86_390)
          expect(ttl).toBeLessThanOrEqual(86_400)
          const error = task === 'interop.fail' ? { traceback: typeof meta.traceback, result: { ...meta.result, exc_message: [] } } : {}
          seen.push({ keys: Object.keys(meta), meta: { ...meta, ...error, date_done: 'then', task_id: meta.task_id === taskId } })
        }
        expect(seen[1]).toEqual(seen[0])
      } finally {
        subscriber.disconnect()
      }
    },
  )

  test('while a task runs its message is in `unacked`, as Python keeps it; afterwards nothing is left', async () => {
    const seen = []
    for (const queue of ['python', 'node'] as const) {
      const gate = fresh('gate')
      const id = await fleet.callers.python.call('interop.gate', [gate], {}, { queue })
      await fleet.atGate(gate)
      const held = await fleet.redis.hgetall('unacked')
      const [entry] = Object.values(held).filter((text) => text.includes(id))
      const [message, exchange, routingKey] = JSON.parse(entry ?? '[]')
      seen.push({ keys: Object.keys(message).sort(), exchange, isOfQueue: routingKey === queue, body: message.body.length })
      expect(Object.keys(held).sort()).toEqual((await fleet.redis.zrange('unacked_index', '0', '-1')).sort())
      await fleet.open(gate)
      await fleet.callers.python.end(id)
      await fleet.allAcked()
    }
    expect(seen[1]).toEqual(seen[0])
  })

  test.each([
    ['direct', 'a.b', ['a.b'], ['a', 'a.b.c']],
    ['topic', 'a.*', ['a.b'], ['a', 'b.a']],
    ['topic', 'a.#', ['a.b', 'a.b.c'], ['b.a']],
    ['topic', '*.b-c', ['a.b-c'], ['a.b_c', 'b-c']],
  ] as const)('a %s exchange with %s: who declared it and who publishes may be of either language', async (type, key, fit, others) => {
    const [exchange, queueOfPython, queueOfNode] = [fresh('exchange'), fresh('queue'), fresh('queue')]
    const { client } = fleet
    await client.ask('bind', { queue: queueOfPython, exchange, type, routing_key: key })
    await using app = fleet.another({
      taskQueues: [{ name: queueOfNode, exchange, exchangeType: type, routingKey: key }],
      taskCreateMissingQueues: false,
    })
    for (const routingKey of [...fit, ...others]) {
      await app.sendTask('interop.where', {}, { exchange, routingKey }).catch(() => undefined)
      await client.ask('publish_to', { task: 'interop.where', exchange, type, routing_key: routingKey })
    }
    const keysOf = async (queue: string): Promise<unknown[]> =>
      (await fleet.redis.lrange(queue, 0, -1)).map((text) => {
        const { headers, properties } = JSON.parse(text)
        return [headers.lang, properties.delivery_info.routing_key]
      })
    const expected = fit.flatMap((routingKey) => [
      ['py', routingKey],
      ['js', routingKey],
    ])
    expect(new Set(await keysOf(queueOfPython))).toEqual(new Set(expected))
    expect(new Set(await keysOf(queueOfNode))).toEqual(new Set(expected))
  })
})

/** An envelope with what is inside its body, which is base64. JSON and YAML may be written with other spaces and quotes, msgpack is the same bytes. */
function envelope(text: string): unknown {
  const { body, ...rest } = JSON.parse(text)
  const bytes = Buffer.from(body, 'base64')
  return { ...rest, body: rest['content-type'] === 'application/x-msgpack' ? body : parse(bytes.toString()) }
}

/** The paths at which two values are not the same. */
function differences(a: unknown, b: unknown, path = ''): string[] {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return Object.is(a, b) ? [] : [path]
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].flatMap((key) => differences(a[key], b[key], path === '' ? key : `${path}.${key}`))
}
