/** Messages that wait at the broker, in the queues that Celery has for it: declared alike, and understood on both sides. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Celeriac } from '../../../dist/index.js'
import { systemClock } from '../../../dist/internal/clock.js'
import type { Connection } from '../../../dist/transport.js'
import { exchange, Inbox, idOf, message, queue, topology } from '../../conformance/transport.js'
import { until, within } from '../../conformance/wait.js'
import { python, withoutPython } from '../../python.js'
import { type VirtualHost, virtualHost, withoutRabbit } from '../../rabbit.js'
import { transportTo } from '../amqp-broker.js'

const script = fileURLToPath(new URL('delays_app.py', import.meta.url))
const quorum = { 'x-queue-type': 'quorum' }
const options = {
  taskQueues: [{ name: 'slow', exchange: 'shop', exchangeType: 'topic' as const, routingKey: 'shop.slow', arguments: quorum }],
  taskDefaultQueue: 'slow',
  taskDefaultExchange: 'shop',
  taskDefaultExchangeType: 'topic' as const,
  taskDefaultRoutingKey: 'shop.slow',
  workerPool: 'async' as const,
  workerLogLevel: 'fatal' as const,
}

/** What a virtual host has, but for the queues of single workers. */
async function entities(host: VirtualHost): Promise<readonly string[]> {
  const rows: string[] = []
  for (const [what, ...columns] of [
    ['list_exchanges', 'name', 'type', 'durable', 'auto_delete', 'arguments'],
    ['list_queues', 'name', 'durable', 'auto_delete', 'exclusive', 'arguments'],
    ['list_bindings', 'source_name', 'destination_name', 'destination_kind', 'routing_key', 'arguments'],
  ] as const) {
    const text = await host.ctl(what, '-p', host.name, '--no-table-headers', ...columns)
    rows.push(...text.split('\n').filter((row) => row !== '' && !/pidbox|celeryev|^amq\./.test(row)))
  }
  return rows.sort()
}

class Python {
  output = ''
  readonly #child
  constructor(url: string, ...args: readonly string[]) {
    this.#child = spawn(python(), [script, url, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
  }
  async says(text: string): Promise<void> {
    await until(() => this.output.includes(text), `Python says ${text}`, 60_000).catch((error) => {
      throw new Error(`${error}\n${this.output}`)
    })
  }
  async end(): Promise<void> {
    if (this.#child.exitCode === null) this.#child.kill('SIGTERM')
    if (this.#child.exitCode === null && this.#child.signalCode === null) await within(once(this.#child, 'exit'), 'its end', 20_000)
  }
}

describe.skipIf(withoutRabbit())('delays at RabbitMQ', () => {
  let host: VirtualHost
  const open: { close(): Promise<unknown> }[] = []

  beforeAll(async () => {
    host = await virtualHost()
  }, 120_000)
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close()
  })

  async function connect(more: Parameters<typeof transportTo>[2] = {}): Promise<Connection> {
    const connection = await transportTo(host.url, systemClock, more).connect({ signal: AbortSignal.timeout(10_000) })
    open.push(connection)
    return connection
  }

  test.skipIf(withoutPython())(
    'workers declare what Python workers declare, and each runs in time what the other has delayed',
    { timeout: 180_000 },
    async () => {
      const theirs = new Python(host.url, 'worker')
      open.push({ close: () => theirs.end() })
      await theirs.says('ready.')
      const expected = await entities(host)
      expect(expected.filter((row) => row.includes('celery_delayed_')).length).toBeGreaterThan(100)

      const own = await virtualHost()
      const app = new Celeriac('delays', { brokerUrl: own.url, resultBackend: 'disabled', ...options })
      const ran: string[] = []
      app.task('delays.note', (word: string) => void ran.push(word))
      const worker = await app.worker({ concurrency: 1 }).start()
      open.push({ close: () => worker.stop().then(() => app.close()) })
      expect(await entities(own)).toEqual(expected)

      // Theirs is on their own virtual host.
      const caller = new Celeriac('caller', { brokerUrl: host.url, resultBackend: 'disabled', ...options })
      open.push(caller)
      const from = performance.now()
      await caller.sendTask('delays.note', { args: ['node'] }, { countdown: 3 })
      await theirs.says('succeeded in')
      expect(performance.now() - from).toBeGreaterThan(2_900)
      expect(await entities(host)).toEqual(expected)

      const calling = new Python(own.url, 'call', '3')
      open.push({ close: () => calling.end() })
      await until(() => ran.includes('python'), 'the task of Python has run', 30_000)
    },
  )

  test('a message for a quorum queue on the default exchange waits at the broker, and comes as it was sent', async () => {
    const connection = await connect()
    await connection.declare(topology(queue('plain', { arguments: quorum })))
    const sent = message({ id: 'later' })
    const from = performance.now()
    await connection.publish(sent, { exchange: '', routingKey: 'plain' }, { deadlineMs: 20_000, notBefore: Date.now() + 2_500 })
    expect(await connection.size('plain')).toBe(0)
    const inbox = await Inbox.open(connection, { queues: ['plain'] })
    const delivery = await inbox.gone(0)
    // Whole seconds: what is left of the last one, the worker waits.
    expect(performance.now() - from).toBeGreaterThan(1_900)
    expect(delivery.message).toEqual(sent)
    expect([delivery.exchange, delivery.routingKey, delivery.redelivered, delivery.deliveries]).toEqual(['', 'plain', false, 0])
    delivery.ack()
  })

  test.each(['classic', 'quorum'] as const)(
    'a worker holds few messages for their eta; more wait at the broker (%s queue)',
    async (type) => {
      const name = `eta-${type}`
      const connection = await connect({ etaHeld: 2 })
      await connection.declare(topology(queue(name, { arguments: type === 'quorum' ? quorum : {} })))
      for (let n = 0; n < 6; n++)
        await connection.publish(message({ id: `${n}` }), { exchange: '', routingKey: name }, { deadlineMs: 20_000 })
      const inbox = await Inbox.open(connection, { queues: [name], prefetch: 2 })
      const dueMs = Date.now() + 3_000
      // More than its prefetch come: what waits takes no place.
      for (let n = 0; n < 6; n++) {
        await until(() => inbox.deliveries.length > n, `delivery ${n}`)
        inbox.deliveries[n]?.defer(dueMs)
      }
      await until(async () => (await connection.size(name)) === 2, 'two are held')
      await until(() => inbox.deliveries.length === 8, 'those that are held come back')
      expect(Date.now()).toBeGreaterThanOrEqual(dueMs)
      for (const delivery of inbox.deliveries.slice(6)) delivery.ack()
      await until(() => inbox.deliveries.length >= 10, 'more come back')
      for (const delivery of inbox.deliveries.slice(8)) delivery.ack()
      await until(() => inbox.deliveries.length >= 12, 'all come back')
      for (const delivery of inbox.deliveries.slice(10)) delivery.ack()
      expect(new Set(inbox.deliveries.slice(6).map(idOf)).size).toBe(6)
      expect(inbox.deliveries.slice(6).every(({ deliveries }) => deliveries === 0)).toBe(true)
    },
  )

  test('what is far away is never held, nor is what takes much memory', async () => {
    const connection = await connect({ etaHeldMs: 60_000 })
    await connection.declare(topology(queue('far')))
    await connection.publish(message(), { exchange: '', routingKey: 'far' }, { deadlineMs: 20_000 })
    const inbox = await Inbox.open(connection, { queues: ['far'] })
    ;(await inbox.gone(0)).defer(Date.now() + 86_400_000)
    const other = await connect()
    await until(async () => (await other.size('celery_delayed_16')) === 1, 'it waits at the broker')
    expect(await connection.size('far')).toBe(0)
    await other.purge('celery_delayed_16')
  })

  test('what a worker holds for its eta goes back when it stops', async () => {
    const connection = await connect()
    await connection.declare(topology(queue('held')))
    await connection.publish(message({ id: 'h' }), { exchange: '', routingKey: 'held' }, { deadlineMs: 20_000 })
    const inbox = await Inbox.open(connection, { queues: ['held'] })
    ;(await inbox.gone(0)).defer(Date.now() + 60_000)
    await inbox.consumer.cancel()
    const other = await connect()
    await until(async () => (await other.size('held')) === 1, 'it is back')
    await connection.close()
    const delivery = await (await Inbox.open(other, { queues: ['held'] })).gone(0)
    expect([idOf(delivery), delivery.deliveries]).toEqual(['h', 0])
    delivery.ack()
  })

  test('messages are delayed for exchanges of every type, and those of a direct one by its queue', async () => {
    const connection = await connect()
    const bindings = [{ exchange: 'd', routingKey: 'k' }]
    await connection.declare(topology(exchange('d', 'direct'), queue('direct', { arguments: quorum, bindings })))
    await connection.publish(
      message({ id: 'd' }),
      { exchange: 'd', routingKey: 'k' },
      { deadlineMs: 20_000, notBefore: Date.now() + 1_500 },
    )
    expect(await connection.size('direct')).toBe(0)
    const delivery = await (await Inbox.open(connection, { queues: ['direct'] })).gone(0)
    expect([idOf(delivery), delivery.exchange, delivery.routingKey]).toEqual(['d', '', 'direct'])
    delivery.ack()
  })

  test('of an exchange with queues of both types none loses what is delayed, nor does one that the sender does not know', async () => {
    const [caller, other] = [await connect(), await connect()]
    const at = (name: string, more: object = {}) => queue(name, { bindings: [{ exchange: 'both', routingKey: `${name}.key` }], ...more })
    await caller.declare(topology(exchange('both', 'topic'), at('new', { arguments: quorum }), at('old')))
    await other.declare(topology(exchange('both', 'topic'), at('foreign')))
    const names = ['new', 'old', 'foreign']
    for (const name of names)
      await caller.publish(
        message({ id: name }),
        { exchange: 'both', routingKey: `${name}.key` },
        { deadlineMs: 20_000, notBefore: Date.now() + 1_500 },
      )
    for (const name of names) await until(async () => (await other.size(name)) === 1, `the message for ${name}`)
  })

  test('a quorum queue on a headers exchange takes what it asks for, delayed or not, and nothing else', async () => {
    const connection = await connect()
    const binding = (region: string) => ({ exchange: 'regions', routingKey: region, arguments: { 'x-match': 'all', region } })
    await connection.declare(
      topology(
        exchange('regions', 'headers'),
        queue('eu', { arguments: quorum, bindings: [binding('eu')] }),
        queue('us', { arguments: quorum, bindings: [binding('us')] }),
      ),
    )
    const inbox = await Inbox.open(connection, { queues: ['eu'] })
    const send = (id: string, region: string, routingKey: string, more: object = {}) =>
      connection.publish(
        message({ id, headers: { id, task: 'ship', region } }),
        { exchange: 'regions', routingKey },
        { deadlineMs: 20_000, ...more },
      )
    const notBefore = Date.now() + 1_500
    await send('1', 'us', 'us')
    await send('2', 'us', 'us', { notBefore })
    await send('3', 'eu', 'eu', { notBefore })
    // Its key leads back to nobody: it does not wait at the broker.
    await send('4', 'eu', 'any', { notBefore })
    await until(async () => (await connection.size('us')) === 2, 'those of the other region')
    await until(() => inbox.deliveries.length === 2, 'its own')
    expect(inbox.ids.sort()).toEqual(['3', '4'])
    for (const delivery of inbox.deliveries) delivery.ack()
  })

  test('a queue that is taken from later is found by what is delayed, too', async () => {
    const connection = await connect()
    const bindings = [{ exchange: 'adding', routingKey: 'added.key' }]
    await connection.declare(topology(exchange('adding', 'topic'), queue('first'), queue('added', { arguments: quorum, bindings })))
    const inbox = await Inbox.open(connection, { queues: ['first'] })
    await inbox.consumer.addQueue('added')
    const other = await connect()
    // As a Python client sends it, which declares nothing of that: no second is left, and it falls through all levels.
    const to = { exchange: 'celery_delayed_27', routingKey: `${'0.'.repeat(28)}added.key` }
    await other.publish(message({ id: 'found' }), to, { deadlineMs: 20_000 })
    expect(idOf(await inbox.gone(0))).toBe('found')
  })
})
