import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as errors from '../../dist/errors.js'
import type { Message } from '../../dist/protocol/message.js'
import { errorToRemote, remoteToWire } from '../../dist/protocol/remote-error.js'
import { repr } from '../../dist/protocol/repr.js'
import { encodeMeta, type ResultMeta } from '../../dist/protocol/result.js'
import { encodeTask, type TaskCall } from '../../dist/protocol/task-message.js'
import { toIso } from '../../dist/protocol/time.js'
import { Serializers } from '../../dist/serializers/index.js'
import { decodeJson, encodeJson, json } from '../../dist/serializers/json.js'
import { runPython, withoutPython } from '../python.js'

const reason = withoutPython()
const title = (name: string): string => (reason === false ? name : `${name} (skipped: ${reason})`)
const check = (cases: readonly (readonly [kind: string, given: unknown])[]): unknown[] =>
  runPython(fileURLToPath(new URL('check.py', import.meta.url)), cases) as unknown[]

const serializers = new Serializers()
const base64 = (body: string | Uint8Array): string => Buffer.from(body as string).toString('base64')
const wire = ({ body, contentType, contentEncoding, headers, properties }: Message): readonly [string, unknown] => [
  'message',
  {
    body: base64(body),
    contentType,
    contentEncoding,
    headers,
    properties: {
      correlation_id: properties.correlationId,
      reply_to: properties.replyTo,
      delivery_mode: properties.deliveryMode,
      priority: properties.priority,
      expiration: properties.expiration,
    },
  },
]

const eta = Date.UTC(2030, 0, 2, 3, 4, 5, 678)
const signature = { task: 't.add', args: [1], kwargs: {}, options: { task_id: 'next' }, subtask_type: null, immutable: false }
const full: TaskCall = {
  id: 'id-1',
  task: 't.add',
  args: [1, 'é', null, true, 1.5, 2n ** 70n, new Date(eta), new Uint8Array([97]), new Uint8Array([255])],
  kwargs: { a: { b: [] } },
  embed: { callbacks: [signature], errbacks: [signature], chain: [signature, signature], chord: signature },
  shadow: 'shown',
  etaIso: toIso(eta, 'Europe/Berlin'),
  expiresIso: toIso(eta + 1000),
  expirationMs: 1000,
  retries: 2,
  timeLimit: 30,
  softTimeLimit: 20,
  rootId: 'root',
  parentId: 'parent',
  group: 'g',
  groupIndex: 3,
  origin: 'gen1@host',
  ignoreResult: true,
  stampedHeaders: ['tenant'],
  stamps: { tenant: 'acme' },
  customHeaders: { mine: { x: 1 } },
  priority: 5,
  replyTo: 'reply',
}
const plain = { callbacks: null, errbacks: null, chain: null, chord: null }

test.skipIf(reason)(title('a Python worker reads our messages as we meant them'), async () => {
  const small: TaskCall = { id: 'id-2', task: 't.add', args: [2, 'yes', [2 ** 40, null]], kwargs: { k: 'v' } }
  const messages = [
    encodeTask(full, json),
    encodeTask(small, json),
    encodeTask(small, await serializers.get('msgpack')),
    encodeTask(small, await serializers.get('yaml')),
    serializers.compress(encodeTask(small, json), 'gzip'),
    serializers.compress(encodeTask(small, await serializers.get('msgpack')), 'brotli'),
  ]
  const [first, ...others] = check(messages.map(wire))
  expect(first).toEqual({
    id: 'id-1',
    task: 't.add',
    name: 'shown',
    args: "[1, 'é', None, True, 1.5, 1180591620717411303424, datetime.datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc), b'a', b'\\xff']",
    kwargs: "{'a': {'b': []}}",
    embed: { callbacks: [signature], errbacks: [signature], chain: [signature, signature], chord: signature },
    eta: eta / 1000,
    expires: (eta + 1000) / 1000,
    timeLimits: [30, 20],
    group: 'g',
    groupIndex: 3,
    rootId: 'root',
    parentId: 'parent',
    retries: 2,
    ignoreResult: true,
    stamps: { tenant: 'acme' },
    replyTo: 'reply',
    correlationId: 'id-1',
    argsrepr: expect.stringMatching(/^\(1, 'é', None, True, 1.5, 1180591620717411303424, /),
    kwargsrepr: "{'a': {'b': []}}",
    headers: { mine: { x: 1 } },
  })
  for (const other of others) {
    expect(other).toMatchObject({
      id: 'id-2',
      name: 't.add',
      args: "[2, 'yes', [1099511627776, None]]",
      kwargs: "{'k': 'v'}",
      embed: plain,
      eta: null,
      timeLimits: [null, null],
      rootId: 'id-2',
      ignoreResult: null,
      argsrepr: "(2, 'yes', [1099511627776, None])",
    })
  }
})

test.skipIf(reason)(title('a Python client sees our results and errors as its own'), () => {
  const meta: ResultMeta = {
    taskId: 'i',
    status: 'SUCCESS',
    result: { a: [1, null] },
    traceback: null,
    children: [[['c', null], null]],
    dateDone: toIso(eta),
  }
  const failure = (error: unknown): string =>
    encodeMeta({ ...meta, status: 'FAILURE', result: remoteToWire(errorToRemote(error)), traceback: errorToRemote(error).traceback })
  const seen = check(
    [
      encodeMeta(meta),
      encodeMeta({
        ...meta,
        name: 't',
        args: [1],
        kwargs: {},
        worker: 'w@h',
        retries: 0,
        queue: 'celery',
        stampedHeaders: ['s'],
        stamps: { s: 1 },
      }),
      encodeMeta({ ...meta, status: 'REVOKED', result: remoteToWire(errorToRemote(new errors.TaskRevokedError('i', 'expired'))) }),
      failure(new Error('boom')),
      failure(new TypeError('x is not a function')),
      failure(new RangeError('too far')),
      failure(new errors.SoftTimeLimitExceeded(3)),
      failure(new errors.TimeLimitExceeded(3)),
      failure(new errors.WorkerLostError('Worker exited prematurely: exitcode 9')),
      failure(new errors.NotRegisteredError('t.x')),
      failure(new errors.MaxRetriesExceededError('no more')),
      failure(new SyntaxError('bad')),
      failure(new ReferenceError('who')),
      failure(new errors.TimeoutError('late')),
    ].map((text) => ['meta', text]),
  )
  expect(seen).toEqual([
    { status: 'SUCCESS', taskId: 'i', children: '[<AsyncResult: c>]', result: "{'a': [1, None]}" },
    { status: 'SUCCESS', taskId: 'i', children: '[<AsyncResult: c>]', result: "{'a': [1, None]}" },
    expect.objectContaining({ status: 'REVOKED', error: 'celery.exceptions.TaskRevokedError', args: ["'expired'"] }),
    expect.objectContaining({ status: 'FAILURE', error: 'celery.exceptions.Error', args: ["'boom'"], message: 'boom' }),
    expect.objectContaining({ error: 'builtins.TypeError', message: 'x is not a function' }),
    expect.objectContaining({ error: 'builtins.ValueError', message: 'too far' }),
    expect.objectContaining({ error: 'billiard.exceptions.SoftTimeLimitExceeded', args: [] }),
    expect.objectContaining({ error: 'billiard.exceptions.TimeLimitExceeded', args: ['3'] }),
    expect.objectContaining({ error: 'billiard.exceptions.WorkerLostError', message: 'Worker exited prematurely: exitcode 9' }),
    expect.objectContaining({ error: 'celery.exceptions.NotRegistered', args: ["'t.x'"] }),
    expect.objectContaining({ error: 'celery.exceptions.MaxRetriesExceededError', message: 'no more' }),
    expect.objectContaining({ error: 'builtins.SyntaxError', message: 'bad' }),
    expect.objectContaining({ error: 'builtins.NameError', message: 'who' }),
    expect.objectContaining({ error: 'builtins.TimeoutError', message: 'late' }),
  ])
})

const values = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom(
      'yes',
      'no',
      '1e3',
      '0x1f',
      '1:30',
      '2024-01-02',
      '~',
      '=',
      '<<',
      '- a',
      'a: b',
      '#',
      '',
      ' ',
      '1_0',
      '.5',
      '0o7',
      '012',
      'null',
      'é\u2028',
      '\u0085',
      '\u00a0',
      '\ufeff',
    ),
    fc.integer(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }).filter((n) => !Number.isSafeInteger(Number(n))),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n)),
    fc.constantFrom(1e21, 1e-7, 2 ** 60, 1.5e300, -1e22),
    fc.boolean(),
    fc.constant(null),
    fc.date({ noInvalidDate: true, min: new Date('0001-01-02'), max: new Date('9999-12-30') }),
    fc.uint8Array({ maxLength: 8 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'grapheme' }), tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value

test.skipIf(reason)(title('random values come back from Python as they were'), () => {
  const sample = fc.sample(values, 1000)
  const echoes = check(sample.map((value) => ['text', encodeJson(value, 'v')])) as { text: string }[]
  sample.forEach((value, index) => {
    expect(decodeJson(echoes[index]?.text ?? '')).toEqual(value)
  })
})

test.skipIf(reason)(title('Python reads the same value from msgpack and YAML as from JSON'), async () => {
  const sample = fc.sample(values, 600)
  for (const name of ['msgpack', 'yaml']) {
    const serializer = await serializers.get(name)
    const cases = sample.flatMap((value) => {
      const comparable = withoutDates(value)
      const encode = (by: typeof json): readonly [string, unknown] => [
        'body',
        { body: base64(by.encode(comparable, 'v')), contentType: by.contentType, contentEncoding: by.contentEncoding },
      ]
      return [encode(json), encode(serializer)]
    })
    const seen = check(cases)
    sample.forEach((value, index) => {
      expect(sortedKeys(seen[2 * index + 1]), name).toBe(sortedKeys(seen[2 * index]))
      const comparable = withoutDates(value)
      expect(serializer.decode(serializer.encode(comparable, 'v')), name).toEqual(comparable)
    })
  }
})

test.skipIf(reason)(title('reprs are those of Python'), () => {
  const small = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6, depthSize: 'large' },
      fc.string({ unit: 'grapheme', maxLength: 6 }),
      fc.constantFrom("it's", 'a"b', 'é\n', '\\', 1.5, -0.25, 1e100, 1e-7, 2 ** 70),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.string({ maxLength: 3 }), tie('value'), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).value
  const sample = fc.sample(small, 500).filter((value) => repr(value).length < 1000)
  const shown = check(sample.map((value) => ['repr', encodeJson(value, 'v')]))
  expect(sample.map((value) => repr(value))).toEqual(shown)
})

/** YAML sorts keys: the reprs are compared as bags of characters. */
const sortedKeys = (repr: unknown): string => [...String(repr)].sort().join('')

/** msgpack has no dates. */
function withoutDates(value: unknown): unknown {
  if (value instanceof Date) return value.getTime()
  if (Array.isArray(value)) return value.map(withoutDates)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== '__proto__')
      .map(([key, inner]) => [key, withoutDates(inner)]),
  )
}
