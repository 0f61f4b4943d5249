/** What the doctor finds, in this process: over the memory broker, and of a Redis that is set up to lose tasks. */
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { examine } from '../../dist/cli/commands/doctor.js'
import { examineBroker } from '../../dist/cli/doctor/broker.js'
import type { Finding } from '../../dist/cli/doctor/finding.js'
import { examineQueues } from '../../dist/cli/doctor/queues.js'
import { examineResults } from '../../dist/cli/doctor/results.js'
import { examineSettings } from '../../dist/cli/doctor/settings.js'
import { examineWorkers, written } from '../../dist/cli/doctor/workers.js'
import { queueRows } from '../../dist/cli/queue-rows.js'
import type { CommandContext } from '../../dist/cli/with-app.js'
import { BrokerFullError } from '../../dist/errors.js'
import { type AppOptions, Celeriac } from '../../dist/index.js'
import type { Connection } from '../../dist/transport.js'
import { startRedis } from '../../scripts/services.mjs'
import { LiveApp, until } from '../live-app.js'

/** What a command line gives to its commands. */
function contextOf(app: Celeriac): CommandContext {
  const terminal = { data: () => {}, note: () => {} }
  const flags = { app: undefined, workdir: undefined, color: false, quiet: true, verbose: false }
  return { app, core: Celeriac.internals(app).core, file: '', exportName: 'app', terminal, flags }
}

const levels = (findings: readonly Finding[]): Record<string, string> =>
  Object.fromEntries(findings.map(({ about, level }) => [about, level]))
const about = (findings: readonly Finding[], name: string): Finding | undefined => findings.find((finding) => finding.about === name)

test('workers of one name, and workers that cannot read what is sent, are found', async () => {
  const broker = `memory://${randomUUID()}`
  await using live = new LiveApp({ broker })
  await using deaf = new LiveApp({ broker, acceptContent: ['msgpack'], taskSerializer: 'msgpack' })
  await live.work({ hostname: 'same@h' })
  await live.work({ hostname: 'same@h' })
  await deaf.work({ hostname: 'deaf@h' })
  const findings = await examineWorkers(contextOf(live.app), { timeoutMs: 1_000, transport: 'memory' })
  expect(levels(findings)).toEqual({ online: 'fine', names: 'fault', serializers: 'fault', clocks: 'fine', versions: 'fine' })
  expect(about(findings, 'names')?.evidence).toContain('2 workers are called same@h')
  expect(about(findings, 'serializers')?.evidence).toMatch(/sends tasks as json, and deaf@h accepts msgpack only/)
  expect(findings.map(({ evidence }) => evidence)).toContainEqual(
    expect.stringMatching(/deaf@h writes tasks as msgpack.*accepts json only/),
  )
})

test('results are JSON: workers that write them otherwise are found, whatever messages may be', () => {
  const told = (acceptContent: string[], resultSerializer: string) => {
    const context = contextOf(new Celeriac('x', { broker: 'memory://', acceptContent, taskSerializer: 'msgpack' }))
    const reply = { task_serializer: 'msgpack', result_serializer: resultSerializer }
    return written(context, [{ hostname: 'python@h', reply }]).map(({ evidence }) => evidence)
  }
  expect(told(['msgpack'], 'json')).toEqual([])
  expect(told(['json', 'msgpack'], 'msgpack')).toEqual(['python@h writes results as msgpack, and this app reads them as JSON only'])
  expect(told(['json'], 'json')).toEqual([expect.stringMatching(/python@h writes tasks as msgpack.*accepts json only/)])
})

test('of a broker that takes no messages that is said, and what can be seen of it all the same', async () => {
  await using live = new LiveApp({ taskQueues: ['mail'] })
  const context = contextOf(live.app)
  const notes: string[] = []
  const terminal = { data: () => {}, note: (text: string) => void notes.push(text) }
  // On a connection of their own workers are asked, and their answers heard.
  const connect = context.core.connections.connect.bind(context.core.connections)
  context.core.connections.connect = async () => refusing(await connect())
  expect(await queueRows({ ...context, terminal })).toMatchObject([{ queue: 'mail', waiting: 0, consumers: 0 }])
  expect(notes).toEqual([expect.stringMatching(/^note: workers could not be asked .*: no memory$/)])
  const { findings, code } = await examine(context, 100)
  expect([code, findings.at(-1)]).toEqual([78, expect.objectContaining({ area: 'broker', about: 'messages', evidence: 'no memory' })])
  expect(about(findings, 'reachable')?.level).toBe('fine')
})

/** Takes no messages. */
function refusing(connection: Connection): Connection {
  connection.publish = () => Promise.reject(new BrokerFullError('no memory'))
  return connection
}

test('queues that nobody takes from, paused ones and dead letters are found', async () => {
  await using live = new LiveApp({ taskQueues: [{ name: 'lonely' }, { name: 'mail' }, { name: 'idle' }] })
  const { app } = live
  await live.work({ queues: ['mail'] })
  await app.sendTask('x', {}, { queue: 'lonely' })
  await app.sendTask('unknown', {}, { queue: 'mail' })
  await until(async () => (await app.deadLetters.count()) === 1)
  await app.control.pause('mail', { timeout: 0.2 })
  expect((await examineQueues(contextOf(app))).map(({ about: what, level, fix }) => [what, level, fix?.split(':')[0]])).toEqual([
    ['consumers', 'warning', 'Start a worker'],
    ['consumers', 'fault', 'Start a worker'],
    ['paused', 'warning', 'celeriac resume mail'],
    ['dead letters', 'warning', expect.any(String)],
  ])
})

test('options that do not fit each other or the broker are found', async () => {
  const examine = (options: AppOptions, transport: string): readonly Finding[] => {
    const app = new Celeriac('test', { broker: 'memory://', ...options })
    app.task('long', { timeLimit: '2h' }, () => {})
    app.task('short', { timeLimit: 1 }, () => {})
    return examineSettings(contextOf(app), transport)
  }
  const settings = (options: AppOptions, transport: string) => levels(examine(options, transport))
  expect(settings({ taskTimeLimit: 60 }, 'redis')).toEqual({ serializer: 'fine', 'visibility timeout': 'warning' })
  expect(settings({ brokerTransportOptions: { visibility_timeout: 86_400 } }, 'redis')).toMatchObject({ 'visibility timeout': 'fine' })
  expect(settings({ acceptContent: ['application/json'], taskSerializer: 'yaml' }, 'memory')).toEqual({ serializer: 'fault' })
  // What RabbitMQ does not tell is told as such, with how to see it.
  const timeout = (options: AppOptions) => about(examine(options, 'amqp'), 'consumer_timeout')
  expect(timeout({})).toMatchObject({
    level: 'warning',
    evidence: expect.stringMatching(/long may run for 2h.*30m if that was not changed.*rabbitmqctl eval.*consumerTimeout tells me/),
  })
  expect(timeout({ brokerTransportOptions: { consumerTimeout: '3h' } })).toMatchObject({
    level: 'fine',
    evidence: expect.stringContaining('after 3h'),
  })
  const queue = { name: 'q', arguments: { 'x-consumer-timeout': 600_000 } }
  expect(timeout({ brokerTransportOptions: { consumer_timeout: 10_800 }, taskQueues: [queue] })).toMatchObject({
    level: 'warning',
    evidence: expect.stringContaining('10m (x-consumer-timeout of the queue q)'),
  })
  expect(timeout({ taskAcksLate: false })).toMatchObject({ level: 'fine' })
  const persistence = (options: AppOptions) => about(examine(options, 'amqp'), 'persistence')
  expect(persistence({})).toMatchObject({ level: 'fine' })
  expect(
    persistence({
      taskDefaultDeliveryMode: 'transient',
      brokerTransportOptions: { confirm_publish: false },
      taskQueues: [{ name: 'q', durable: false }],
    }),
  ).toMatchObject({ level: 'warning', evidence: expect.stringMatching(/transient.*not confirmed.*the queue q is not durable/) })
})

test('a task without a limit is longer than every limit', () => {
  const app = new Celeriac('test', { broker: 'memory://' })
  app.task('limited', { timeLimit: 10 }, () => {})
  app.task('free', () => {})
  expect(about(examineSettings(contextOf(app), 'redis'), 'visibility timeout')).toMatchObject({
    level: 'warning',
    evidence: expect.stringContaining('free has no time limit'),
  })
})

test('a Redis that throws tasks away when its memory is full, and keeps nothing on disk, is found', async () => {
  const server = await startRedis({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'] })
  const app = new Celeriac('test', { broker: server.url, backend: server.url, resultExpires: null })
  try {
    const context = contextOf(app)
    const broker = await examineBroker(context, await context.core.connections.publisher(), 1)
    expect(levels(broker)).toEqual({
      reachable: 'fine',
      'usable by workers': 'fine',
      'eviction policy': 'fault',
      persistence: 'warning',
      clock: 'fine',
    })
    expect(about(broker, 'eviction policy')).toMatchObject({
      evidence: expect.stringContaining('allkeys-lru'),
      fix: expect.stringContaining('noeviction'),
    })
    expect(levels(await examineResults(context))).toEqual({ reachable: 'fine', 'eviction policy': 'warning', expiry: 'warning' })
  } finally {
    await app.close()
    await server.stop()
  }
})
