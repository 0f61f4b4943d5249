/**
 * The traps of Celery's wire: each has made some other implementation lose, repeat or misread tasks. The table says where each is tested (but for 33, of result
 * backends that are not here); those that need both languages on one Redis, and no test of another file walks into, are tested here.
 */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeJson, encodeJson } from '../../dist/serializers/json.js'
import { until } from '../conformance/wait.js'
import { Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'

type Trap = readonly [says: string, ...where: readonly (readonly [file: string, test: string])[]]

const traps: Readonly<Record<string, Trap>> = {
  'message 1': [
    'id, embed, delivery_info, delivery_tag or content-type missing: a Python worker dies',
    ['interop/keys.test.ts', 'a Python and a Node publish leave the same keys; ours differ where they must'],
    ['protocol/task-message.test.ts', 'a plain call has the headers that Python writes, in the same order'],
  ],
  'message 2': [
    'timelimit is [hard, soft], whatever the documentation says',
    ['interop/traps.test.ts', 'a soft limit ends the task before its hard limit'],
    ['wire/both-ways.test.ts', 'a Python worker reads our messages as we meant them'],
  ],
  'message 3': [
    'gzip is a zlib stream',
    ['serializers/serializers.test.ts', 'gzip is a zlib stream, as Python has it; a gzip file is refused'],
    ['interop/call-rows.ts', 'a body compressed with %s, of text and of bytes'],
  ],
  'message 4': [
    'ignore_result: false stores results of tasks that want none',
    ['interop/call-rows.ts', 'a task that ignores its result itself stores none'],
  ],
  'message 5': [
    'expiration is text, whole milliseconds',
    ['protocol/task-message.test.ts', 'an expiration is whole milliseconds as text, and never below 0'],
    ['interop/keys.test.ts', "['an expiry'"],
  ],
  'message 6': [
    'JSON.parse changes big integers and refuses NaN, JSON.stringify makes null of it',
    ['interop/traps.test.ts', 'headers of Python types reach a Node task as values, and the next run as they were'],
    ['interop/error-rows.ts', 'integers beyond 2^53, NaN and Infinity of a Python result are what they are'],
    ['interop/error-rows.ts', 'a Node task that gets them from Python gives them back, or fails: it never changes them'],
    ['serializers/json.test.ts', 'NaN, Infinity and integers of any size are read from a recorded message'],
  ],
  'message 7': [
    'kombu tags are values, not objects',
    ['interop/traps.test.ts', 'headers of Python types reach a Node task as values, and the next run as they were'],
    ['interop/traps.test.ts', 'a time that Python put into the options of a link is kept by the Node worker that sends it'],
    ['interop/call-rows.ts', '%s arrives and comes back as it was'],
    ['serializers/json.test.ts', 'the types of a recorded message become JavaScript values'],
  ],
  'message 8': ['a uuid is {"hex": …}', ['serializers/json.test.ts', 'the types of a recorded message become JavaScript values']],
  'message 9': [
    'eta and expires are ISO 8601; a naive one is UTC',
    ['protocol/task-head.test.ts', 'a naive eta is UTC, an offset is obeyed'],
    ['interop/traps.test.ts', 'a naive eta of a Python client is UTC'],
    ['interop/call-rows.ts', 'countdown: the task does not run before, and runs then'],
  ],
  'message 13': [
    'on Redis the lowest priority is first',
    ['interop/traps.test.ts', 'on Redis priority 0 is served first, by both kinds of worker'],
  ],
  'message 10': [
    'an AMQP body is not base64',
    ['interop/rabbit-traps.test.ts', '%s is the same message from Python and from Node, but for what must differ'],
  ],
  'message 11': [
    'what the broker wrote about a death is not published again',
    ['interop/rabbit-traps.test.ts', 'a task that came as a dead letter can be retried'],
  ],
  'message 12': [
    'other arguments of a queue are refused, and the worker ends',
    ['interop/rabbit-traps.test.ts', 'a queue that Python declared otherwise is named, with the argument and both values'],
    ['interop/rabbit-traps.test.ts', 'both declare the same queue, exchange and binding'],
  ],
  'message 13 on RabbitMQ': [
    'the highest priority is first',
    ['interop/rabbit-traps.test.ts', 'the highest priority is served first, by both kinds of worker'],
  ],
  'canvas 14': [
    'the next step of a chain is the last of its list, and goes with it',
    ['protocol/task-body.test.ts', 'the rest of a recorded chain is in reverse order: the next task is the last'],
    ['canvas/planner.test.ts', 'as Python: %s'],
    ['interop/canvas-rows.ts', "test('chain'"],
  ],
  'canvas 15': [
    'groups, chains and chords say what they are',
    ['canvas/signature.test.ts', 'chains, groups and chords are written as Celery writes them, upgraded at once'],
  ],
  'canvas 16': [
    'what comes from before stands first, and immutable tasks get none of it',
    ['canvas/planner.test.ts', 'as Python: %s'],
    ['interop/canvas-rows.ts', "test('chain with an immutable step, and chains in it'"],
  ],
  'canvas 17': [
    'a failure ends all that would have followed',
    ['worker/canvas.test.ts', 'a failure ends every task that would have followed it in its chain, with its error'],
    ['interop/canvas-rows.ts', 'a failure in a chain ends it: its last result is that failure, and the errback is told once'],
  ],
  'canvas 18': [
    'a header counts, however it ends',
    ['worker/canvas-ends.test.ts', 'a header that %s fails its chord'],
    ['worker/canvas-ends.test.ts', 'ignored results are no reason to wait: the body gets them'],
    ['interop/canvas-rows.ts', 'revoked member: the body fails with ChordError'],
  ],
  'canvas 19': [
    'the size of a chord is known before its last header is sent',
    ['canvas/planner.test.ts', 'the size of each chord of a workflow is told before any of its header is sent'],
  ],
  'canvas 20': [
    'headers are numbered',
    ['canvas/planner.test.ts', 'as Python: %s'],
    ['worker/canvas.test.ts', 'the body of a chord gets the results in the order of its headers'],
  ],
  'canvas 21': ['groups within the header of a chord are turned round', ['canvas/planner.test.ts', 'as Python: %s']],
  'canvas 22': [
    'a task that is replaced has no result yet',
    [
      'worker/canvas-replace.test.ts',
      'whatever takes the place of a task, or is added to a chord, its result is what a plain evaluation gives',
    ],
    ['interop/canvas-rows.ts', 'replace by a task, a chain, a group and a chord, in a chain'],
  ],
  'canvas 25': ['what follows a chord in a chain follows its body', ['canvas/planner.test.ts', 'as Python: %s']],
  'callbacks 23': [
    'a callback that has an id keeps it',
    ['interop/error-rows.ts', 'a link gets the result, before its own arguments; its id is the one the client gave it'],
  ],
  'callbacks 24': [
    'null options are none',
    ['protocol/signature.test.ts', 'keys that Python leaves out or writes as null are absent, also among the options'],
  ],
  'callbacks 26': [
    'a result that is a list is one argument',
    ['interop/error-rows.ts', 'a result that is a list is one argument; an immutable link gets none'],
  ],
  'results 27': [
    'a result without its broadcast is never noticed',
    ['interop/keys.test.ts', 'the result of %s is the same key and broadcast, from a Python and a Node worker'],
    ['interop/traps.test.ts', 'who waits before the task runs is told at once'],
  ],
  'results 28': ['task_id is in the meta', ['protocol/result.test.ts', 'is read, and written again as Python wrote it']],
  'results 29': [
    'children are result tuples',
    ['protocol/result.test.ts', 'children of a recorded group member are result tuples'],
    ['interop/error-rows.ts', 'a link gets the result, before its own arguments; its id is the one the client gave it'],
  ],
  'results 30': ['a failure is its three keys', ['protocol/remote-error.test.ts', 'an error on the wire has the three keys of Python']],
  'results 31': ['SUCCESS stays', ['interop/traps.test.ts', 'a stored SUCCESS stays, whichever language comes too late']],
  'results 32': [
    'exc_message is the arguments',
    ['interop/error-rows.ts', 'a Python exception, at a Node client'],
    ['interop/error-rows.ts', 'a Node error, at a Python client'],
  ],
  'redis 34': ['LPUSH and RPOP: first in, first out', ['interop/traps.test.ts', 'first in, first out, from either language to the other']],
  'redis 35': ['the separator is two control characters', ['interop/keys.test.ts', "['a priority'"]],
  'redis 36': [
    'unacked and unacked_index, written and removed',
    ['interop/keys.test.ts', 'while a task runs its message is in `unacked`, as Python keeps it; afterwards nothing is left'],
  ],
  'redis 37': ['a delivery tag is used once', ['interop/keys.test.ts', 'every message has a delivery tag of its own']],
  'redis 38': ['a shorter visibility timeout steals running tasks', ['interop/visibility.test.ts', 'our task of 10 s runs once']],
  'redis 39': [
    'eta beyond the visibility timeout',
    ['interop/visibility.test.ts', 'our task that waits for its eta beside it runs once, at its time'],
  ],
  'redis 40': [
    'exchange types are known to each process only',
    ['interop/keys.test.ts', 'who declared it and who publishes may be of either language'],
  ],
  'redis 41': ['fan-out channels', ['interop/control-rows.ts', '%s client, %s worker: revoke']],
  'redis 42': [
    'fan-out channels have the number of the database',
    ['interop/traps.test.ts', 'a broadcast on another database is not heard'],
  ],
  'redis 43': ['queues have no time to live', ['interop/keys.test.ts', 'Queues never end by themselves']],
  'redis 44': [
    'answers for those who have left are not kept',
    ['interop/control-rows.ts', 'answers to commands that nobody knows, and to those who do not wait, leave nothing behind'],
  ],
  'redis 45': [
    'what is revoked is told in a way that Python reads',
    ['interop/event-rows.ts', 'a worker that starts learns from the others what is revoked, across the languages'],
  ],
  'control 46': [
    'the pidbox exchange is the same for all',
    ['protocol/mailbox.test.ts', 'a broadcast has the body and headers that kombu writes'],
    // On RabbitMQ, which refuses an exchange that is declared otherwise.
    ['interop/rabbit-events.test.ts', 'testEvents('],
    ['interop/rabbit-control.test.ts', 'testControl('],
  ],
  'control 47': [
    'a command to another worker is not ours',
    ['interop/control-rows.ts', 'a revoke that is addressed to another worker is not ours'],
  ],
  'control 48': ['every command is answered', ['interop/inspect.test.ts', 'what nobody knows is answered, and not waited for']],
  'events 49': ['an event has its clock and its host', ['interop/event-rows.ts', '%s %j: the same events with the same fields']],
  'events 50': ['west of UTC is above 0', ['protocol/events.test.ts', 'the offset of this machine is whole hours west of UTC']],
  'events 51': [
    'several events may come as one',
    ['protocol/events.test.ts', 'one event is an object, several are an array, and both are read back'],
  ],
  'events 52': ['arguments and results are texts', ['interop/event-rows.ts', 'the texts of an event are those that Python shows']],
  'events 53': [
    'a heart beats as often as it says',
    ['events/cluster-state.test.ts', 'a worker is alive while its heartbeats come, for twice their interval'],
    ['interop/event-rows.ts', 'Celery State has the Node worker alive, and its tasks as they ended'],
  ],
  'events 54': [
    'whoever sends heartbeats takes part in elections',
    ['interop/event-rows.ts', 'a Python worker that is alone with a Node worker survives elections, and each is won by one'],
  ],
  'worker 55': ['the clock of stats is text', ['interop/inspect.test.ts', '%s has the shape of a Python answer']],
  'worker 56': ['early acks are before the run', ['worker/worker.test.ts', 'with celeryDefaults a message is acked before its task runs']],
  'worker 57': [
    'a retried task is its own parent',
    ['interop/call-rows.ts', 'a task is retried under its id, with its headers, until it succeeds'],
  ],
  'worker 61': [
    'redelivered is no custom header',
    ['interop/traps.test.ts', 'what a Python consumer gives back is redelivered, and its mark is no custom header'],
  ],
  'worker 58': [
    'delayed messages before any worker has declared where they wait',
    ['interop/rabbit-quorum.test.ts', 'a client that delays before any worker was there declares where it waits'],
  ],
  'worker 59': [
    'quorum queues refuse a limit for the whole channel',
    ['interop/rabbit-quorum.test.ts', 'prefetch is that of each consumer, also beside a classic queue'],
  ],
  'worker 62': [
    'RPC results need both sides',
    ['interop/rabbit-rpc.test.ts', 'a Python and a Node worker send the same replies, but for the values that must differ'],
  ],
  'beat 60': [
    'days of the week go from 0 to 6, and all fields must fit',
    ['beat/crontab-python.test.ts', 'random crontabs are due when they are in real Celery'],
  ],
  'protocol 1': ['old clients', ['interop/traps.test.ts', 'a message of protocol 1 from Python runs']],
}

test.each(
  Object.entries(traps).flatMap(([trap, [says, ...where]]) => where.map(([file, name]) => [`${trap}: ${says}`, file, name] as const)),
)('%s: %s has the test %j', (_, file, name) => {
  expect(readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')).toContain(name)
})

describe.skipIf(skipped)(title('traps'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({ python: ['python'], node: ['node'] })
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  const directions = [
    ['node', 'python'],
    ['python', 'node'],
    ['python', 'python'],
  ] as const

  test.each(directions)('%s client, %s worker: a soft limit ends the task before its hard limit', async (from, to) => {
    const client = fleet.caller(from)
    const id = await client.call('interop.sleep', [30], {}, { queue: to, timeLimit: 20, softTimeLimit: 0.3 })
    expect((await client.end(id)).error).toMatchObject({ type: 'SoftTimeLimitExceeded', module: 'billiard.exceptions', args: [] })
  })

  test.each(directions)('%s client, %s worker: a hard limit is that of the message', async (from, to) => {
    const client = fleet.caller(from)
    const id = await client.call('interop.sleep', [30], {}, { queue: to, timeLimit: 1 })
    expect((await client.end(id)).error).toMatchObject({ type: 'TimeLimitExceeded', module: 'billiard.exceptions', args: [1] })
    expect(await client.end(await client.call('interop.where', [], {}, { queue: to }))).toEqual({ value: to })
  })

  test.each(directions)('%s client, %s worker: first in, first out, from either language to the other', async (from, to) => {
    const client = fleet.caller(from)
    const [gate, name] = [fresh('gate'), fresh('order')]
    await client.call('interop.gate', [gate], {}, { queue: to })
    await fleet.atGate(gate)
    for (let value = 1; value <= 8; value++) await client.call('interop.note', [value, name], {}, { queue: to })
    await fleet.open(gate)
    expect(await fleet.listed(`note:${name}`, 8)).toEqual(['1', '2', '3', '4', '5', '6', '7', '8'])
  })

  test.each(['node', 'python'] as const)('on Redis priority 0 is served first, by both kinds of worker: %s', async (to) => {
    const [queue, name] = [fresh('priority'), fresh('order')]
    // Of both clients: a step of priority is one list for both.
    const given = [9, 6, 3, 0, 8, 1]
    for (const [index, priority] of given.entries()) {
      await fleet.caller(index % 2 === 0 ? 'node' : 'python').call('interop.note', [priority, name], {}, { queue, priority })
    }
    if (to === 'node') await fleet.startNode([queue])
    else await fleet.client.ask('add_consumer', { queue, destination: [`python0@${hostname()}`] })
    expect(await fleet.listed(`note:${name}`, given.length)).toEqual(['0', '1', '3', '6', '8', '9'])
  })

  test.each(directions)('%s client, %s worker: who waits before the task runs is told at once', async (from, to) => {
    const client = fleet.caller(from)
    const gate = fresh('gate')
    const id = await client.call('interop.gate', [gate], {}, { queue: to })
    const end = client.end(id).then((seen) => ({ seen, atMs: performance.now() }))
    await fleet.atGate(gate)
    await fleet.open(gate)
    const openedMs = performance.now()
    const { seen, atMs } = await end
    expect(seen).toEqual({ value: gate })
    // Milliseconds, and not the next time that somebody looks.
    expect(atMs - openedMs).toBeLessThan(8_000)
  })

  test('a stored SUCCESS stays, whichever language comes too late', async () => {
    const { python, node } = fleet.callers
    for (const queue of ['python', 'node']) {
      const id = await node.call('interop.where', [], {}, { queue })
      expect(await node.end(id)).toEqual({ value: queue })
      expect(await fleet.client.ask('store_over', { id, state: 'RETRY' })).toBe('SUCCESS')
      expect(await node.storeOver(id, 'RETRY')).toBe(false)
      expect(await node.storeOver(id, 'FAILURE')).toBe(false)
      expect(await python.end(id)).toEqual({ value: queue })
    }
  })

  test('a naive eta of a Python client is UTC', async () => {
    const naive = new Date(Date.now() + 1_000).toISOString().replace('Z', '000')
    const id = await fleet.client.ask<string>('send', {
      task: 'interop.where',
      args: '[]',
      kwargs: '{}',
      options: JSON.stringify({ queue: 'node', eta: { __type__: 'datetime', __value__: naive } }),
    })
    const fromMs = Date.now()
    expect(await fleet.callers.python.end(id)).toEqual({ value: 'node' })
    expect(Date.now() - fromMs).toBeGreaterThan(800)
    // An hour or more when it were taken for the time of another zone.
    expect(Date.now() - fromMs).toBeLessThan(25_000)
  })

  test('a time that Python put into the options of a link is kept by the Node worker that sends it', async () => {
    const { python } = fleet.callers
    const [late, never] = [fresh('late'), fresh('never')]
    const at = (ms: number): unknown => ({
      __type__: 'datetime',
      __value__: new Date(Date.now() + ms).toISOString().replace('Z', '000+00:00'),
    })
    const link = (id: string, options: Readonly<Record<string, unknown>>): unknown => ({
      task: 'interop.echo',
      options: { queue: 'python', task_id: id, ...options },
    })
    const fromMs = Date.now()
    await fleet.client.ask<string>('send', {
      task: 'interop.where',
      args: '[]',
      kwargs: '{}',
      options: JSON.stringify({ queue: 'node', link: [link(late, { eta: at(1_000) }), link(never, { expires: at(-1_000) })] }),
    })
    expect(await python.end(late)).toEqual({ value: 'node' })
    expect(Date.now() - fromMs).toBeGreaterThan(900)
    expect((await python.end(never)).error).toMatchObject({ type: 'TaskRevokedError', args: ['expired'] })
  })

  test('headers of Python types reach a Node task as values, and the next run as they were', async () => {
    const { python } = fleet.callers
    const own = { at: new Date(Date.UTC(2030, 0, 2, 3, 4, 5, 678)), raw: new Uint8Array([255, 0]), large: 2n ** 60n + 1n }
    const seen = await python.end(await python.call('interop.request', [], {}, { queue: 'node', headers: own }))
    expect(seen.value).toMatchObject({ headers: own })
    const [id, headers] = [fresh('headers'), encodeJson(own, 'headers').replace('{', '{"nan": NaN, "far": -Infinity, ')]
    const options = `{"queue": "node", "task_id": "${id}", "headers": ${headers}}`
    await fleet.client.ask('send', { task: 'interop.flaky', args: '[1, 60]', kwargs: '{}', options })
    // In nobody's hands, until its time.
    const again = async (): Promise<string | undefined> =>
      Object.entries(await fleet.redis.hgetall('unacked')).find(([name, text]) => name.startsWith('c:eta:') && text.includes(id))?.[1]
    await until(async () => (await again()) !== undefined, 'the message of the next run')
    const [message] = decodeJson((await again()) ?? '') as [{ headers: unknown }]
    expect(message.headers).toMatchObject({ retries: 1, ...own, nan: Number.NaN, far: Number.NEGATIVE_INFINITY })
    await fleet.app.control.purge('node')
  })

  test('a message of protocol 1 from Python runs', async () => {
    const id = await fleet.client.ask<string>('protocol_1', {
      task: 'interop.add',
      args: '[2]',
      kwargs: '{"b": 3}',
      options: '{"queue": "node"}',
    })
    expect(await fleet.callers.python.end(id)).toEqual({ value: 5 })
  })

  test('what a Python consumer gives back is redelivered, and its mark is no custom header', async () => {
    const { python } = fleet.callers
    const queue = fresh('back')
    const id = await python.call('interop.request', [], {}, { queue, headers: { tenant: 'acme' } })
    await fleet.client.ask('give_back', { queue })
    expect(JSON.parse((await fleet.redis.lindex(queue, 0)) ?? '').headers.redelivered).toBe(true)
    await fleet.startNode([queue])
    expect((await python.end(id)).value).toMatchObject({ id, redelivered: true, headers: { tenant: 'acme' }, queue })
  })

  test('a broadcast on another database is not heard', async () => {
    const { node } = fleet.callers
    const [gate, id] = [fresh('gate'), fresh('id')]
    const first = await node.call('interop.gate', [gate], {}, { queue: 'node' })
    await fleet.atGate(gate)
    await node.call('interop.where', [], {}, { queue: 'node', taskId: id })
    const elsewhere = fleet.url.replace(/0$/, '1')
    await using other = fleet.another({ brokerUrl: elsewhere, resultBackend: elsewhere })
    await other.control.revoke(id)
    await fleet.open(gate)
    expect(await node.end(first)).toEqual({ value: gate })
    expect(await node.end(id)).toEqual({ value: 'node' })
  })

  test('a Node worker that stops gives back what it holds; a Python worker runs it', async () => {
    const { python } = fleet.callers
    const [queue, gate] = [fresh('handed'), fresh('gate')]
    const worker = await fleet.startNode([queue])
    await python.call('interop.gate', [gate], {}, { queue })
    await fleet.atGate(gate)
    const id = await python.call('interop.request', [], {}, { queue, headers: { tenant: 'acme' } })
    await until(async () => (await fleet.redis.llen(queue)) === 0, 'the Node worker holds both')
    const ended = worker.end('SIGTERM')
    await until(async () => (await fleet.redis.llen(queue)) === 1, 'it gives the second back')
    await fleet.open(gate)
    await ended
    await fleet.client.ask('add_consumer', { queue, destination: [`python0@${hostname()}`] })
    expect((await python.end(id)).value).toMatchObject({ id, headers: { tenant: 'acme' }, queue })
    await fleet.allAcked()
  })
})
