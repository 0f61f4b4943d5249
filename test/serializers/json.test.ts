import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DecodeError, EncodeError } from '../../dist/errors.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import { decodeJson, encodeJson } from '../../dist/serializers/json.js'
import { message } from '../wire/recorded.js'

const thrower = (): never => {
  throw new Error('no')
}
const cycle: Record<string, unknown> = { a: {} }
cycle.a = { back: [cycle] }
const deep = (levels: number): unknown => {
  let value: unknown = 1
  for (let level = 0; level < levels; level++) value = [value]
  return value
}

test.each<[unknown, string]>([
  [undefined, 'null'],
  [null, 'null'],
  [[undefined, 1], '[null,1]'],
  [{ a: undefined, b: 1 }, '{"b":1}'],
  [{ a: undefined, b: 1n }, '{"b":1}'],
  [10n ** 30n, '1000000000000000000000000000000'],
  [[-(2n ** 63n), 1], '[-9223372036854775808,1]'],
  [new Date(Date.UTC(2024, 0, 2, 3, 4, 5, 678)), '{"__type__":"datetime","__value__":"2024-01-02T03:04:05.678000+00:00"}'],
  [new Uint8Array([97, 98, 99]), '{"__type__":"bytes","__value__":"abc"}'],
  [Buffer.from([255, 0]), '{"__type__":"base64","__value__":"/wA="}'],
  [[new JsonText('{"a": 1}'), 2], '[{"a": 1},2]'],
  [{ at: { toJSON: () => ({ n: 1n }) } }, '{"at":{"n":1}}'],
  [new URL('http://a.b/'), '"http://a.b/"'],
  ['a\ud800', '"a\\ud800"'],
  [[['a\ud800', 1n]], '[["a\\ud800",1]]'],
  [Object.create(null, { a: { value: 1, enumerable: true } }), '{"a":1}'],
  [JSON.parse('{"__proto__": {"a": 1}}'), '{"__proto__":{"a":1}}'],
  [JSON.parse('{"__proto__": {"a": 1}, "b": 1}', (key, value) => (key === 'b' ? 1n : value)), '{"__proto__":{"a":1},"b":1}'],
  [{ __type__: 'x' }, '{"__type__":"x"}'],
  [{ __type__: 'x', __value__: 1, more: 1 }, '{"__type__":"x","__value__":1,"more":1}'],
  [-0, '0'],
])('%o is written as %s', (value, text) => {
  expect(encodeJson(value, 'v')).toBe(text)
})

test.each<[string, unknown, string]>([
  ['a function', { user: { name: thrower } }, 'v.user.name is a function'],
  ['a symbol', [Symbol('x')], 'v[0] is a symbol'],
  ['a Map', { 'a-b': new Map() }, 'v["a-b"] is a Map'],
  ['a Set', [[new Set()]], 'v[0][0] is a Set'],
  ['a Promise', [Promise.resolve()], 'v[0] is a Promise: await it first'],
  ['a class instance', { a: new (class Point {})() }, 'v.a is an instance of Point'],
  ['an Error', [new TypeError('x')], 'v[0] is an instance of TypeError'],
  ['a RegExp', [/x/], 'v[0] is an instance of RegExp'],
  ['another typed array', [new Float64Array(1)], 'v[0] is an instance of Float64Array'],
  ['a cycle', cycle, 'v.a.back[0] refers back to an object that holds it'],
  ['an invalid Date', [new Date(Number.NaN)], 'v[0] is an invalid Date'],
  ['a Date that Python does not have', [new Date(8.64e15)], 'v[0] is a Date outside the years 1 to 9999'],
  ['NaN', { a: Number.NaN }, 'v.a is NaN'],
  ['Infinity', { a: [Number.POSITIVE_INFINITY] }, 'v.a[0] is Infinity'],
  [
    'a getter that throws',
    Object.defineProperty({}, 'x', { get: thrower, enumerable: true }),
    'v.x cannot be read: its getter threw Error: no',
  ],
  ['a proxy that throws', { p: new Proxy({}, { ownKeys: thrower }) }, 'v.p cannot be read: Error: no'],
  [
    'a proxy that throws at everything',
    { p: new Proxy({}, { ownKeys: thrower, get: thrower, has: thrower, getPrototypeOf: thrower }) },
    'v.p cannot be read: Error: no',
  ],
  ['a revoked proxy', { p: revoked() }, 'v.p cannot be read: TypeError'],
  ['a toJSON that throws', { p: { toJSON: thrower } }, 'v.p cannot be read: its toJSON() threw Error: no'],
  ['a toJSON that gives itself', selfish(), 'is nested more than 200 levels deep'],
  ['what kombu takes for a tag', { __type__: 'x', __value__: 1 }, 'v has exactly the keys __type__ and __value__'],
  ['201 levels', deep(201), 'is nested more than 200 levels deep'],
])('%s is refused with its path', (_name, value, sentence) => {
  expect(() => encodeJson(value, 'v')).toThrow(EncodeError)
  expect(() => encodeJson(value, 'v')).toThrow(sentence)
})

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function selfish(): object {
  const object = { toJSON: () => ({ again: object }) }
  return object
}

test('a value that appears twice, but not within itself, is no cycle', () => {
  const shared = { a: 1n }
  expect(encodeJson([shared, { shared }], 'v')).toBe('[{"a":1},{"shared":{"a":1}}]')
})

test('200 levels are written and read, 201 are not', () => {
  expect(decodeJson(encodeJson(deep(200), 'v'))).toEqual(deep(200))
  for (const levels of [201, 100_000]) {
    expect(() => decodeJson('['.repeat(levels) + ']'.repeat(levels))).toThrow(DecodeError)
    expect(() => decodeJson(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`)).toThrow('nested more than 200 levels')
    expect(() => decodeJson(`[NaN,${'['.repeat(levels)}${']'.repeat(levels)}]`)).toThrow('nested more than 200 levels')
  }
})

test('the types of a recorded message become JavaScript values', () => {
  const [[tags]] = decodeJson(message('tags').body) as [[unknown]]
  expect(tags).toEqual({
    datetime: new Date(Date.UTC(2024, 0, 2, 3, 4, 5, 678)),
    aware: new Date(Date.UTC(2024, 0, 2, 2, 4, 5)),
    date: '2024-01-02',
    time: '03:04:05.000006',
    decimal: '1.50',
    uuid: '12345678-1234-5678-1234-567812345678',
    bytes: new Uint8Array([97, 98, 99]),
    base64: new Uint8Array([255, 0]),
  })
})

test('NaN, Infinity and integers of any size are read from a recorded message', () => {
  const [[numbers]] = decodeJson(message('numbers').body) as [[unknown]]
  expect(numbers).toEqual([
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    2n ** 53n,
    Number.MAX_SAFE_INTEGER,
    -(2n ** 63n),
    10n ** 40n,
    1e300,
    1e-7,
    123456789.12345679,
  ])
})

test('digits of a fraction or in a text do not make a BigInt', () => {
  const text = '[0.1234567890123456789, "12345678901234567890", 12345678901234567890.5, 1234567890123456789e2]'
  expect(decodeJson(text)).toEqual(JSON.parse(text))
})

test('a number beyond 2^53 is written as a float, and stays a number', () => {
  expect(encodeJson([2 ** 60, -(2 ** 53), 1e21, 2 ** 53 - 1], 'v')).toBe(
    '[1152921504606846976.0,-9007199254740992.0,1e+21,9007199254740991]'.replace('1152921504606846976', String(2 ** 60)),
  )
  expect(decodeJson(encodeJson([2 ** 60, 1e21], 'v'))).toEqual([2 ** 60, 1e21])
})

test('an integer of more digits than Python reads is refused', () => {
  expect(() => decodeJson('9'.repeat(4301))).toThrow('over the limit of 4300')
  expect(decodeJson('9'.repeat(4300))).toBe(10n ** 4300n - 1n)
})

test.each<[string, string]>([
  ['an unknown type', '{"__type__": "pickle", "__value__": "x"}'],
  ['a type that is not text', '{"__type__": {"a": 1}, "__value__": "x"}'],
  ['a type from the prototype', '{"__type__": "constructor", "__value__": "x"}'],
  ['a datetime of nonsense', '{"__type__": "datetime", "__value__": "now"}'],
  ['a datetime of a number', '{"__type__": "datetime", "__value__": 1}'],
  ['a date of nonsense', '{"__type__": "date", "__value__": "1.2.3"}'],
  ['a decimal of nonsense', '{"__type__": "decimal", "__value__": "1,5"}'],
  ['a uuid too short', '{"__type__": "uuid", "__value__": {"hex": "12"}}'],
  ['base64 with other characters', '{"__type__": "base64", "__value__": "ab!="}'],
  ['bytes of half a character', '{"__type__": "bytes", "__value__": "\\ud800"}'],
  ['an unknown type with escaped underscores', '{"\\u005f_type__": "pickle", "__value__": "x"}'],
])('a tag with %s is refused', (_name, text) => {
  expect(() => decodeJson(text)).toThrow(DecodeError)
})

test('an object with more or fewer keys than a tag is an object', () => {
  expect(decodeJson('{"__type__": "date"}')).toEqual({ __type__: 'date' })
  expect(decodeJson('{"__type__": "x", "__value__": 1, "c": 2}')).toEqual({ __type__: 'x', __value__: 1, c: 2 })
})

test.each([
  '{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}',
  '{"__proto__": {"polluted": 1}, "n": 12345678901234567890}',
])('keys named __proto__ and constructor are own keys, and change no prototype: %s', (text) => {
  const value = decodeJson(text) as Record<string, unknown>
  expect(Object.hasOwn(value, '__proto__')).toBe(true)
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  expect(({} as { polluted?: number }).polluted).toBeUndefined()
  expect(decodeJson(encodeJson(value, 'v'))).toEqual(value)
})

test.each([
  '',
  ' ',
  '{',
  '[1,]',
  '{"a":1,}',
  "{'a': 1}",
  '[1 2]',
  'nan',
  'undefined',
  '01',
  '+1',
  '.5',
  '1.',
  '"a',
  '"\t"',
  '"\\x41"',
  '[1]]',
  '\ufeff[1]',
  '{"a" 1}',
  '{1: 2}',
  'NaNa',
  '-NaN',
  '[12345678901234567890',
  '{"__type__": "date"',
  '[NaN',
])('%j is no JSON', (text) => {
  expect(() => decodeJson(text)).toThrow(DecodeError)
})

test('bytes are UTF-8, and nothing else', () => {
  expect(decodeJson(Buffer.from('["é"]'))).toEqual(['é'])
  expect(() => decodeJson(new Uint8Array([0x22, 0xff, 0x22]))).toThrow('not valid UTF-8')
})

const scalars = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n)),
)
const special = fc.oneof(
  fc.bigInt().filter((n) => !Number.isSafeInteger(Number(n))),
  fc.date({ noInvalidDate: true, min: new Date('0001-01-01'), max: new Date('9999-12-31') }),
  fc.uint8Array(),
)
const tree = (leaf: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.oneof(fc.string(), fc.constant('__proto__')), tie('value'), { maxKeys: 4 }),
    ),
  })).value

test('what is written is read back as it was: plain values', () => {
  fc.assert(
    fc.property(tree(scalars), (value) => {
      expect(decodeJson(encodeJson(value, 'v'))).toEqual(plain(value))
    }),
    { numRuns: 500 },
  )
})

test('what is written is read back as it was: with big integers, dates and bytes', () => {
  fc.assert(
    fc.property(tree(fc.oneof(scalars, special)), (value) => {
      expect(decodeJson(encodeJson(value, 'v'))).toEqual(plain(value))
    }),
    { numRuns: 500 },
  )
})

/** The value with ordinary prototypes: fast-check also makes objects without one. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

test('the slow reader reads the same language as JSON.parse', () => {
  fc.assert(
    fc.property(tree(scalars), fc.constantFrom(0, 1, 2), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      expect(decodeJson(`[NaN,${text}]`)).toEqual([Number.NaN, decodeJson(text)])
    }),
    { numRuns: 500 },
  )
})

test('whatever the text is, reading it gives a value or a DecodeError', () => {
  const pieces = fc.array(
    fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '1',
      '-',
      '.',
      'e',
      'NaN',
      'Infinity',
      'null',
      '"__type__"',
      '"__value__"',
      '"datetime"',
      '\\u005f',
      '12345678901234567890',
      ' ',
      'é',
    ),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        pieces.map((parts) => parts.join('')),
        fc.uint8Array(),
      ),
      (data) => {
        try {
          decodeJson(data)
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError)
        }
      },
    ),
    { numRuns: 3000 },
  )
})

test('whatever the value is, writing it gives text or an EncodeError', () => {
  fc.assert(
    fc.property(
      fc.anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSet: true,
        withTypedArray: true,
        withNullPrototype: true,
        withSparseArray: true,
        withBoxedValues: true,
      }),
      (value) => {
        try {
          expect(decodeJson(encodeJson(value, 'v'))).toBeDefined()
        } catch (error) {
          expect(error).toBeInstanceOf(EncodeError)
        }
      },
    ),
    { numRuns: 2000 },
  )
})
