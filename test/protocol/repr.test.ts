import fc from 'fast-check'
import { expect, test } from 'vitest'
import { repr, reprArgs } from '../../dist/protocol/repr.js'

test.each<[unknown, string]>([
  [null, 'None'],
  [undefined, 'None'],
  [true, 'True'],
  [false, 'False'],
  [1, '1'],
  [-1.5, '-1.5'],
  [1e100, '1e+100'],
  [1e-7, '1e-07'],
  [1e-10, '1e-10'],
  [Number.NaN, 'nan'],
  [Number.NEGATIVE_INFINITY, '-inf'],
  [10n ** 20n, '100000000000000000000'],
  ['two', "'two'"],
  ["it's", "'it\\'s'"],
  ['a"b', "'a\"b'"],
  ['é\n', "'é\n'"],
  [[], '[]'],
  [[1, [2]], '[1, [2]]'],
  [{}, '{}'],
  [{ a: 1, 'b c': [1, 2, { c: { d: 1 } }] }, "{'a': 1, 'b c': [1, 2, {'c': {...}}]}"],
  [[[[[1]]]], '[[[[...]]]]'],
  [new Set([1, 2]), '{1, 2}'],
  [new Set(), 'set()'],
  [new Map([['a', 1]]), "{'a': 1}"],
  [new Uint8Array([97, 98]), "b'ab'"],
  [new Uint8Array([255, 0]), "b'ff00'"],
  [new Date(0), 'datetime(1970-01-01T00:00:00.000Z)'],
  [() => 1, '<function>'],
  [Symbol('x'), '<symbol>'],
  [new TypeError('no'), "TypeError('no')"],
])('%o is shown as %s', (value, text) => {
  expect(repr(value)).toBe(text)
})

test('positional arguments are a tuple', () => {
  expect(reprArgs([])).toBe('()')
  expect(reprArgs([1])).toBe('(1,)')
  expect(reprArgs([1, 2])).toBe('(1, 2)')
  expect(reprArgs([[1], 'x'])).toBe("([1], 'x')")
})

test('a list that is too long ends in dots, with its brackets closed', () => {
  const text = repr({ list: Array.from({ length: 10_000 }, (_, index) => index) })
  expect(text).toMatch(/^\{'list': \[0, 1, .*, \.\.\.\]\}$/)
  expect(text.length).toBeLessThan(1100)
})

test('a string that is too long is cut', () => {
  expect(repr('x'.repeat(5000))).toMatch(/^'x+\.\.\.'$/)
  expect(repr('x'.repeat(1_000_000)).length).toBeLessThan(1100)
  // Not within a character: no peer could write the half of one.
  for (const before of ['', 'x']) {
    const text = repr(before + '😀'.repeat(3_000))
    expect(Buffer.from(text).toString()).toBe(text)
  }
})

test('the length and the depth can be set', () => {
  expect(repr([[1]], { maxDepth: 1 })).toBe('[[...]]')
  expect(repr([1, 2, 3, 4, 5, 6], { maxLength: 5 })).toBe('[1, 2, ...]')
})

test('a cycle and an object that throws are shown, and not followed', () => {
  const cycle: unknown[] = []
  cycle.push(cycle)
  expect(repr(cycle)).toBe('[[...]]')
  const thrower = {
    get a(): never {
      throw new Error('no')
    },
  }
  expect(repr(thrower)).toContain('<unrepresentable>')
  expect(repr(new Proxy({}, { ownKeys: () => { throw new Error('no') } }))).toBe('<unrepresentable>') // biome-ignore format: one line
})

test('any value has a repr, and a short one', () => {
  const anything = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true })
  fc.assert(fc.property(anything, (value) => repr(value).length < 3000))
})
