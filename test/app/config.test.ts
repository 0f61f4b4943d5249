import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { type Config, type ConfigInput, celeryDefaults, describeConfig, givenIn, resolveGiven } from '../../dist/app/config.js'
import { celeryName } from '../../dist/app/config-names.js'
import { rows } from '../../dist/app/config-table.js'
import { givenInEnvironment } from '../../dist/app/load-config.js'
import { CeleriacError, OptionInvalidError, OptionUnknownError } from '../../dist/errors.js'

const resolveConfig = (input: ConfigInput = {}): Config => resolveGiven(givenIn(input))

function complaint(input: object): string {
  try {
    resolveConfig(input as ConfigInput) // wrong on purpose
  } catch (error) {
    if (error instanceof CeleriacError) return `${error.code} ${error.message}`
    throw error
  }
  return 'accepted'
}

test('without options every option has its default', () => {
  const config = resolveConfig()
  expect(Object.keys(config).sort()).toEqual(rows.map(([option]) => option).sort())
  expect(Object.values(config)).not.toContain(undefined)
  expect(config).toMatchObject({
    brokerUrl: ['sqlite://'],
    resultBackend: 'sqlite://',
    taskAcksLate: true,
    taskRejectOnWorkerLost: true,
    taskDeliveryLimit: 5,
    taskDefaultQueue: 'celery',
    resultExpires: 86_400,
    workerPrefetchMultiplier: 4,
    workerConcurrency: null,
  })
})

test('defaults are values that the option itself accepts', () => {
  for (const [option, { default: fallback, kind, celery }] of rows) {
    if ('value' in fallback) expect(() => kind.parse(fallback.value, option)).not.toThrow()
    if (celery !== undefined) expect(kind.parse(celery, option)).toEqual(celery)
  }
})

test('an option may be spelled as Celery does, and broker and backend are short names', () => {
  expect(resolveConfig({ task_acks_late: false, broker: 'memory://', backend: 'disabled' })).toMatchObject({
    taskAcksLate: false,
    brokerUrl: ['memory://'],
    resultBackend: 'disabled',
  })
  for (const [option] of rows) expect(givenIn({ [celeryName(option)]: 0 } as ConfigInput)[0]?.option).toBe(option) // the name is found, the value not read
})

test('results are kept by the broker unless it cannot', () => {
  expect(resolveConfig({ broker: 'memory://' }).resultBackend).toBe('memory://')
  expect(resolveConfig({ broker: ['redis://a', 'redis://b'] }).resultBackend).toBe('redis://a')
  for (const broker of ['amqp://guest:guest@host//', 'amqps://host', 'pyamqp://host'])
    expect(resolveConfig({ broker })).toMatchObject({ resultBackend: 'disabled', beatStore: 'sqlite://' })
})

test('schedules are kept by the broker unless it cannot', () => {
  for (const brokerUrl of ['amqp://', 'amqps://host', 'pyamqp://guest@host//'])
    expect(resolveConfig({ brokerUrl }).beatStore).toBe('sqlite://')
  expect(resolveConfig({ brokerUrl: 'redis://host/1' }).beatStore).toBe('redis://host/1')
})

test('durations, sizes, levels and delivery modes become what the code works with', () => {
  const config = resolveConfig({
    resultExpires: '1h',
    taskTimeLimit: 30,
    taskSoftTimeLimit: '250ms',
    messageMaxBytes: '2MiB',
    workerLogLevel: 'WARNING',
    taskDefaultDeliveryMode: 'transient',
    taskPublishRetryPolicy: { maxRetries: 1, interval_max: '2s' } as ConfigInput['taskPublishRetryPolicy'],
    brokerUrl: 'redis://a;redis://b',
  })
  expect(config).toMatchObject({
    resultExpires: 3600,
    taskTimeLimit: 30,
    taskSoftTimeLimit: 0.25,
    messageMaxBytes: 2 * 1024 ** 2,
    workerLogLevel: 'warn',
    taskDefaultDeliveryMode: 1,
    taskPublishRetryPolicy: { maxRetries: 1, intervalStart: 0, intervalStep: 0.2, intervalMax: 2 },
    brokerUrl: ['redis://a', 'redis://b'],
  })
  expect(resolveConfig({ resultExpires: 0 }).resultExpires).toBeNull()
})

test.each<[object, string]>([
  [{ workerConcurrency: 'many' }, 'ERR_OPTION_INVALID expected workerConcurrency to be a whole number above 0, got: "many"'],
  [{ brokerURL: 'x' }, 'ERR_OPTION_UNKNOWN unknown option "brokerURL". Did you mean "brokerUrl"?'],
  [{ task_ack_late: true }, 'ERR_OPTION_UNKNOWN unknown option "task_ack_late". Did you mean "task_acks_late"?'],
  [{ nonsense: 1 }, 'ERR_OPTION_UNKNOWN unknown option "nonsense".'],
  [
    { worker_direct: true },
    'ERR_NOT_SUPPORTED the option worker_direct is not supported: give the worker a queue of its own: worker -Q celery,box.dq, and send with { queue: "box.dq" }',
  ],
  [
    { workerDirect: true },
    'ERR_NOT_SUPPORTED the option workerDirect is not supported: give the worker a queue of its own: worker -Q celery,box.dq, and send with { queue: "box.dq" }',
  ],
  [
    { mongodb_backend_settings: {} },
    'ERR_NOT_SUPPORTED the option mongodb_backend_settings is not supported: there is no result backend mongodb: results are kept by redis://, sqlite:// or rpc://',
  ],
  [{ cacheable: 1 }, 'ERR_OPTION_UNKNOWN unknown option "cacheable".'],
  [{ constructor: 1 }, 'ERR_OPTION_UNKNOWN unknown option "constructor".'],
  [
    { broker: 'memory://', broker_url: 'redis://' },
    'ERR_OPTION_INVALID expected brokerUrl to be given under one name, got: ["broker","broker_url"]',
  ],
  [
    { taskTimeLimit: -1 },
    'ERR_OPTION_INVALID expected taskTimeLimit to be a duration above 0 (seconds, or text such as "10s"), or null, got: -1',
  ],
  [
    { taskSoftTimeLimit: 0 },
    'ERR_OPTION_INVALID expected taskSoftTimeLimit to be a duration above 0 (seconds, or text such as "10s"), or null, got: 0',
  ],
  [{ taskUnknown: 'drop' }, 'ERR_OPTION_INVALID expected taskUnknown to be "dead-letter" or "requeue", got: "drop"'],
  [{ taskAcksLate: 'yes' }, 'ERR_OPTION_INVALID expected taskAcksLate to be true or false, got: "yes"'],
  [{ timezone: 'Mars/Base' }, 'ERR_OPTION_INVALID expected timezone to be an IANA time zone such as "Europe/Berlin", got: "Mars/Base"'],
  [{ acceptContent: ['json', 1] }, 'ERR_OPTION_INVALID expected acceptContent[1] to be text that is not empty, got: 1'],
  [
    { taskRoutes: { 'mail.*': { que: 'mail' } } },
    'ERR_OPTION_UNKNOWN unknown option "taskRoutes[\\"mail.*\\"].que". Did you mean "taskRoutes[\\"mail.*\\"].queue"?',
  ],
  [{ taskQueues: ['a', 'b', 'a'] }, 'ERR_OPTION_INVALID expected taskQueues to be a list that names each queue once, got: "a"'],
  [
    { taskQueues: [{ durable: true }] },
    'ERR_OPTION_INVALID expected taskQueues[0].name to be 1 to 255 printable characters, got: undefined',
  ],
  [{ taskDefaultQueue: 'a\nb' }, 'ERR_OPTION_INVALID expected taskDefaultQueue to be 1 to 255 printable characters, got: "a\\nb"'],
  [
    { logger: { info() {} } },
    'ERR_OPTION_INVALID expected logger to be an object with the methods debug, info, warn and error, or null, got: {}',
  ],
])('%j is refused in words', (input, message) => {
  expect(complaint(input)).toBe(message)
})

test('a password is in no message', () => {
  const client = new Redis('redis://:geheim@cache', { lazyConnect: true })
  for (const broker of [
    'redis//me:geheim@host',
    'me:geheim@host',
    ['redis:/me:geheim@host'],
    client,
    [client],
    [['redis://:geheim@host']],
  ]) {
    expect(complaint({ broker })).toMatch(/^ERR_OPTION_INVALID/)
    expect(complaint({ broker })).not.toContain('geheim')
  }
  expect(complaint({ broker: client })).toBe('ERR_OPTION_INVALID expected broker to be { client } with the client in it, got: "a client"')
  expect(complaint({ brokerTransportOptions: '{"password": "geheim"' })).toMatch(/^ERR_OPTION_INVALID(?!.*geheim)/)
})

test('undefined is the same as not given', () => {
  expect(resolveConfig({ workerConcurrency: undefined, taskAcksLate: undefined })).toEqual(resolveConfig())
})

test('routes become routers in the order in which they are asked', () => {
  const byName = (name: string): string | undefined => (name === 'x' ? 'q' : undefined)
  expect(resolveConfig({ taskRoutes: { 'mail.*': { queue: 'mail', priority: 3 }, feed: 'feeds' } }).taskRoutes).toEqual([
    [
      ['mail.*', { queue: 'mail', priority: 3 }],
      ['feed', { queue: 'feeds' }],
    ],
  ])
  expect(resolveConfig({ taskRoutes: byName }).taskRoutes).toEqual([byName])
  expect(
    resolveConfig({ taskRoutes: [[/^a/, 'a'], ['b', { routing_key: 'b.c' } as object], byName, { c: 'c' }, { d: 'd' }] }).taskRoutes,
  ).toEqual([
    [
      [/^a/, { queue: 'a' }],
      ['b', { routingKey: 'b.c' }],
    ],
    byName,
    [['c', { queue: 'c' }]],
    [['d', { queue: 'd' }]],
  ])
})

test('queues may be a list or an object', () => {
  const described = [{ name: 'mail', arguments: { 'x-max-priority': 9 } }, { name: 'celery' }]
  expect(resolveConfig({ taskQueues: [described[0] ?? 'mail', 'celery'] }).taskQueues).toEqual(described)
  expect(resolveConfig({ taskQueues: { mail: { arguments: { 'x-max-priority': 9 } }, celery: {} } }).taskQueues).toEqual(described)
})

test('Sentinels that follow each other are one broker; a semicolon of a password separates nothing', () => {
  const brokers = (broker: ConfigInput['broker']) => resolveConfig({ broker }).brokerUrl
  expect(brokers('sentinel://:pw@a:1/0;sentinel://b; sentinel://c')).toEqual(['sentinel://:pw@a:1/0;sentinel://b;sentinel://c'])
  expect(brokers(['sentinel://a', 'sentinel://b', 'redis://c'])).toEqual(['sentinel://a;sentinel://b', 'redis://c'])
  expect(brokers(['redis://a;redis://b', 'memory://'])).toEqual(['redis://a', 'redis://b', 'memory://'])
  expect(brokers('redis://:p;w@a')).toEqual(['redis://:p;w@a'])
  const shown = describeConfig(resolveConfig({ broker: 'sentinel://:geheim@a;sentinel://:geheim@b/1' }), [])
  expect(shown.find(({ option }) => option === 'brokerUrl')?.value).toBe('sentinel://:**@a;sentinel://:**@b/1')
})

test("a broker may be a client of the user's own; results go there, too, and it is shown without its password", () => {
  const client = new Redis('redis://:geheim@cache:7000/2', { lazyConnect: true })
  const config = resolveConfig({ broker: [{ client }, 'redis://other'] })
  expect(config.brokerUrl).toEqual([{ client }, 'redis://other'])
  expect(config.resultBackend).toBe(config.brokerUrl[0])
  const described = describeConfig(config, [])
  expect(described.find(({ option }) => option === 'brokerUrl')?.value).toBe('redis client (cache:7000/2);redis://other')
  expect(described.find(({ option }) => option === 'resultBackend')).toMatchObject({
    value: 'redis client (cache:7000/2)',
    source: 'default',
  })
  expect(JSON.stringify(described)).not.toContain('geheim')
  expect(resolveConfig({ backend: { client } }).resultBackend).toEqual({ client })
  expect(complaint({ broker: { client: { password: 'geheim' } } })).toMatch(
    /expected broker.client to be a client of ioredis.*got: "Object"$/,
  )
  expect(complaint({ backend: { client, db: 1 } })).toBe('ERR_OPTION_UNKNOWN unknown option "backend.db".')
})

test('options of a driver are kept as they are, and shown without what is secret in them', () => {
  const options = {
    visibility_timeout: 5,
    unackedKey: 'mine',
    sentinel_kwargs: { password: 'geheim' },
    tls: { key: 'geheim', ca: 'geheim' },
  }
  const config = resolveConfig({ broker_transport_options: options })
  expect(config.brokerTransportOptions).toEqual(options)
  const shown = describeConfig(config, []).find(({ option }) => option === 'brokerTransportOptions')?.value
  expect(shown).toBe('{"visibility_timeout":5,"unackedKey":"mine","sentinel_kwargs":{"password":"**"},"tls":{"key":"**","ca":"**"}}')
  const environment = givenInEnvironment({ CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS: '{"global_keyprefix": "x"}' })
  expect(resolveGiven(environment).resultBackendTransportOptions).toEqual({ global_keyprefix: 'x' })
  expect(complaint({ brokerTransportOptions: [] })).toBe(
    'ERR_OPTION_INVALID expected brokerTransportOptions to be an object (as text: JSON), got: "Array"',
  )
})

test("celeryDefaults has Celery's own values where ours differ", () => {
  expect(resolveConfig({ ...celeryDefaults, broker: 'memory://' })).toMatchObject({
    taskAcksLate: false,
    taskRejectOnWorkerLost: false,
    taskDeliveryLimit: null,
    taskDefaultQueue: 'celery',
  })
})

test('a config cannot be changed after it was made', () => {
  const config = resolveConfig()
  expect(() => Object.assign(config, { taskAcksLate: false })).toThrow(TypeError)
})

test('a described config has the source of each value and no secret', () => {
  const environment = givenInEnvironment({ CELERY_BROKER_URL: 'redis://:geheim@a;redis://:geheim@b' })
  const described = describeConfig(resolveGiven([...givenIn({ resultExpires: '2h' }), ...environment]), environment)
  expect(described.find(({ option }) => option === 'brokerUrl')).toEqual({
    option: 'brokerUrl',
    value: 'redis://:**@a;redis://:**@b',
    source: 'CELERY_BROKER_URL',
  })
  expect(described.find(({ option }) => option === 'resultBackend')).toEqual({
    option: 'resultBackend',
    value: 'redis://:**@a',
    source: 'default',
  })
  expect(described.find(({ option }) => option === 'resultExpires')).toEqual({ option: 'resultExpires', value: '2h', source: 'app' })
  expect(described.find(({ option }) => option === 'workerPool')?.source).toBe('default')
  expect(JSON.stringify(described)).not.toContain('geheim')
})

test('the types accept what the values may be, and nothing else', () => {
  const input: ConfigInput = {
    workerPool: 'async',
    result_expires: '1d',
    taskRoutes: (name) => (name === 'a' ? { queue: 'b' } : undefined),
    imports: ['./a.js'],
  }
  // @ts-expect-error no such option
  const unknown: ConfigInput = { taskAckLate: true }
  // @ts-expect-error a number is wanted
  const wrong: ConfigInput = { workerConcurrency: '8' }
  const config: Config = resolveConfig(input)
  const limit: number | null = config.taskTimeLimit
  const pool: 'prefork' | 'threads' | 'async' | 'solo' = config.workerPool
  expect([limit, pool]).toEqual([null, 'async'])
  expect(() => resolveConfig(unknown)).toThrow(OptionUnknownError)
  expect(() => resolveConfig(wrong)).toThrow(OptionInvalidError)
})

test('arguments of a binding stand with the bindings, where there are several', () => {
  const bindings = [{ routingKey: 'a', arguments: { region: 'eu' } }]
  expect(resolveConfig({ taskQueues: [{ name: 'q', bindings }] }).taskQueues).toEqual([{ name: 'q', bindings }])
  expect(() => resolveConfig({ taskQueues: [{ name: 'q', bindings, bindingArguments: { region: 'us' } }] })).toThrow(
    /taskQueues\[0\]\.bindingArguments.*left out beside bindings/,
  )
})
