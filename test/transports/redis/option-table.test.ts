import { expect, test } from 'vitest'
import { readRedisBackendOptions } from '../../../dist/backends/redis/option-table.js'
import { readRedisBrokerOptions } from '../../../dist/transports/redis/option-table.js'
import { defaultRedisBrokerOptions } from '../../../dist/transports/redis/options.js'

function complaint(given: Record<string, unknown>): string {
  try {
    readRedisBrokerOptions(given)
  } catch (error) {
    if (error instanceof Error) return `${Reflect.get(error, 'code')} ${error.message}`
  }
  return 'accepted'
}

test('without options, the driver has its defaults', () => {
  expect(readRedisBrokerOptions({}).broker).toEqual(defaultRedisBrokerOptions)
  expect(readRedisBrokerOptions({}).link).toMatchObject({
    socketTimeout: 7,
    socketConnectTimeout: 1.5,
    masterName: undefined,
    tls: undefined,
  })
})

test("options may be spelled as Celery does, and are the driver's in its own units", () => {
  const { broker, link } = readRedisBrokerOptions({
    global_keyprefix: 'shop:',
    visibility_timeout: 43_200,
    priority_steps: [0, 5],
    sep: ':',
    fanout_prefix: false,
    leaseTtl: '2s',
    sweepInterval: 0.25,
    waitReplicas: 1,
    evictionPolicy: 'allow',
    master_name: 'main',
    sentinel_kwargs: { password: 'pw', tls: true },
    socket_timeout: 3,
    tls: { ca: '/ca.pem', rejectUnauthorized: true },
  })
  expect(broker).toEqual({
    ...defaultRedisBrokerOptions,
    globalKeyprefix: 'shop:',
    visibilityTimeoutMs: 43_200_000,
    prioritySteps: [0, 5],
    sep: ':',
    fanoutPrefix: '',
    leaseTtlMs: 2_000,
    sweepIntervalMs: 250,
    waitReplicas: 1,
    evictionPolicy: 'allow',
  })
  expect(link).toEqual({
    masterName: 'main',
    sentinelKwargs: { password: 'pw', tls: {} },
    socketTimeout: 3,
    socketConnectTimeout: 1.5,
    tls: { ca: '/ca.pem', rejectUnauthorized: true },
    clientName: undefined,
  })
  expect(readRedisBrokerOptions({ fanout_prefix: true }).broker.fanoutPrefix).toBe('/{db}.')
})

test.each<[Record<string, unknown>, string]>([
  [
    { visibilty_timeout: 1 },
    'ERR_OPTION_UNKNOWN unknown option "brokerTransportOptions.visibilty_timeout". Did you mean "brokerTransportOptions.visibilityTimeout"?',
  ],
  [{ nonsense: 1 }, 'ERR_OPTION_UNKNOWN unknown option "brokerTransportOptions.nonsense".'],
  [{ constructor: 1 }, 'ERR_OPTION_UNKNOWN unknown option "brokerTransportOptions.constructor".'],
  [
    { visibilityTimeout: 1, visibility_timeout: 1 },
    'ERR_OPTION_INVALID expected brokerTransportOptions.visibilityTimeout to be given under one name, got: ["visibilityTimeout","visibility_timeout"]',
  ],
  [
    { visibility_timeout: 'long' },
    'ERR_OPTION_INVALID expected brokerTransportOptions.visibility_timeout to be a duration above 0 (seconds, or text such as "10s"), got: "long"',
  ],
  [{ leaseTtl: 0.01 }, 'expected brokerTransportOptions.leaseTtl to be a duration of 50ms or longer'],
  [{ prioritySteps: [3, 6] }, 'to be whole numbers from 0 to 9 in rising order, the first of them 0, got: [3,6]'],
  [{ prioritySteps: [0, 6, 3] }, 'in rising order'],
  [{ prioritySteps: [0, 10] }, 'in rising order'],
  [{ prioritySteps: [0, 1.5] }, 'in rising order'],
  [{ prioritySteps: [] }, 'in rising order'],
  [{ fanoutPrefix: 'x' }, 'to be true, false, or text that starts with "/" and ends with "."'],
  [{ evictionPolicy: 'ignore' }, 'to be "refuse" or "allow"'],
  [{ waitReplicas: -1 }, 'to be a whole number of 0 or more'],
  [{ tls: false }, 'expected brokerTransportOptions.tls to be true, or an object with ca, cert, key'],
  [{ tls: { cipher: 'x' } }, 'ERR_OPTION_UNKNOWN unknown option "brokerTransportOptions.tls.cipher".'],
  [{ sentinelKwargs: { pasword: 'x' } }, 'Did you mean "brokerTransportOptions.sentinelKwargs.password"?'],
  [
    { queue_order_strategy: 'priority' },
    'ERR_NOT_SUPPORTED brokerTransportOptions.queue_order_strategy is not supported: start a worker of its own',
  ],
  [
    { pollingInterval: 1 },
    'ERR_NOT_SUPPORTED brokerTransportOptions.pollingInterval is not supported: workers are woken when a message arrives',
  ],
  [{ max_retries: 3 }, 'brokerTransportOptions.max_retries is not supported: use taskPublishRetryPolicy'],
])('%j is refused in words', (given, words) => {
  expect(complaint(given)).toContain(words)
})

test('results at the broker’s server are reached as it is, unless their own options say otherwise', () => {
  const brokers = { master_name: 'main', tls: true, socketTimeout: 3, visibility_timeout: 5, globalKeyprefix: 'shop:' }
  expect(readRedisBackendOptions({ socket_timeout: 4, globalKeyprefix: 'results' }, brokers)).toEqual({
    globalKeyprefix: 'results',
    resultChordOrdered: true,
    masterName: 'main',
    sentinelKwargs: undefined,
    tls: {},
    socketTimeout: 4,
    socketConnectTimeout: 1.5,
    clientName: undefined,
  })
  expect(readRedisBackendOptions({}, brokers).globalKeyprefix).toBe('')
  expect(() => readRedisBackendOptions({ visibility_timeout: 5 })).toThrow(
    'resultBackendTransportOptions.visibility_timeout is not supported: it belongs into brokerTransportOptions',
  )
  expect(() => readRedisBackendOptions({ retry_policy: {} })).toThrow('resultBackendTransportOptions.retry_policy is not supported')
})
