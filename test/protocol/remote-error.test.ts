import assert from 'node:assert'
import { expect, test } from 'vitest'
import * as errors from '../../dist/errors.js'
import { errorToRemote, failureFrom, remoteToWire, wireToRemote } from '../../dist/protocol/remote-error.js'
import { decodeMeta, type ResultMeta } from '../../dist/protocol/result.js'
import { stored } from '../wire/recorded.js'

class CardDeclined extends Error {
  static python = { module: 'shop.errors', type: 'CardDeclined' }
}
class Stolen extends CardDeclined {}
class Plain extends Error {}

const failed: ResultMeta = { taskId: 'i', status: 'FAILURE', result: null, traceback: null, children: [], dateDone: null }

test.each<[string, unknown, string, string | null, unknown[]]>([
  ['a plain error', new Error('boom'), 'Error', 'node', ['boom']],
  ['a class of the user', new Plain('boom'), 'Plain', 'node', ['boom']],
  ['a class that names its Python class', new CardDeclined('no'), 'CardDeclined', 'shop.errors', ['no']],
  ['a child of such a class', new Stolen('no'), 'CardDeclined', 'shop.errors', ['no']],
  ['a TypeError', new TypeError('x'), 'TypeError', 'builtins', ['x']],
  ['a RangeError', new RangeError('x'), 'ValueError', 'builtins', ['x']],
  ['an AssertionError', caught(() => assert.equal(1, 2)), 'AssertionError', 'builtins', [expect.any(String)]],
  ['what AbortSignal.timeout() throws', new DOMException('too slow', 'TimeoutError'), 'TimeoutError', 'builtins', ['too slow']],
  ['a soft limit', new errors.SoftTimeLimitExceeded(5), 'SoftTimeLimitExceeded', 'billiard.exceptions', []],
  ['a hard limit', new errors.TimeLimitExceeded(5), 'TimeLimitExceeded', 'billiard.exceptions', [5]],
  ['a lost worker', new errors.WorkerLostError('gone'), 'WorkerLostError', 'billiard.exceptions', ['gone']],
  ['a revoked task', new errors.TaskRevokedError('i', 'expired'), 'TaskRevokedError', 'celery.exceptions', ['expired']],
  ['an unknown task', new errors.NotRegisteredError('t.x'), 'NotRegistered', 'celery.exceptions', ['t.x']],
  ['too many retries', new errors.MaxRetriesExceededError('no more'), 'MaxRetriesExceededError', 'celery.exceptions', ['no more']],
  [
    'wrong arguments',
    new errors.ArgumentsInvalidError('t', [{ path: 'x', message: 'is missing' }]),
    'TypeError',
    'builtins',
    ['invalid arguments for t: x: is missing'],
  ],
  [
    'a failure of another task',
    new errors.TaskFailure({ taskId: 'o', excType: 'KeyError', excModule: 'builtins', args: ['k'], traceback: null }),
    'KeyError',
    'builtins',
    ['k'],
  ],
  [
    'a failure with arguments that cannot be written',
    new errors.TaskFailure({ taskId: 'o', excType: 'E', excModule: null, args: [Number.NaN, 1n], traceback: null }),
    'E',
    null,
    ['nan', 1n],
  ],
  ['text', 'boom', 'Error', 'node', ['boom']],
  ['undefined', undefined, 'Error', 'node', ['the task threw undefined, which is not an Error']],
  ['a DOMException', new DOMException('stop', 'AbortError'), 'AbortError', 'node', ['stop']],
])('%s becomes what a Python peer expects', (_name, error, excType, excModule, excMessage) => {
  expect(errorToRemote(error)).toMatchObject({ excType, excModule, excMessage })
})

function caught(run: () => void): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}

test('the traceback has the stack, all causes and the errors of an AggregateError', () => {
  const root = new Error('root')
  const error = new Error('top', { cause: new AggregateError([root, 'text'], 'both') })
  const text = errorToRemote(error).traceback ?? ''
  expect(text).toContain('Error: top')
  expect(text).toContain('remote-error.test.ts')
  expect(text).toMatch(/Caused by: AggregateError: both[\s\S]*One of its errors: Error: root[\s\S]*One of its errors: text/)
})

test('a cause that goes in a circle ends', () => {
  const error = new Error('a')
  error.cause = new Error('b', { cause: error })
  expect(errorToRemote(error).traceback?.match(/Error: a\n/g)).toHaveLength(1)
})

test('an error that cannot be read is told as such', () => {
  const error = new Error('x')
  Object.defineProperty(error, 'message', {
    get() {
      throw new Error('no')
    },
  })
  expect(errorToRemote(error)).toMatchObject({ excType: 'Error', excMessage: ['an error that cannot be shown'] })
  expect(errorToRemote(new Proxy({}, { getPrototypeOf: () => { throw new Error('no') } }))).toMatchObject({ excType: 'Error' }) // biome-ignore format: one line
})

test('an error on the wire has the three keys of Python', () => {
  expect(remoteToWire(errorToRemote(new TypeError('x')))).toEqual({ exc_type: 'TypeError', exc_message: ['x'], exc_module: 'builtins' })
})

test('a recorded failure is told with its type, module, arguments and traceback', () => {
  const failure = failureFrom(decodeMeta(stored('failure')))
  expect(failure).toBeInstanceOf(errors.TaskFailure)
  expect(failure).toMatchObject({
    taskId: 'r-failure',
    excType: 'ValueError',
    excModule: 'builtins',
    args: ['boom', 42],
    message: 'boom, 42',
  })
  expect((failure as errors.TaskFailure).traceback).toContain('ValueError: boom')
})

test('a recorded revoke is told with its reason', () => {
  expect(failureFrom(decodeMeta(stored('revoked')))).toMatchObject({ code: 'ERR_TASK_REVOKED', taskId: 'r-revoked', reason: 'terminated' })
})

test('a failure without arguments has the name of its type as message', () => {
  const result = { exc_type: 'SoftTimeLimitExceeded', exc_message: [], exc_module: 'billiard.exceptions' }
  expect(failureFrom({ ...failed, result }).message).toBe('SoftTimeLimitExceeded')
})

test('a stored failure that names a module is data: nothing is looked up', () => {
  const result = { exc_module: 'child_process', exc_type: 'exec', exc_message: ['touch /tmp/x'] }
  expect(failureFrom({ ...failed, result })).toMatchObject({
    name: 'TaskFailure',
    excType: 'exec',
    excModule: 'child_process',
    args: ['touch /tmp/x'],
  })
})

test.each<[unknown, Record<string, unknown>]>([
  [null, { excType: 'Error', excModule: null, excMessage: [] }],
  ['text', { excType: 'Error', excMessage: ['text'] }],
  [[1], { excType: 'Error', excMessage: [[1]] }],
  [{}, { excType: 'Error', excMessage: [] }],
  [
    { exc_type: 'A', exc_message: 'one' },
    { excType: 'A', excModule: null, excMessage: ['one'] },
  ],
  [
    { exc_type: 1, exc_message: null, exc_module: 2 },
    { excType: 'Error', excModule: null, excMessage: [] },
  ],
])('the malformed failure %j is still an error', (wire, remote) => {
  expect(wireToRemote(wire, null)).toMatchObject(remote)
})
