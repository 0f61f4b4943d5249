import { randomUUID } from 'node:crypto'
import type { ChannelModel } from 'amqplib'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { ChordCounters, GroupStorage, ResultBackend } from '../../dist/backend.js'
import { brokersOfRpc } from '../../dist/backends/rpc/brokers.js'
import { readRpcOptions } from '../../dist/backends/rpc/option-table.js'
import { RpcBackend } from '../../dist/backends/rpc.js'
import { Celeriac } from '../../dist/index.js'
import { type Clock, systemClock } from '../../dist/internal/clock.js'
import { startRabbit } from '../../scripts/services.mjs'
import { meta, testBackend } from '../conformance/backend.js'
import { until, within } from '../conformance/wait.js'
import { FaultProxy } from '../harness/fault-proxy.js'
import { lookInto, type VirtualHost, virtualHost, withoutRabbit } from '../rabbit.js'

const skipped = withoutRabbit()

const connections: ChannelModel[] = []
afterEach(async () => {
  // One whose server was stopped is closed already.
  await Promise.all(connections.splice(0).map((each) => each.close().catch(() => undefined)))
})

/** Closed after the test. */
async function connected(url: string): Promise<ChannelModel> {
  const connection = await lookInto(url)
  connections.push(connection)
  return connection
}

interface Settings {
  readonly persistent?: boolean
  readonly clock?: Clock
  readonly options?: Readonly<Record<string, unknown>>
}

function rpc(url: string, { persistent = false, clock = systemClock, options = {} }: Settings = {}): RpcBackend {
  const { maxReplies, ...link } = readRpcOptions(options, {})
  return new RpcBackend(brokersOfRpc('rpc://', [url], link), { maxReplies, persistent, replyTo: randomUUID() }, { clock })
}

function noChords(own: RpcBackend): ChordCounters & GroupStorage {
  return {
    startChord: () => own.startChord(),
    growChord: () => own.growChord(),
    completeChordPart: () => own.completeChordPart(),
    chordBody: () => own.chordBody(),
    endChord: () => own.endChord(),
    saveGroup: () => own.saveGroup(),
    group: () => own.group(),
    forgetGroup: () => own.forgetGroup(),
  }
}

/** As a worker stores what this caller asked for. */
const askedBy = ({ inbox }: RpcBackend, taskId: string) => ({ expiresSeconds: 60, replyTo: inbox.name, correlationId: taskId })

describe.skipIf(skipped)(`rpc${skipped === false ? '' : ` (skipped: ${skipped})`}`, () => {
  let host: VirtualHost
  beforeAll(async () => {
    host = await virtualHost()
  })
  const opened: { close(): Promise<void> }[] = []
  const open = (settings?: Settings, url = host.url): RpcBackend => {
    const backend = rpc(url, settings)
    opened.push(backend)
    return backend
  }
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((each) => each.close()))
  })

  testBackend({
    name: 'rpc',
    gaps: {
      'the first terminal state wins, whatever comes after':
        'a worker does not know what another has sent; who asked takes the first (below)',
      'of many that race for the end of one task, exactly one wins': 'as above',
      'revoked tasks are remembered until they expire': 'nothing is kept at a server',
      'what was being stored at the close is stored': 'results come to the backend that asked, which is closed',
    },
    // The first backend asks, and all of them answer it: each stores as a worker does, and reads what came to the first.
    async open(clock) {
      const asking = rpc(host.url, { clock })
      await asking.inbox.open()
      let first = true
      return {
        async backend(): Promise<ResultBackend> {
          const own = first ? asking : rpc(host.url, { clock })
          first = false
          return {
            ...noChords(own),
            name: own.name,
            supports: own.supports,
            async store(stored, options) {
              const sent = await own.store(stored, { ...options, replyTo: asking.inbox.name, correlationId: stored.taskId })
              // It has come, too: before the clock of the test moves. Who asked may have closed.
              await asking.get(stored.taskId).catch(() => undefined)
              return sent
            },
            get: (id) => asking.get(id),
            getMany: (ids) => asking.getMany(ids),
            wait: (ids, options) => asking.wait(ids, options),
            forget: (ids) => asking.forget(ids),
            revoke: () => own.revoke(),
            revoked: () => own.revoked(),
            cleanup: (options) => asking.cleanup(options),
            close: () => own.close(),
          }
        },
        dispose: () => asking.close(),
      }
    },
  })

  test('the first end of a task that comes counts, whatever comes after', async () => {
    const [asking, one, other] = [open(), open(), open()]
    await asking.inbox.open()
    await one.store(meta('a', 'FAILURE'), askedBy(asking, 'a'))
    await other.store(meta('a', 'SUCCESS'), askedBy(asking, 'a'))
    await other.store(meta('a', 'STARTED'), askedBy(asking, 'a'))
    expect((await asking.get('a'))?.status).toBe('FAILURE')
  })

  test('without reply_to nobody is told, and nothing is sent; a queue that is gone loses nothing else', async () => {
    const [asking, answering] = [open(), open()]
    await asking.inbox.open()
    expect(await answering.store(meta('a'), { expiresSeconds: null })).toBe(true)
    expect(await answering.store(meta('a'), { expiresSeconds: null, replyTo: '' })).toBe(true)
    expect(await answering.store(meta('a'), { expiresSeconds: null, replyTo: randomUUID() })).toBe(true)
    expect(await answering.store(meta('b'), askedBy(asking, 'b'))).toBe(true)
    expect([...(await asking.getMany(['a', 'b'])).keys()]).toEqual(['b'])
  })

  test.each([
    [false, 1],
    [true, 2],
  ])('with resultPersistent %s messages have the delivery mode %i, and the rest is as Celery has it', async (persistent, deliveryMode) => {
    const connection = await connected(host.url)
    const channel = await connection.createChannel()
    const { queue } = await channel.assertQueue('', { exclusive: true })
    await open({ persistent }).store(meta('a'), { expiresSeconds: 60, replyTo: queue, correlationId: 'asked' })
    const got = await channel.get(queue, { noAck: true })
    if (got === false) throw new Error('no reply')
    expect(got.properties).toMatchObject({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: {},
      deliveryMode,
      priority: 0,
      correlationId: 'asked',
      expiration: '60000',
    })
    expect(JSON.parse(got.content.toString())).toEqual({
      status: 'SUCCESS',
      result: null,
      traceback: null,
      children: [],
      date_done: null,
      task_id: 'a',
    })
  })

  test('a reply that cannot be read ends the wait for its task, and no other', async () => {
    const [asking, answering] = [open(), open()]
    await asking.inbox.open()
    const connection = await connected(host.url)
    const channel = await connection.createConfirmChannel()
    const stop = new AbortController()
    const ends = ['nonsense', 'msgpack', 'fine'].map(async (id) => {
      for await (const state of asking.wait([id], { signal: stop.signal })) expect(state.status).toBe('SUCCESS')
    })
    for (const end of ends) end.catch(() => undefined)
    const send = (correlationId: string, contentType: string): boolean =>
      channel.sendToQueue(asking.inbox.name, Buffer.from('{"no": '), { correlationId, contentType })
    send('nonsense', 'application/json')
    send('msgpack', 'application/x-msgpack')
    await answering.store(meta('fine'), askedBy(asking, 'fine'))
    await expect(within(ends[0] ?? Promise.resolve(), 'the wait')).rejects.toMatchObject({ code: 'ERR_DECODE' })
    await expect(within(ends[1] ?? Promise.resolve(), 'the wait')).rejects.toThrow(/application\/json.*"application\/x-msgpack"/)
    await within(ends[2] ?? Promise.reject(new Error('no wait')), 'the wait')
  })

  test('a process keeps so many replies; waiting for one that made room is refused in words', async () => {
    const [asking, answering] = [open({ options: { maxReplies: 2 } }), open()]
    await asking.inbox.open()
    for (const id of ['a', 'b', 'c']) await answering.store(meta(id), askedBy(asking, id))
    expect([...(await asking.getMany(['a', 'b', 'c'])).keys()]).toEqual(['b', 'c'])
    const wait = asking.wait(['a'], { signal: new AbortController().signal })[Symbol.asyncIterator]()
    await expect(wait.next()).rejects.toMatchObject({
      code: 'ERR_RESULT_ELSEWHERE',
      taskId: 'a',
      message: expect.stringContaining('maxReplies'),
    })
  })

  test('the queue of a process goes when its backend is closed', async () => {
    const asking = open()
    await asking.inbox.open()
    const { name } = asking.inbox
    await asking.close()
    const connection = await connected(host.url)
    const channel = await connection.createChannel()
    await expect(channel.checkQueue(name)).rejects.toThrow(/NOT_FOUND/)
  })

  test('replies that come while the connection is away are there when it is back, and none is lost that was being sent', async () => {
    await using proxy = await FaultProxy.to(Number(new URL(host.url).port))
    const [asking, answering] = [open({}, proxy.url(host.url)), open({}, proxy.url(host.url))]
    const direct = open()
    await asking.inbox.open()
    await answering.store(meta('first'), askedBy(asking, 'first'))
    await until(async () => (await asking.getMany(['first'])).size === 1, 'the first')
    const stop = AbortSignal.timeout(20_000)
    const seen: string[] = []
    const ended = (async () => {
      for await (const { taskId } of asking.wait(['away', 'sent'], { signal: stop })) seen.push(taskId)
    })()
    await proxy.shut()
    await direct.store(meta('away'), askedBy(asking, 'away'))
    const sent = answering.store(meta('sent'), askedBy(asking, 'sent'))
    await proxy.open()
    expect(await within(sent, 'the reply')).toBe(true)
    await within(ended, 'the wait')
    expect(seen.sort()).toEqual(['away', 'sent'])
  })

  test('a queue that is deleted ends the waits in words, and the next result comes', async () => {
    const [asking, answering] = [open(), open()]
    await asking.inbox.open()
    const wait = asking.wait(['a'], { signal: AbortSignal.timeout(20_000) })[Symbol.asyncIterator]()
    const lost = wait.next()
    lost.catch(() => undefined)
    const connection = await connected(host.url)
    const channel = await connection.createChannel()
    await channel.deleteQueue(asking.inbox.name)
    await expect(within(lost, 'the wait')).rejects.toThrow(/results are lost/)
    await asking.inbox.open()
    await answering.store(meta('b'), askedBy(asking, 'b'))
    expect((await asking.get('b'))?.status).toBe('SUCCESS')
  })

  test('rpc: goes through RabbitMQ only, and names no server', () => {
    expect(() => brokersOfRpc('rpc://', ['redis://localhost'], readRpcOptions({}, {}))).toThrow(/leave resultBackend out/)
    expect(() => brokersOfRpc('rpc://', ['sqlite://'], readRpcOptions({}, {}))).toThrow(/sqlite/)
    expect(() => brokersOfRpc('rpc://host', [host.url], readRpcOptions({}, {}))).toThrow(/"rpc:\/\/" and nothing more/)
  })

  test('a wait without a deadline for a task of somebody else is refused; with one it ends by it', async () => {
    await using app = new Celeriac('asking', { brokerUrl: host.url, resultBackend: 'rpc://' })
    await expect(app.result('somebody-elses').get()).rejects.toMatchObject({ code: 'ERR_RESULT_ELSEWHERE' })
    await expect(app.result('somebody-elses').get({ timeout: 0.1 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    expect(await app.result('somebody-elses').state()).toBe('PENDING')
  })
})

describe.skipIf(skipped)('rpc on a server that fails', () => {
  let node: Awaited<ReturnType<typeof startRabbit>>
  beforeAll(async () => {
    node = await startRabbit()
  })
  afterAll(() => node?.stop())

  test('a persistent reply outlives a restart of the broker, and who waits gets it', async () => {
    const [asking, answering] = [rpc(node.url), rpc(node.url, { persistent: true })]
    try {
      await asking.inbox.open()
      const wait = asking.wait(['later'], { signal: AbortSignal.timeout(80_000) })[Symbol.asyncIterator]()
      const came = wait.next()
      came.catch(() => undefined)
      // Nobody consumes while the asking process is away: the message has to lie there.
      const channel = await (await connected(node.url)).createChannel()
      const kept = `kept-${asking.inbox.name}`
      await channel.assertQueue(kept, { durable: true })
      await answering.store(meta('kept'), { expiresSeconds: 60, replyTo: kept, correlationId: 'kept' })
      // In order: what a killed node remembers of a queue that was just declared is for the server to say.
      await node.end()
      await node.restart()
      await until(() => answering.store(meta('later'), askedBy(asking, 'later')).catch(() => false), 'a reply is taken again', 30_000)
      expect((await within(came, 'the wait', 30_000)).value).toMatchObject({ taskId: 'later' })
      const got = await (await (await connected(node.url)).createChannel()).get(kept, { noAck: true })
      expect(got === false ? undefined : got.properties.correlationId).toBe('kept')
    } finally {
      await Promise.all([asking.close(), answering.close()])
    }
  })
})
