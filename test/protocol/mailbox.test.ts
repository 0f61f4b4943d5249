import { expect, test } from 'vitest'
import { InvalidMessageError } from '../../dist/errors.js'
import {
  type Broadcast,
  decodeBroadcast,
  decodeReply,
  decodeRevoke,
  decodeSignal,
  encodeBroadcast,
  encodeReply,
  encodeRevoke,
  isMeant,
  matchesGlob,
} from '../../dist/protocol/mailbox.js'
import { decodeJson, json } from '../../dist/serializers/json.js'

const revoke: Broadcast = {
  method: 'revoke',
  arguments: encodeRevoke({ taskIds: ['a', 'b'], terminate: true, signal: 'SIGKILL' }),
  destination: null,
  pattern: null,
  matcher: null,
}

test('a broadcast has the body and headers that kombu writes', () => {
  const message = encodeBroadcast(revoke, json, { clock: 3, expiresAtMs: 1500 })
  expect(decodeJson(message.body)).toEqual({
    method: 'revoke',
    arguments: { task_id: ['a', 'b'], terminate: true, signal: 'SIGKILL' },
    destination: null,
    pattern: null,
    matcher: null,
  })
  expect(message.headers).toEqual({ clock: 3, expires: 1.5 })
  expect(encodeBroadcast(revoke, json, { clock: 1 }).headers.expires).toBe(0)
})

test('a broadcast is read back, with its ticket and where to answer', () => {
  const asking: Broadcast = {
    ...revoke,
    destination: ['w@h'],
    ticket: 't',
    replyTo: { exchange: 'reply.celery.pidbox', routingKey: 'oid' },
  }
  expect(decodeBroadcast(decodeJson(encodeBroadcast(asking, json, { clock: 1 }).body))).toEqual(asking)
  expect(decodeBroadcast({ method: 'ping' })).toEqual({ method: 'ping', arguments: {}, destination: null, pattern: null, matcher: null })
})

test('revoke takes one id or several, and any spelling of a signal', () => {
  expect(decodeRevoke({ task_id: 'a' })).toEqual({ taskIds: ['a'], terminate: false, signal: 'SIGTERM' })
  expect(decodeRevoke({ task_id: 'a', terminate: 1 }).terminate).toBe(true)
  expect(decodeRevoke({ task_id: 'a', terminate: 0 }).terminate).toBe(false)
  expect(decodeRevoke({ task_id: ['a', 'b'], terminate: true, signal: 'kill' })).toEqual({
    taskIds: ['a', 'b'],
    terminate: true,
    signal: 'SIGKILL',
  })
  expect(encodeRevoke({ taskIds: ['a'], terminate: false, signal: 'SIGTERM' })).toEqual({
    task_id: 'a',
    terminate: false,
    signal: 'SIGTERM',
  })
})

test.each<[string, unknown]>([
  ['text', 'revoke'],
  ['no method', {}],
  ['arguments an array', { method: 'm', arguments: [] }],
  ['destination text', { method: 'm', destination: 'w@h' }],
  ['pattern a number', { method: 'm', pattern: 1 }],
  ['matcher unknown', { method: 'm', matcher: 'regex' }],
  ['reply_to without routing_key', { method: 'm', reply_to: { exchange: 'e' } }],
])('a broadcast of %s is refused', (_name, value) => {
  expect(() => decodeBroadcast(value)).toThrow(InvalidMessageError)
})

test.each<[string, Record<string, unknown>]>([
  ['no id', {}],
  ['an id with a line break', { task_id: 'a\nb' }],
  ['ids of numbers', { task_id: [1] }],
  ['terminate text', { task_id: 'a', terminate: 'yes' }],
  ['a signal of commands', { task_id: 'a', signal: 'KILL; rm' }],
])('a revoke with %s is refused', (_name, args) => {
  expect(() => decodeRevoke(args)).toThrow(InvalidMessageError)
})

test.each<[string, string, boolean]>([
  ['*', 'w@h', true],
  ['w*@h', 'web-1@h', true],
  ['w*@h', 'web-1@hh', false],
  ['w?@h', 'w1@h', true],
  ['w?@h', 'w@h', false],
  ['[ab]@h', 'a@h', true],
  ['[!ab]@h', 'a@h', false],
  ['[a-c]1@h', 'b1@h', true],
  ['[a-c]1@h', 'd1@h', false],
  ['w[@h', 'w[@h', true],
  ['.*', 'w@h', false],
  ['', '', true],
])('the pattern %j over %j: %j', (pattern, name, fits) => {
  expect(matchesGlob(pattern, name)).toBe(fits)
})

test('a pattern of many stars costs no more than its length', () => {
  const from = performance.now()
  expect(matchesGlob('*a'.repeat(200), 'a'.repeat(200).concat('b'))).toBe(false)
  // Some milliseconds, or for ever.
  expect(performance.now() - from).toBeLessThan(20_000)
})

test('a request means the workers of its destination, else those that fit its pattern, else all', () => {
  const request = { ...revoke, destination: null, pattern: null, matcher: null } as Broadcast
  expect(isMeant(request, 'w@h')).toBe(true)
  expect(isMeant({ ...request, destination: ['x@h'] }, 'w@h')).toBe(false)
  expect(isMeant({ ...request, destination: ['x@h', 'w@h'], pattern: 'nobody', matcher: 'glob' }, 'w@h')).toBe(true)
  expect(isMeant({ ...request, pattern: 'x*', matcher: 'glob' }, 'w@h')).toBe(false)
  expect(isMeant({ ...request, pattern: '.*', matcher: 'pcre' }, 'w@h')).toBe(false)
})

test('an answer has its worker as its only key, its ticket and the logical time', () => {
  const message = encodeReply('w@h', { ok: 'pong' }, json, { ticket: 't', clock: 4 })
  expect(decodeJson(message.body)).toEqual({ 'w@h': { ok: 'pong' } })
  expect(message.headers).toEqual({ ticket: 't', clock: 4 })
  expect(decodeReply(decodeJson(message.body))).toEqual({ hostname: 'w@h', reply: { ok: 'pong' } })
  expect(decodeJson(encodeReply('w@h', undefined, json, { ticket: 't', clock: 4 }).body)).toEqual({ 'w@h': null })
  for (const none of [null, {}, { a: 1, b: 2 }, 'x']) expect(() => decodeReply(none)).toThrow(InvalidMessageError)
})

test('a signal has a name, in any spelling, or a number', () => {
  for (const [given, name] of [
    ['TERM', 'SIGTERM'],
    ['sigkill', 'SIGKILL'],
    [9, 'SIGKILL'],
    [null, 'SIGTERM'],
    [undefined, 'SIGTERM'],
  ] as const)
    expect(decodeSignal(given)).toBe(name)
  for (const none of [{}, 'KILL; rm', true, 0.5]) expect(() => decodeSignal(none)).toThrow(InvalidMessageError)
})
