import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InvalidMessageError } from '../../dist/errors.js'
import { signatureLimits } from '../../dist/protocol/signature.js'
import { decodeBody } from '../../dist/protocol/task-body.js'
import { decodeJson } from '../../dist/serializers/json.js'
import { message } from '../wire/recorded.js'

const signature = (options: Record<string, unknown> = {}): Record<string, unknown> => ({
  task: 't',
  args: [],
  kwargs: {},
  options,
  subtask_type: null,
  immutable: false,
})
const withEmbed = (embed: unknown): unknown[] => [[], {}, embed]

test('the rest of a recorded chain is in reverse order: the next task is the last', () => {
  const { args, embed } = decodeBody(decodeJson(message('chain').body))
  expect(args).toEqual([1, 2])
  expect(embed.chain).toMatchObject([
    { task: 't.add', args: [4], options: { task_id: 'c3' } },
    { task: 't.add', args: [3], options: { task_id: 'c2' } },
  ])
})

test('a recorded chord member carries the body of the chord', () => {
  expect(decodeBody(decodeJson(message('chord').body)).embed.chord).toMatchObject({ task: 't.tsum', options: { task_id: 'id-body' } })
})

test('an embed of null, {} and nulls is empty', () => {
  const empty = { callbacks: null, errbacks: null, chain: null, chord: null }
  for (const embed of [null, {}, empty]) expect(decodeBody(withEmbed(embed)).embed).toEqual(empty)
})

test('a single callback counts as a list of one', () => {
  expect(decodeBody(withEmbed({ callbacks: signature() })).embed.callbacks).toEqual([signature()])
})

test.each<[string, unknown, string]>([
  ['an object', { args: [] }, 'expected the body to be an array of 3 elements'],
  ['two elements', [[], {}], 'got: an array of 2'],
  ['four elements', [[], {}, {}, {}], 'got: an array of 4'],
  ['null', null, 'got: null'],
  ['args an object', [{}, {}, {}], 'args (body[0])'],
  ['args text', ['ab', {}, {}], 'args (body[0])'],
  ['kwargs null', [[], null, {}], 'kwargs (body[1])'],
  ['kwargs an array', [[], [], {}], 'kwargs (body[1])'],
  ['kwargs a Date', [[], new Date(0), {}], 'kwargs (body[1])'],
  ['embed an array', [[], {}, []], 'embed (body[2])'],
  ['callbacks text', withEmbed({ callbacks: 'x' }), 'embed.callbacks'],
  ['a callback without task', withEmbed({ callbacks: [{ args: [] }] }), 'embed.callbacks[0].task'],
  ['an errback of a bad name', withEmbed({ errbacks: [{ task: 'a\nb' }] }), 'embed.errbacks[0].task'],
  ['a chain element of a number', withEmbed({ chain: [1] }), 'embed.chain[0]'],
  ['chord args an object', withEmbed({ chord: { task: 't', args: {} } }), 'embed.chord.args'],
  ['link options an array', withEmbed({ callbacks: [{ task: 't', options: [] }] }), 'embed.callbacks[0].options'],
  [
    'a nested link of a bad shape',
    withEmbed({ callbacks: [signature({ link: [{ task: 5 }] })] }),
    'embed.callbacks[0].options.link[0].task',
  ],
  ['immutable text', withEmbed({ callbacks: [{ task: 't', immutable: 'yes' }] }), 'immutable'],
])('a body of %s is refused with a sentence that says where', (_name, body, sentence) => {
  expect(() => decodeBody(body)).toThrow(InvalidMessageError)
  expect(() => decodeBody(body)).toThrow(sentence)
})

test('a chain of more links than the limit is refused, one of just as many is not', () => {
  const links = (count: number): unknown[] => Array.from({ length: count }, () => signature())
  expect(decodeBody(withEmbed({ chain: links(signatureLimits.links) })).embed.chain).toHaveLength(signatureLimits.links)
  expect(() => decodeBody(withEmbed({ chain: links(signatureLimits.links + 1) }))).toThrow('over the limit of 5000')
})

test('a chord in a chord in a chord ... is refused beyond the depth limit, without a stack overflow', () => {
  const nested = (depth: number): unknown => {
    let chord = signature()
    for (let level = 1; level < depth; level++) chord = signature({ chord })
    return withEmbed({ chord })
  }
  expect(() => decodeBody(nested(signatureLimits.depth))).not.toThrow()
  expect(() => decodeBody(nested(signatureLimits.depth + 1))).toThrow('more than 64 deep')
  expect(() => decodeBody(nested(100_000))).toThrow(InvalidMessageError)
})

test('groups that expand to more tasks than the limit are refused', () => {
  const member = signature()
  const group = (count: number): unknown => ({ ...signature(), subtask_type: 'group', kwargs: { tasks: new Array(count).fill(member) } })
  expect(() => decodeBody(withEmbed({ callbacks: [group(50_000)] }))).not.toThrow()
  expect(() => decodeBody(withEmbed({ callbacks: [group(60_000), group(60_000)] }))).toThrow('more than 100000 signatures')
})

test('whatever a body holds, reading it gives a body or an InvalidMessageError', () => {
  const link = fc.oneof(
    fc.anything(),
    fc.record(
      { task: fc.anything(), args: fc.anything(), kwargs: fc.anything(), options: fc.anything(), subtask_type: fc.anything() },
      { requiredKeys: [] },
    ),
  )
  const embed = fc.oneof(
    fc.anything(),
    fc.record({ callbacks: fc.oneof(link, fc.array(link)), chain: fc.array(link), chord: link }, { requiredKeys: [] }),
  )
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.tuple(fc.array(fc.anything()), fc.dictionary(fc.string(), fc.anything()), embed)), (body) => {
      try {
        decodeBody(body)
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidMessageError)
      }
    }),
    { numRuns: 1000 },
  )
})
