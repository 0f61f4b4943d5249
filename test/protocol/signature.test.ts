import { expect, test } from 'vitest'
import { InvalidMessageError } from '../../dist/errors.js'
import { parseSignature } from '../../dist/protocol/signature.js'

test('the six keys are read', () => {
  const wire = { task: 't', args: [1], kwargs: { a: 1 }, options: { task_id: 'x' }, subtask_type: 'chain', immutable: true }
  expect(parseSignature(wire, 'link')).toEqual(wire)
})

test('keys that Python leaves out or writes as null are absent, also among the options', () => {
  expect(parseSignature({ task: 't', args: null, options: { chord: null, group_id: null, queue: 'q' }, immutable: null }, 'link')).toEqual({
    task: 't',
    args: [],
    kwargs: {},
    options: { queue: 'q' },
    subtask_type: null,
    immutable: false,
  })
})

test('an option named __proto__ is an option, and no prototype', () => {
  const { options } = parseSignature({ task: 't', options: JSON.parse('{"__proto__": {"polluted": 1}}') }, 'link')
  expect(Object.keys(options)).toEqual(['__proto__'])
  expect(Object.getPrototypeOf(options)).toBe(Object.prototype)
})

test.each<[string, unknown]>([
  ['link', 1],
  ['link.task', {}],
  ['link.task', { task: '' }],
  ['link.args', { task: 't', args: {} }],
  ['link.kwargs', { task: 't', kwargs: [] }],
  ['link.options', { task: 't', options: 1 }],
  ['link.subtask_type', { task: 't', subtask_type: 1 }],
  ['link.immutable', { task: 't', immutable: 1 }],
])('a signature that is wrong at %s is refused with that place', (where, value) => {
  expect(() => parseSignature(value, 'link')).toThrow(InvalidMessageError)
  expect(() => parseSignature(value, 'link')).toThrow(`expected ${where} to be`)
})
