import { expect, test } from 'vitest'
import { environmentNames } from '../../dist/app/config-names.js'
import { rows } from '../../dist/app/config-table.js'
import { appFromEnvironment, givenInEnvironment, loadConfig, setInEnvironment } from '../../dist/app/load-config.js'
import { OptionInvalidError, OptionUnknownError } from '../../dist/errors.js'

test("the environment wins over the program, and celeriac's name over Celery's", () => {
  const config = loadConfig(
    { broker: 'sqlite://', taskTimeLimit: 5, timezone: 'Europe/Berlin' },
    { CELERY_BROKER_URL: 'redis://celery', CELERIAC_BROKER_URL: 'redis://celeriac', CELERY_TASK_TIME_LIMIT: '10s' },
  )
  expect(config).toMatchObject({ brokerUrl: ['redis://celeriac'], taskTimeLimit: 10, timezone: 'Europe/Berlin' })
})

test('text is read as the option needs it', () => {
  const config = loadConfig(
    {},
    {
      CELERY_BROKER_URL: 'redis://a;redis://b',
      CELERIAC_BACKEND: 'disabled',
      CELERIAC_TASK_ACKS_LATE: 'no',
      CELERIAC_WORKER_CONCURRENCY: '3',
      CELERIAC_RESULT_EXPIRES: 'none',
      CELERIAC_ACCEPT_CONTENT: 'json, msgpack',
      CELERIAC_TASK_ROUTES: '{"mail.*": "mail"}',
      CELERIAC_TASK_QUEUES: 'celery,mail',
      CELERIAC_WORKER_LOG_LEVEL: 'DEBUG',
      CELERIAC_MESSAGE_MAX_BYTES: '1MiB',
      CELERIAC_TASK_DEFAULT_DELIVERY_MODE: '1',
    },
  )
  expect(config).toMatchObject({
    brokerUrl: ['redis://a', 'redis://b'],
    resultBackend: 'disabled',
    taskAcksLate: false,
    workerConcurrency: 3,
    resultExpires: null,
    acceptContent: ['json', 'msgpack'],
    taskRoutes: [[['mail.*', { queue: 'mail' }]]],
    taskQueues: [{ name: 'celery' }, { name: 'mail' }],
    workerLogLevel: 'debug',
    messageMaxBytes: 1024 ** 2,
    taskDefaultDeliveryMode: 1,
  })
})

test("OpenTelemetry's own list of what to opt for is read, where nothing more special is given", () => {
  const chosen = (environment: Record<string, string>) =>
    loadConfig({ openTelemetryConventions: 'messaging/dup' }, environment).openTelemetryConventions
  const name = 'OTEL_SEMCONV_STABILITY_OPT_IN'
  expect(chosen({ [name]: 'http, messaging' })).toBe('messaging')
  expect(chosen({ [name]: 'messaging,messaging/dup' })).toBe('messaging/dup')
  expect(chosen({ [name]: 'messaging', CELERIAC_OPEN_TELEMETRY_CONVENTIONS: 'python' })).toBe('python')
  expect(chosen({ [name]: 'http/dup' })).toBe('messaging/dup')
  expect(loadConfig({}, { [name]: 'http/dup' }).openTelemetryConventions).toBe('python')
})

test('what is wrong is named as it was given', () => {
  expect(() => loadConfig({}, { CELERY_TASK_ACKS_LATE: 'maybe' })).toThrow(
    new OptionInvalidError('CELERY_TASK_ACKS_LATE', 'true or false', 'maybe'),
  )
  expect(() => loadConfig({}, { CELERIAC_WORKER_CONCURENCY: '3' })).toThrow(
    new OptionUnknownError('CELERIAC_WORKER_CONCURENCY', 'CELERIAC_WORKER_CONCURRENCY'),
  )
})

test('an empty variable is not given, and the names of others are left alone', () => {
  const environment = {
    CELERIAC_TASK_TIME_LIMIT: '',
    CELERY_APP: 'proj',
    CELERIAC_APP: './app.ts',
    CELERIAC_PORT: 'tcp://10.0.0.1:80',
    CELERIAC_SERVICE_HOST: '10.0.0.1',
    CELERY_TASK_ACKS_LAT: '1',
    PATH: '/bin',
  }
  expect(givenInEnvironment(environment)).toEqual([])
  expect(appFromEnvironment(environment)).toBe('./app.ts')
})

test('every option that can be text can come from the environment', () => {
  for (const [option, row] of rows) {
    const [ours] = environmentNames(option)
    expect(givenInEnvironment({ [ours]: 'x' }).map((given) => given.option)).toEqual(row.kind.readText === undefined ? [] : [option])
  }
})

test('flags reach the apps that are loaded later', () => {
  const environment = { CELERY_BROKER_URL: 'redis://elsewhere' }
  setInEnvironment({ brokerUrl: 'memory://', workerConcurrency: '2' }, environment)
  expect(loadConfig({ workerConcurrency: 9 }, environment)).toMatchObject({ brokerUrl: ['memory://'], workerConcurrency: 2 })
})
