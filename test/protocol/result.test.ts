import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DecodeError, EncodeError } from '../../dist/errors.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import { decodeMeta, encodeMeta, isReady, type ResultMeta } from '../../dist/protocol/result.js'
import { decodeJson } from '../../dist/serializers/json.js'
import { recordings, stored } from '../wire/recorded.js'

const meta: ResultMeta = {
  taskId: 'i',
  status: 'SUCCESS',
  result: 3,
  traceback: null,
  children: [],
  dateDone: '2026-11-22T16:47:58.141854+00:00',
}

test.each(recordings('results'))('the recorded result %s is read, and written again as Python wrote it', (name) => {
  const read = decodeMeta(stored(name))
  const again = encodeMeta(read)
  // failure-nested has a Decimal, which is text here; success has a datetime, which we write with its offset.
  if (name !== 'failure-nested' && name !== 'success')
    expect(JSON.stringify(JSON.parse(again))).toBe(JSON.stringify(JSON.parse(stored(name))))
  expect(Object.keys(JSON.parse(again))).toEqual(Object.keys(JSON.parse(stored(name))))
  expect(decodeJson(again)).toEqual(decodeJson(stored(name)))
})

test('children of a recorded group member are result tuples', () => {
  expect(decodeMeta(stored('group-member'))).toMatchObject({
    groupId: 'g1',
    parentId: 'p1',
    children: [
      [['child', null], null],
      [
        ['gc', null],
        [
          [['m1', null], null],
          [['m2', null], null],
        ],
      ],
    ],
  })
})

test('an extended result has the call and its stamps', () => {
  expect(decodeMeta(stored('extended'))).toMatchObject({
    name: 't.add',
    args: [1, 2],
    kwargs: { k: 1 },
    worker: 'w@h',
    retries: 1,
    queue: 'celery',
    stampedHeaders: ['tenant'],
    stamps: { tenant: 'acme' },
  })
})

test('a result that is JSON already goes in unparsed', () => {
  expect(encodeMeta({ ...meta, result: new JsonText('{"n": 12345678901234567890}') })).toContain(
    '"result":{"n": 12345678901234567890},"traceback"',
  )
})

test('a result that cannot be written is named by its path', () => {
  expect(() => encodeMeta({ ...meta, result: { a: { b: new Map() } } })).toThrow(EncodeError)
  expect(() => encodeMeta({ ...meta, result: { a: { b: new Map() } } })).toThrow('result.a.b is a Map')
})

test('a stamp does not take the place of a key of the meta', () => {
  const text = encodeMeta({ ...meta, name: 't', stampedHeaders: ['status', 'mine'], stamps: { status: 'FAILURE', mine: 1 } })
  expect(decodeMeta(text)).toMatchObject({ status: 'SUCCESS', stamps: { mine: 1 } })
  expect(text.match(/"status"/g)).toHaveLength(2)
})

test('only SUCCESS, FAILURE and REVOKED are ready', () => {
  const states = ['PENDING', 'STARTED', 'RETRY', 'PROGRESS', 'SUCCESS', 'FAILURE', 'REVOKED']
  expect(states.filter(isReady)).toEqual(['SUCCESS', 'FAILURE', 'REVOKED'])
})

test.each<[string, string]>([
  ['no JSON', 'nope'],
  ['an array', '[]'],
  ['null', 'null'],
  ['no status', '{"result": 1, "task_id": "i"}'],
  ['no task_id', '{"status": "SUCCESS", "result": 1}'],
  ['no result', '{"status": "SUCCESS", "task_id": "i"}'],
  ['a number as status', '{"status": 1, "result": 1, "task_id": "i"}'],
  ['a number as task_id', '{"status": "SUCCESS", "result": 1, "task_id": 1}'],
])('a stored text with %s is refused', (_name, text) => {
  expect(() => decodeMeta(text)).toThrow(DecodeError)
})

test('other keys of a wrong kind count as absent', () => {
  const text =
    '{"status":"SUCCESS","result":null,"task_id":"i","children":["x",[["c",null],null],[[1,null],null]],"traceback":1,"date_done":2,"retries":"x","stamped_headers":1}'
  expect(decodeMeta(text)).toEqual({
    taskId: 'i',
    status: 'SUCCESS',
    result: null,
    traceback: null,
    dateDone: null,
    children: [[['c', null], null]],
  })
})

test('whatever is stored, reading it gives a meta or a DecodeError', () => {
  const field = fc.oneof(fc.jsonValue(), fc.constantFrom('SUCCESS', 'i', null))
  const record = fc.record(
    { status: field, result: field, task_id: field, children: fc.array(fc.jsonValue()), stamped_headers: field },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        record.map((value) => JSON.stringify(value)),
      ),
      (text) => {
        try {
          decodeMeta(text)
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
        }
      },
    ),
    { numRuns: 1000 },
  )
})
