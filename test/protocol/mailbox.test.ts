import { expect, test } from 'vitest'
import { InvalidMessageError } from '../../dist/errors.js'
import { type Broadcast, decodeBroadcast, decodeRevoke, encodeBroadcast, encodeRevoke } from '../../dist/protocol/mailbox.js'
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
