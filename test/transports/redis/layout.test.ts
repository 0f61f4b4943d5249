import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Layout, matchesTopicPattern, topicPattern } from '../../../dist/transports/redis/layout.js'
import { defaultRedisBrokerOptions as defaults } from '../../../dist/transports/redis/options.js'

const layout = new Layout(defaults, 3)

test('the lists of a queue are those of kombu, most urgent first', () => {
  expect(layout.lists('celery')).toEqual(['celery', 'celery\x06\x163', 'celery\x06\x166', 'celery\x06\x169'])
})

test('a priority belongs to the largest step below it', () => {
  const steps = Array.from({ length: 10 }, (_, priority) => layout.lists('q').indexOf(layout.listFor('q', priority)))
  expect(steps).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2, 3])
  expect([undefined, -1, 300, Number.NaN].map((priority) => layout.lists('q').indexOf(layout.listFor('q', priority)))).toEqual([0, 0, 3, 0])
})

test('every key and channel has the global prefix, as it is', () => {
  const prefixed = new Layout({ ...defaults, globalKeyprefix: 'app1' }, 0)
  expect([prefixed.lists('q')[1], prefixed.unacked, prefixed.unackedIndex, prefixed.bindings('x'), prefixed.channel('x', 'k')]).toEqual([
    'app1q\x06\x163',
    'app1unacked',
    'app1unacked_index',
    'app1_kombu.binding.x',
    'app1/0.x/k',
  ])
})

test('a fan-out channel carries the number of the database, and the routing key when there is one', () => {
  expect([layout.channel('celery.pidbox', ''), layout.channel('bc', 'celery'), layout.channelPattern('celeryev', 'worker.#')]).toEqual([
    '/3.celery.pidbox',
    '/3.bc/celery',
    '/3.celeryev/worker.*',
  ])
  expect(new Layout({ ...defaults, fanoutPrefix: '' }, 3).channel('x', '')).toBe('x')
  expect(new Layout({ ...defaults, fanoutPatterns: false }, 3).channel('x', 'k')).toBe('/3.x')
})

test('bindings are written and read with the separator of kombu', () => {
  expect(layout.binding('k', '', 'q')).toBe('k\x06\x16\x06\x16q')
  expect(layout.readBinding('k\x06\x16^a$\x06\x16q')).toEqual({ routingKey: 'k', pattern: '^a$', queue: 'q' })
  expect(layout.readBinding('k:q')).toBeUndefined()
})

test('topic patterns are those that kombu writes', () => {
  const vectors = { 'a.*': '^a\\.[^\\.]+$', 'a.#': '^a\\..*?$', '#': '^.*?$', '*': '^[^\\.]+$', 'worker.#': '^worker\\..*?$' }
  for (const [key, pattern] of Object.entries(vectors)) expect(topicPattern(key)).toBe(pattern)
  expect(topicPattern('a-b.c_d.*')).toBe('^a\\-b\\.c\\_d\\.[^\\.]+$')
  expect(topicPattern('a.*.b.#')).toBe('^a\\.[^\\.]+\\.b\\..*?$')
})

test('a topic pattern takes what it takes in Python', () => {
  const takes = (key: string, routingKey: string): boolean => matchesTopicPattern(topicPattern(key), routingKey)
  expect(['a.b', 'a.b.c', 'a', 'a.'].map((key) => takes('a.*', key))).toEqual([true, false, false, false])
  expect(['a.b', 'a.', 'a'].map((key) => takes('a.#', key))).toEqual([true, true, false])
  expect(['a', 'a.b.c', ''].map((key) => takes('*', key))).toEqual([true, false, false])
})

test('the * of a binding that a kombu before 5.7 wrote takes dots, as there', () => {
  const takes = (pattern: string, routingKey: string): boolean => matchesTopicPattern(pattern, routingKey)
  expect(['a.b', 'a.b.c', 'a', 'a.'].map((key) => takes('^a\\..*?[^\\.]$', key))).toEqual([true, true, false, false])
  expect(['a', 'a.b.c', ''].map((key) => takes('^.*?[^\\.]$', key))).toEqual([true, true, false])
})

test('patterns are matched as the regular expression that they are, without running one', () => {
  const word = fc.oneof(
    fc.constantFrom('*', '#', 'a', 'b-c', '_', ''),
    fc.string({ maxLength: 3 }).filter((text) => !/[*#.]/.test(text)),
  )
  const key = fc.array(word, { maxLength: 4 }).map((words) => words.join('.'))
  fc.assert(
    fc.property(key, key, (bindingKey, routingKey) => {
      const pattern = topicPattern(bindingKey)
      for (const written of [pattern, pattern.replaceAll('[^\\.]+', '.*?[^\\.]')])
        expect(matchesTopicPattern(written, routingKey)).toBe(new RegExp(written).test(routingKey))
    }),
    { numRuns: 2_000 },
  )
})
