import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InvalidMessageError } from '../../dist/errors.js'
import type { Message } from '../../dist/protocol/message.js'
import { isProtocol2, TaskHead } from '../../dist/protocol/task-head.js'
import { encodeTask } from '../../dist/protocol/task-message.js'
import { json } from '../../dist/serializers/json.js'
import { message, messages, recordings } from '../wire/recorded.js'

const plain = (headers: Record<string, unknown> = {}, properties: Record<string, unknown> = {}): Message => {
  const encoded = encodeTask({ id: 'i', task: 't', args: [], kwargs: {} }, json)
  return { ...encoded, headers: { ...encoded.headers, ...headers }, properties: { ...encoded.properties, ...properties } }
}

test.each(recordings('messages').filter((name) => name !== 'protocol-1'))('the head of the recorded message %s is read', (name) => {
  for (const each of messages(name)) {
    expect(isProtocol2(each)).toBe(true)
    expect(new TaskHead(each)).toMatchObject({ id: each.headers.id, task: each.headers.task, rootId: each.headers.root_id })
  }
})

test('every option of a recorded message is in its head', () => {
  const recorded = message('options')
  expect(new TaskHead(recorded)).toEqual({
    id: 'id-options',
    task: 't.add',
    shadow: 'shadow name',
    etaMs: Date.parse(String(recorded.headers.eta)),
    expiresMs: Date.parse(String(recorded.headers.expires)),
    group: null,
    groupIndex: null,
    retries: 2,
    timeLimit: 30,
    softTimeLimit: 20.5,
    rootId: 'id-root',
    parentId: 'id-parent',
    argsrepr: '(...)',
    kwargsrepr: '{...}',
    origin: 'gen1@host',
    ignoreResult: true,
    replacedTaskNesting: 0,
    resent: false,
    stampedHeaders: null,
    stamps: {},
    compression: null,
    customHeaders: { 'X-My': 'h', tenant: { id: 7 } },
  })
})

test('a naive eta is UTC, an offset is obeyed', () => {
  expect(new TaskHead(message('eta-naive')).etaMs).toBe(Date.UTC(2030, 0, 2, 3, 4, 5))
  expect(new TaskHead(message('eta-offset')).etaMs).toBe(Date.UTC(2030, 0, 2, 1, 4, 5, 678))
})

test('group, stamps and compression are read', () => {
  expect(messages('group').map((message) => new TaskHead(message))).toMatchObject([
    { group: 'id-group', groupIndex: 0 },
    { group: 'id-group', groupIndex: 1 },
  ])
  expect(new TaskHead(message('stamps'))).toMatchObject({ stampedHeaders: ['tenant'], stamps: { tenant: 'acme' }, customHeaders: {} })
  expect(new TaskHead(message('zstd')).compression).toBe('application/zstd')
})

test('what Python leaves out or writes as null is absent', () => {
  const bare: Message = { ...plain(), headers: { task: 't', id: 'i' }, properties: {} }
  expect(new TaskHead(bare)).toMatchObject({
    rootId: 'i',
    retries: 0,
    timeLimit: null,
    softTimeLimit: null,
    ignoreResult: null,
    stamps: {},
    customHeaders: {},
  })
  expect(new TaskHead(plain({ retries: null, timelimit: null, stamps: null, timelimit_: null }))).toMatchObject({
    retries: 0,
    timeLimit: null,
    stamps: {},
  })
})

test('a time limit of 0 is none, as in Python', () => {
  expect(new TaskHead(plain({ timelimit: [0, 5] }))).toMatchObject({ timeLimit: null, softTimeLimit: 5 })
})

test.each<[string, Record<string, unknown>, string]>([
  ['id missing', { id: undefined }, 'expected header "id" to be text of 1 to 255 bytes without control characters, got: undefined'],
  ['id a number', { id: 12 }, 'expected header "id" to be text of 1 to 255 bytes without control characters, got: 12'],
  ['id empty', { id: '' }, 'header "id"'],
  ['id with a line break', { id: 'a\nb' }, 'header "id"'],
  ['id with a lone surrogate', { id: 'a\ud800' }, 'header "id"'],
  ['id over 255 bytes', { id: 'é'.repeat(128) }, 'header "id"'],
  ['task not text', { task: ['t'] }, 'header "task"'],
  ['task over 255', { task: 't'.repeat(256) }, 'header "task"'],
  ['task with a control character', { task: 't\u0007' }, 'header "task"'],
  ['eta an epoch number', { eta: 1_700_000_000 }, 'expected header "eta" to be null or an ISO 8601 time'],
  ['eta an epoch number as text', { eta: '1700000000' }, 'header "eta"'],
  ['eta in RFC 2822', { eta: 'Sun, 22 Nov 2026 16:46:37 +0000' }, 'header "eta"'],
  ['expires nonsense', { expires: 'tomorrow' }, 'expected header "expires"'],
  ['expires on no day', { expires: '2026-02-30T00:00:00' }, 'header "expires"'],
  ['retries below 0', { retries: -1 }, 'expected header "retries" to be a whole number of 0 or more, got: -1'],
  ['retries a fraction', { retries: 1.5 }, 'header "retries"'],
  ['retries a BigInt', { retries: 10n ** 20n }, 'header "retries"'],
  ['timelimit of text', { timelimit: ['x'] }, 'expected header "timelimit" to be null or an array [hard, soft] of seconds, got: ["x"]'],
  ['timelimit of two texts', { timelimit: ['x', null] }, 'header "timelimit"'],
  ['timelimit below 0', { timelimit: [-1, null] }, 'header "timelimit"'],
  ['timelimit infinite', { timelimit: [Number.POSITIVE_INFINITY, null] }, 'header "timelimit"'],
  ['group an object', { group: {} }, 'header "group"'],
  ['group_index text', { group_index: '1' }, 'header "group_index"'],
  ['ignore_result text', { ignore_result: 'yes' }, 'header "ignore_result"'],
  ['stamps an array', { stamps: [1] }, 'header "stamps"'],
  ['stamped_headers of numbers', { stamped_headers: [1] }, 'header "stamped_headers"'],
  ['compression a number', { compression: 1 }, 'header "compression"'],
  ['root_id an array', { root_id: [] }, 'header "root_id"'],
  ['parent_id with a null character', { parent_id: 'a\0' }, 'header "parent_id"'],
])('a message with %s is refused with a sentence that says so', (_name, headers, sentence) => {
  const attempt = () => new TaskHead(plain(headers))
  expect(attempt).toThrow(InvalidMessageError)
  expect(attempt).toThrow(sentence)
})

test.each<[string, Record<string, unknown>]>([
  ['priority 300', { priority: 300 }],
  ['priority -1', { priority: -1 }],
  ['priority text', { priority: '5' }],
  ['reply_to with a line break', { replyTo: 'a\nb' }],
  ['reply_to a number', { replyTo: 1 }],
  ['correlation_id over 255', { correlationId: 'c'.repeat(256) }],
])('a message with property %s is refused', (_name, properties) => {
  expect(() => new TaskHead(plain({}, properties))).toThrow(InvalidMessageError)
})

test('a message of another protocol is told as such', () => {
  const unknown: Message = { ...plain(), headers: { protocol: 3 } }
  expect(isProtocol2(unknown)).toBe(false)
  expect(() => new TaskHead(unknown)).toThrow('unknown protocol')
})

test('reprs and origin of a wrong kind are not shown, and stop nothing', () => {
  expect(new TaskHead(plain({ argsrepr: 1, kwargsrepr: {}, origin: [] }))).toMatchObject({ argsrepr: null, kwargsrepr: null, origin: null })
  for (const shadow of ['s'.repeat(256), 'a\nb', 7, '']) expect(new TaskHead(plain({ shadow })).shadow).toBeNull()
})

test('0 and 1 are false and true, as Python takes them', () => {
  expect([0, 1].map((ignored) => new TaskHead(plain({ ignore_result: ignored })).ignoreResult)).toEqual([false, true])
})

test('a header named __proto__ is a custom header, and no prototype', () => {
  const headers = JSON.parse('{"task": "t", "id": "i", "__proto__": {"polluted": true}}')
  const { customHeaders } = new TaskHead({ ...plain(), headers })
  expect(Object.keys(customHeaders)).toEqual(['__proto__'])
  expect(Object.getPrototypeOf(customHeaders)).toBe(Object.prototype)
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
})

test('whatever the headers hold, reading them gives a head or an InvalidMessageError', () => {
  const keys = [...Object.keys(plain().headers), 'compression', 'x-death', '__proto__']
  const headers = fc.dictionary(fc.constantFrom(...keys), fc.oneof(fc.anything(), fc.string(), fc.integer()))
  const properties = fc.record({ priority: fc.anything(), replyTo: fc.anything(), correlationId: fc.anything() }, { requiredKeys: [] })
  fc.assert(
    fc.property(headers, properties, (given, props) => {
      try {
        new TaskHead({ ...plain(given, props as Record<string, unknown>) })
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidMessageError)
      }
    }),
    { numRuns: 1000 },
  )
})
