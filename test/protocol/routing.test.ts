import fc from 'fast-check'
import { expect, test } from 'vitest'
import { effectivePriority, isLimited, matchesTopic, messageExpiryMs, queueLimits, refuseOverflow } from '../../dist/protocol/routing.js'

test('a topic pattern matches words: * one, # any number', () => {
  const matching = [
    ['#', ''],
    ['#', 'a.b.c'],
    ['a.#', 'a'],
    ['a.#', 'a.b.c'],
    ['#.c', 'c'],
    ['*.b', 'a.b'],
    ['a.#.c.#.e', 'a.c.x.c.e'],
    ['#.*', 'a'],
    ['worker.*', 'worker.heartbeat'],
    ['', ''],
    ['*', ''.padEnd(3, 'x')],
  ] as const
  const others = [
    ['*', ''],
    ['*', 'a.b'],
    ['a.*', 'a'],
    ['a', 'b'],
    ['', 'a'],
    ['a.#.c', 'a.b'],
    ['#.*', ''],
    ['a.b', 'a.b.c'],
    ['.*', 'ab'],
  ] as const
  for (const [pattern, key] of matching) expect(matchesTopic(pattern, key), `${pattern} ~ ${key}`).toBe(true)
  for (const [pattern, key] of others) expect(matchesTopic(pattern, key), `${pattern} ~ ${key}`).toBe(false)
})

test('a topic pattern matches what its definition says, for all short patterns', () => {
  const word = fc.constantFrom('a', 'b', 'c')
  fc.assert(
    fc.property(
      fc.array(fc.oneof(word, fc.constantFrom('*', '#')), { maxLength: 6 }),
      fc.array(word, { maxLength: 6 }),
      (pattern, words) => {
        expect(matchesTopic(pattern.join('.'), words.join('.'))).toBe(byDefinition(pattern, words))
      },
    ),
    { numRuns: 2_000 },
  )
})

function byDefinition([first, ...rest]: readonly string[], words: readonly string[]): boolean {
  if (first === undefined) return words.length === 0
  if (first === '#') return byDefinition(rest, words) || (words.length > 0 && byDefinition([first, ...rest], words.slice(1)))
  return words.length > 0 && (first === '*' || first === words[0]) && byDefinition(rest, words.slice(1))
}

test('a hostile pattern costs no more than the product of the lengths', () => {
  const from = performance.now()
  expect(matchesTopic(Array.from({ length: 500 }, () => '#.a').join('.'), `${Array.from({ length: 1_000 }, () => 'a').join('.')}.b`)).toBe(
    false,
  )
  // Some milliseconds, or for ever.
  expect(performance.now() - from).toBeLessThan(20_000)
})

test('priorities are whole numbers from 0 to the highest of the queue', () => {
  const limits = queueLimits({ 'x-max-priority': 9 })
  expect([undefined, -1, 3.7, 9, 200, Number.NaN, Number.POSITIVE_INFINITY].map((priority) => effectivePriority(priority, limits))).toEqual(
    [0, 0, 3, 9, 9, 0, 0],
  )
  expect(effectivePriority(200, queueLimits({}))).toBe(200)
})

test('a message goes away by the limit of its queue', () => {
  expect(messageExpiryMs(queueLimits({ 'x-message-ttl': 100 }), 1_000)).toBe(1_100)
  expect(messageExpiryMs(queueLimits({}), 1_000)).toBeUndefined()
})

test('a queue that refuses what is too much says so, and counts bodies in bytes', () => {
  const limits = queueLimits({ 'x-max-length': 2, 'x-max-length-bytes': 10, 'x-overflow': 'reject-publish' })
  const refuse = (messages: number, bytes: number, body: string) => () => refuseOverflow('q', limits, { messages, bytes }, body)
  expect(refuse(1, 0, 'a')).not.toThrow()
  expect(refuse(2, 0, 'a')).toThrow(/the queue "q" is full \(2 messages wait in it\)/)
  expect(refuse(0, 0, 'ääääää')).toThrow(/is full/)
  expect(isLimited(queueLimits({ 'x-overflow': 'reject-publish' }))).toBe(false)
})
