import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InvalidMessageError } from '../../dist/errors.js'
import { upgradeProtocol1 } from '../../dist/protocol/protocol-1.js'
import { decodeBody } from '../../dist/protocol/task-body.js'
import { isProtocol2, TaskHead } from '../../dist/protocol/task-head.js'
import { decodeJson, json } from '../../dist/serializers/json.js'
import { message } from '../wire/recorded.js'

test('a recorded protocol 1 message becomes the same task in protocol 2', () => {
  const old = message('protocol-1')
  expect(isProtocol2(old)).toBe(false)
  const upgraded = upgradeProtocol1(old, decodeJson(old.body), json)
  expect(isProtocol2(upgraded)).toBe(true)
  expect(new TaskHead(upgraded)).toMatchObject({
    id: 'id-p1',
    task: 't.add',
    rootId: 'id-p1',
    timeLimit: 30,
    retries: 0,
    argsrepr: '(1, 2)',
    customHeaders: {},
  })
  expect(new TaskHead(upgraded).etaMs).toBeGreaterThan(0)
  expect(decodeBody(decodeJson(upgraded.body))).toMatchObject({
    args: [1, 2],
    kwargs: { k: [1] },
    embed: { callbacks: [{ task: 't.tsum' }], errbacks: null, chain: null },
  })
  expect(upgraded.properties).toEqual(old.properties)
})

test('a taskset of protocol 1 is the group', () => {
  const upgraded = upgradeProtocol1(message('protocol-1'), { task: 't', id: 'i', taskset: 'g', group_index: 2 }, json)
  expect(new TaskHead(upgraded)).toMatchObject({ group: 'g', groupIndex: 2 })
})

test('headers of the message go over those of the body', () => {
  const upgraded = upgradeProtocol1(
    { ...message('protocol-1'), headers: { retries: 4, mine: 1, compression: 'application/x-gzip' } },
    { task: 't', id: 'i' },
    json,
  )
  expect(new TaskHead(upgraded)).toMatchObject({ retries: 4, customHeaders: { mine: 1 }, compression: null })
})

test.each<[string, unknown]>([
  ['no task', { id: 'i' }],
  ['an array', [[], {}, {}]],
  ['text', 'hello'],
  ['null', null],
])('a body of %s is no protocol that is known', (_name, body) => {
  expect(() => upgradeProtocol1(message('protocol-1'), body, json)).toThrow('unknown protocol')
})

test('an argument that is not written again is told as such', () => {
  expect(() => upgradeProtocol1(message('protocol-1'), { task: 't', id: 'i', args: [Number.NaN] }, json)).toThrow(InvalidMessageError)
})

test('arguments of a wrong kind are refused', () => {
  expect(() => upgradeProtocol1(message('protocol-1'), { task: 't', id: 'i', args: 'ab' }, json)).toThrow(InvalidMessageError)
  expect(() => upgradeProtocol1(message('protocol-1'), { task: 't', id: 'i', kwargs: [] }, json)).toThrow(InvalidMessageError)
})

test('whatever an old body holds, reading it gives a head and a body or an InvalidMessageError', () => {
  const old = message('protocol-1')
  const key = fc.constantFrom(
    'task',
    'id',
    'args',
    'kwargs',
    'callbacks',
    'errbacks',
    'chord',
    'retries',
    'eta',
    'expires',
    'timelimit',
    'taskset',
    '__proto__',
  )
  const body = fc.dictionary(key, fc.oneof(fc.jsonValue(), fc.constant('t')))
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), body), (given) => {
      try {
        const upgraded = upgradeProtocol1(old, given, json)
        new TaskHead(upgraded)
        decodeBody(decodeJson(upgraded.body))
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidMessageError)
      }
    }),
    { numRuns: 1000 },
  )
})
