import { expect, test } from 'vitest'
import { EncodeError, OptionInvalidError } from '../../dist/errors.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import { encodeTask, resend, type TaskCall } from '../../dist/protocol/task-message.js'
import { parseIso, toIso } from '../../dist/protocol/time.js'
import { decodeJson, json } from '../../dist/serializers/json.js'
import { envelopes, message } from '../wire/recorded.js'

const call: TaskCall = { id: 'id-add', task: 't.add', args: [2, 3], kwargs: {}, origin: 'gen1@host', replyTo: 'r' }

test('a plain call has the headers that Python writes, in the same order', () => {
  const python = message('add')
  const ours = encodeTask(call, json)
  expect(Object.keys(ours.headers)).toEqual(Object.keys(python.headers))
  // Python's task writes false; null leaves it to the worker's definition of the task.
  expect(ours.headers).toEqual({ ...python.headers, lang: 'js', ignore_result: null })
  expect(decodeJson(ours.body)).toEqual(decodeJson(python.body))
  expect({ ...ours.properties, replyTo: '' }).toEqual({ ...python.properties, replyTo: '' })
  expect([ours.contentType, ours.contentEncoding]).toEqual([python.contentType, python.contentEncoding])
})

test('a call with every option is what Python writes for it', () => {
  const python = message('options')
  const { eta, expires } = python.headers as Record<string, string>
  const body = decodeJson(python.body) as [unknown[], object, { callbacks: unknown[]; errbacks: unknown[] }]
  const ours = encodeTask(
    {
      ...call,
      id: 'id-options',
      args: [1, 2],
      embed: { callbacks: body[2].callbacks, errbacks: body[2].errbacks, chain: null, chord: null },
      etaIso: eta,
      expiresIso: expires,
      expirationMs: 60_000.9,
      priority: 5,
      customHeaders: { 'X-My': 'h', tenant: { id: 7 } },
      shadow: 'shadow name',
      timeLimit: 30,
      softTimeLimit: 20.5,
      ignoreResult: true,
      rootId: 'id-root',
      parentId: 'id-parent',
      replyTo: 'id-reply',
      argsrepr: '(...)',
      kwargsrepr: '{...}',
      retries: 2,
    },
    json,
  )
  expect(JSON.stringify(ours.headers)).toBe(JSON.stringify({ ...python.headers, lang: 'js' }))
  expect(decodeJson(ours.body)).toEqual(body)
  expect(ours.properties).toEqual(python.properties)
})

test('the reprs of arguments are those of Python', () => {
  const ours = encodeTask({ ...call, args: [], kwargs: { x: 1, y: { z: [null, true, 1.5, "é'\n"] } } }, json)
  expect([ours.headers.argsrepr, ours.headers.kwargsrepr]).toEqual([
    message('kwargs').headers.argsrepr,
    message('kwargs').headers.kwargsrepr,
  ])
})

test('JSON that is written already goes into the body unparsed, wherever it stands', () => {
  const { body } = encodeTask(
    { ...call, args: [new JsonText('{"big": 12345678901234567890}'), 1], kwargs: { list: new JsonText('[1]') } },
    json,
  )
  expect(body).toBe('[[{"big": 12345678901234567890},1],{"list":[1]},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]')
  expect(encodeTask({ ...call, args: new JsonText('[7]'), kwargs: new JsonText('{}'), embed: new JsonText('null') }, json).body).toBe(
    '[[7],{},null]',
  )
})

test('a value that cannot be written is named by its path', () => {
  const attempt = () => encodeTask({ ...call, args: [{ user: { name: () => 1 } }] }, json)
  expect(attempt).toThrow(EncodeError)
  expect(attempt).toThrow('args[0].user.name is a function')
  expect(() => encodeTask({ ...call, kwargs: { 'a b': [Symbol('x')] } }, json)).toThrow('kwargs["a b"][0] is a symbol')
})

test('a custom header may not take the place of a header of the protocol', () => {
  expect(() => encodeTask({ ...call, customHeaders: { id: 'other' } }, json)).toThrow(OptionInvalidError)
})

test('a header or stamp that is not data is named by its path', () => {
  expect(() => encodeTask({ ...call, customHeaders: { trace: { on: () => 1 } } }, json)).toThrow('headers.trace.on is a function')
  expect(() => encodeTask({ ...call, stampedHeaders: ['s'], stamps: { s: new Map() } }, json)).toThrow('stamps.s is a Map')
})

test('a custom header named __proto__ is a header, and no prototype', () => {
  const { headers } = encodeTask({ ...call, customHeaders: JSON.parse('{"__proto__": {"polluted": 1}}') }, json)
  expect(Object.getPrototypeOf(headers)).toBe(Object.prototype)
  expect(Object.hasOwn(headers, '__proto__')).toBe(true)
})

test('an expiration is whole milliseconds as text, and never below 0', () => {
  expect(encodeTask({ ...call, expirationMs: -5 }, json).properties.expiration).toBe('0')
  expect(encodeTask({ ...call, expirationMs: 1e12 + 0.5 }, json).properties.expiration).toBe('1000000000000')
})

test('a message is sent again with the same body, and only the changed headers differ', () => {
  const first = message('options')
  const again = resend(first, { headers: { retries: 3, eta: toIso(parseIso('2030-01-01T00:00:00Z')) }, properties: { priority: 1 } })
  expect(again.body).toBe(first.body)
  expect(again.headers).toEqual({ ...first.headers, retries: 3, eta: '2030-01-01T00:00:00.000000+00:00' })
  expect(again.properties).toEqual({ ...first.properties, priority: 1 })
  expect(Object.keys(again.headers)).toEqual(Object.keys(first.headers))
})

test('what a broker wrote into the headers is not sent again', () => {
  const first = {
    ...message('add'),
    headers: {
      ...message('add').headers,
      'x-death': [{}],
      'x-first-death-queue': 'q',
      'x-delivery-count': 2,
      redelivered: true,
      'x-mine': 1,
    },
  }
  expect(resend(first, {}).headers).toEqual({ ...message('add').headers, 'x-mine': 1 })
})

test('a new body is not said to be compressed', () => {
  const first = message('zlib')
  expect(resend(first, {}).headers.compression).toBe('application/x-gzip')
  expect(resend(first, { body: '[[],{},{}]' }).headers).not.toHaveProperty('compression')
})

test('a retry recorded from Python differs from the first message in the headers that resend is given', () => {
  const [envelope] = envelopes('retry')
  expect(envelope?.headers).toMatchObject({
    id: 'id-retry',
    retries: 1,
    root_id: 'id-root',
    parent_id: 'id-retry',
    timelimit: [30, 20],
    mine: 1,
  })
})
