import zlib, { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ContentDisallowedError,
  DecodeError,
  EncodeError,
  NotSupportedError,
  OptionInvalidError,
  TooLargeError,
} from '../../dist/errors.js'
import { decodeBody } from '../../dist/protocol/task-body.js'
import { encodeTask } from '../../dist/protocol/task-message.js'
import { Serializers } from '../../dist/serializers/index.js'
import { message } from '../wire/recorded.js'

const serializers = new Serializers()
const all = { accept: ['json', 'msgpack', 'yaml'] }
const content = (name: string) => ({ ...message(name), compression: (message(name).headers.compression as string | undefined) ?? null })
const hasZstd = 'zstdDecompressSync' in zlib

test('a serializer has a name and a content type, and both find it', async () => {
  for (const [name, contentType] of [
    ['json', 'application/json'],
    ['msgpack', 'application/x-msgpack'],
    ['yaml', 'application/x-yaml'],
  ] as const) {
    expect((await serializers.get(name)).contentType).toBe(contentType)
    expect(await serializers.get(contentType)).toBe(await serializers.get(name))
  }
})

test('an unknown serializer is told by name, pickle with the reason', () => {
  expect(() => serializers.get('xml')).toThrow(OptionInvalidError)
  expect(() => serializers.get('constructor')).toThrow(OptionInvalidError)
  expect(() => serializers.get('pickle')).toThrow(NotSupportedError)
  expect(() => serializers.get('application/x-python-serialize')).toThrow('runs code that the message brings')
})

test.each(['msgpack', 'yaml'])('a recorded body in %s is read', async (name) => {
  const { args, kwargs, embed } = decodeBody(await serializers.decode(content(name), all))
  expect(args).toEqual([1, ['é', 2 ** 40, null, true, -1.5, 'yes']])
  expect(kwargs).toEqual({ k: { b: 1 } })
  expect(embed).toEqual({ callbacks: null, errbacks: null, chain: null, chord: null })
})

test.each(['zlib', 'brotli', ...(hasZstd ? ['zstd'] : [])])('a recorded body compressed with %s is read', async (name) => {
  expect(decodeBody(await serializers.decode(content(name), all)).args).toEqual([1, 'x'.repeat(2000)])
})

test.each(['bzip2', 'lzma', ...(hasZstd ? [] : ['zstd'])])('a recorded body compressed with %s is refused in words', (name) => {
  expect(() => serializers.decode(content(name), all)).toThrow(DecodeError)
  expect(() => serializers.decode(content(name), all)).toThrow(/Use gzip/)
})

test('a type that is not accepted is refused before its bytes are looked at', () => {
  const untouchable = new Proxy({} as Uint8Array, { get: () => { throw new Error('looked') } }) // biome-ignore format: one line
  const pickle = {
    body: untouchable,
    contentType: 'application/x-python-serialize',
    contentEncoding: 'binary',
    compression: 'application/x-gzip',
  }
  expect(() => serializers.decode(pickle, all)).toThrow(ContentDisallowedError)
  expect(() => serializers.decode({ ...content('msgpack'), body: untouchable }, { accept: ['json'] })).toThrow(
    'acceptContent allows: application/json',
  )
  expect(() => serializers.decode({ ...content('add'), contentType: 'application/data' }, all)).toThrow(ContentDisallowedError)
})

test('an encoding that nobody writes is refused', () => {
  expect(() => serializers.decode({ ...content('add'), contentEncoding: 'utf-7' }, all)).toThrow(DecodeError)
})

test.each(['zlib', 'gzip', 'brotli'])('a body compressed with %s is read back', async (name) => {
  const plain = encodeTask({ id: 'i', task: 't', args: ['é'.repeat(1000)], kwargs: {} }, await serializers.get('json'))
  const compressed = serializers.compress(plain, name)
  expect(compressed.body.length).toBeLessThan(plain.body.length)
  expect(await serializers.decode({ ...compressed, compression: compressed.headers.compression as string }, all)).toEqual([
    ['é'.repeat(1000)],
    {},
    expect.anything(),
  ])
})

test('gzip is a zlib stream, as Python has it; a gzip file is refused', async () => {
  const compressed = serializers.compress(message('add'), 'gzip')
  expect(compressed.headers.compression).toBe('application/x-gzip')
  expect([...(compressed.body as Uint8Array).subarray(0, 2)]).toEqual([0x78, 0x9c])
  expect(() => serializers.decode({ ...content('zlib'), body: gzipSync('[[],{},{}]') }, all)).toThrow(DecodeError)
})

test('compressors that Node cannot do are refused in words', () => {
  expect(() => serializers.compress(message('add'), 'bzip2')).toThrow(
    'bzip2 compression is not supported: Node has no bzip2. Use gzip, brotli or zstd',
  )
  expect(() => serializers.compress(message('add'), 'xz')).toThrow(NotSupportedError)
  expect(() => serializers.compress(message('add'), 'rar')).toThrow(OptionInvalidError)
})

test('a body that grows over the limit is refused, without growing', () => {
  const bomb = { ...content('zlib'), body: zlib.deflateSync(Buffer.alloc(64 * 1024 * 1024)) }
  expect(() => serializers.decode(bomb, all)).toThrow(TooLargeError)
  expect(() => new Serializers({ maxBytes: 1000 }).decode(content('zlib'), all)).toThrow('over the limit of 1000')
})

test('a body that grows by more than any text would is refused below the limit too', () => {
  const bomb = { ...content('brotli'), body: zlib.brotliCompressSync(Buffer.alloc(8 * 1024 * 1024)) }
  expect(() => serializers.decode(bomb, all)).toThrow(TooLargeError)
})

test('a body that compresses so well that no reader would take it is sent as it is', () => {
  const large = { ...message('add'), body: 'x'.repeat(8 * 1024 * 1024) }
  expect(serializers.compress(large, 'brotli')).toBe(large)
})

test('a body over the limit is refused before it is decoded', () => {
  expect(() => new Serializers({ maxBytes: 10 }).decode(content('add'), all)).toThrow(TooLargeError)
  expect(() => new Serializers({ maxBytes: null }).decode(content('add'), all)).not.toThrow()
})

test.each(['msgpack', 'yaml'])('%s names the path of what it cannot write', async (name) => {
  const serializer = await serializers.get(name)
  expect(() => encodeTask({ id: 'i', task: 't', args: [{ user: { name: () => 1 } }], kwargs: {} }, serializer)).toThrow(
    'args[0].user.name is a function',
  )
  expect(() => encodeTask({ id: 'i', task: 't', args: [], kwargs: { a: new Map() } }, serializer)).toThrow('kwargs.a is a Map')
})

test('msgpack writes integers as integers, dates not at all', async () => {
  const msgpack = await serializers.get('msgpack')
  for (const value of [
    2 ** 40,
    -(2 ** 40),
    2 ** 31,
    -(2 ** 31) - 1,
    Number.MAX_SAFE_INTEGER,
    2n ** 63n,
    -(2n ** 63n),
    0.5,
    1e300,
    new Uint8Array([1, 255]),
  ]) {
    expect(msgpack.decode(msgpack.encode(value, 'v'))).toEqual(value)
  }
  expect(Buffer.from(msgpack.encode(2 ** 40, 'v') as Uint8Array).toString('hex')).toBe('cf0000010000000000')
  expect(() => msgpack.encode([new Date(0)], 'v')).toThrow('v[0] is a Date, which msgpack cannot hold')
  expect(() => msgpack.encode([2n ** 64n], 'v')).toThrow('more than 64 bits')
})

test('msgpack extensions, deep nesting and damaged bytes are refused', async () => {
  const msgpack = await serializers.get('msgpack')
  for (const hex of [
    'd6ff00000000',
    'd40501',
    'c1',
    '92',
    '81a95f5f70726f746f5f5f01',
    '91'.repeat(300),
    '91'.repeat(100_000),
    'dfffffffff',
    'ddffffffff',
    'c6ffffffff',
  ]) {
    expect(() => msgpack.decode(Buffer.from(hex, 'hex')), hex.slice(0, 20)).toThrow(DecodeError)
  }
})

test('YAML is the YAML 1.1 of PyYAML: texts that would be something else are quoted, keys are sorted', async () => {
  const yaml = await serializers.get('yaml')
  const value = {
    b: 'yes',
    a: ['no', 'on', '1', '1_000', '0x1f', '2024-01-02', 'null', '~', '', ' x ', '1:30', '<<', '=', '1e3', 'é\n'],
    c: 2n ** 70n,
  }
  const text = yaml.encode(value, 'v')
  expect(text).toMatch(/^\{"a": \["no", .*\], "b": "yes", "c": 1180591620717411303424\}\n$/)
  expect(yaml.decode(text)).toEqual(value)
  expect(yaml.decode('a: yes\nb: 0o7\nc: 1_000\nd: ~\n')).toEqual({ a: true, b: '0o7', c: 1000, d: null })
  expect(yaml.decode('!!binary /wA=')).toEqual(new Uint8Array([255, 0]))
  expect(yaml.decode(yaml.encode(new Date(0), 'v'))).toEqual(new Date(0))
})

test.each<[string, string]>([
  ['a Python object', '!!python/object/apply:os.system ["true"]'],
  ['an unknown tag', '!thing 1'],
  [
    'an alias bomb',
    `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
      .split('')
      .map((key, index) => `${key}: &${key} [${Array(9).fill(`*${'abcdefgh'[index]}`).join(',')}]`)
      .join('\n')}`,
  ],
  ['an alias of itself', 'a: &a [*a]'],
  ['broken text', 'a: [1'],
  ['two documents', 'a\n---\nb\n'],
  ['deep nesting', '['.repeat(300) + ']'.repeat(300)],
])('YAML with %s is refused', async (_name, text) => {
  const yaml = await serializers.get('yaml')
  expect(() => yaml.decode(text)).toThrow(DecodeError)
})

test('a YAML key named __proto__ changes no prototype', async () => {
  const yaml = await serializers.get('yaml')
  const value = yaml.decode('__proto__:\n  polluted: 1\n')
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  expect(({} as { polluted?: number }).polluted).toBeUndefined()
})

test.each(['msgpack', 'yaml'])('whatever the bytes are, %s gives a value or a DecodeError', async (name) => {
  const serializer = await serializers.get(name)
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.string({ maxLength: 64 })), (data) => {
      try {
        serializer.decode(data)
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError)
      }
    }),
    { numRuns: 1000 },
  )
})

test.each(['msgpack', 'yaml'])('what %s writes it reads back as it was', async (name) => {
  const serializer = await serializers.get(name)
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      let encoded: string | Uint8Array
      try {
        encoded = serializer.encode(value, 'v')
      } catch (error) {
        expect(error).toBeInstanceOf(EncodeError)
        return
      }
      expect(JSON.stringify(sorted(serializer.decode(encoded)))).toBe(JSON.stringify(sorted(value)))
    }),
    { numRuns: 500 },
  )
})

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => [key, sorted(inner)])
}

test.each(['gzip', 'brotli'])(
  'whatever the bytes are, a body compressed with %s gives a value, a DecodeError or a TooLargeError',
  (compression) => {
    const good = Buffer.from(serializers.compress(message('add'), compression).body as Uint8Array)
    const damaged = fc
      .tuple(fc.nat(good.length - 1), fc.nat(255))
      .map(([at, byte]) => Buffer.concat([good.subarray(0, at), Buffer.from([byte]), good.subarray(at + 1)]))
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), damaged), (body) => {
        try {
          serializers.decode({ body, contentType: 'application/json', contentEncoding: 'utf-8', compression }, all)
        } catch (error) {
          expect(error instanceof DecodeError || error instanceof TooLargeError).toBe(true)
        }
      }),
      { numRuns: 500 },
    )
  },
)
