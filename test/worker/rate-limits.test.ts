import { expect, test } from 'vitest'
import { parseRate } from '../../dist/app/rate.js'
import { LiveApp, until } from '../live-app.js'

const one = { destination: ['w@h'], timeout: 10 }

test.each<[unknown, number | undefined]>([
  ['10/s', 10],
  ['30/m', 0.5],
  ['36/h', 0.01],
  ['5', 5],
  [5, 5],
  ['0.5/s', 0.5],
  [0, 0],
  ['0', 0],
  [null, 0],
  ['', 0],
  ['10/d', undefined],
  ['x', undefined],
  ['-1/s', undefined],
  [{}, undefined],
])('the rate %j is %j a second', (given, perSecond) => {
  expect(parseRate(given)).toBe(perSecond)
})

test('tasks of one name start no faster than their limit, in their order; others are not held up', async () => {
  await using live = new LiveApp({ workerPrefetchMultiplier: 1 })
  const starts: { readonly n: number; readonly ms: number }[] = []
  const limited = live.app.task('limited', { rateLimit: '20/s' }, (n: number) => void starts.push({ n, ms: performance.now() }))
  const free = live.app.task('free', () => 'free')
  await live.work({ concurrency: 1 })
  const results = await Promise.all(Array.from({ length: 11 }, (_, n) => limited.delay(n)))
  // One place, one message ahead: it would wait behind all of them if they held their places.
  expect(await free.delay().get({ timeout: 30 })).toBe('free')
  await Promise.all(results.map((result) => result.get({ timeout: 30 })))
  expect(starts.map(({ n }) => n)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  // Ten intervals of 50 ms; the first start may have been late on a busy machine.
  expect((starts.at(-1)?.ms ?? 0) - (starts[0]?.ms ?? 0)).toBeGreaterThan(350)
})

test('what would wait long goes back to the broker and holds no place; a limit that is lifted is felt at once by what waits here', async () => {
  await using live = new LiveApp({ workerPrefetchMultiplier: 4 })
  const ran: number[] = []
  const limited = live.app.task('limited', { rateLimit: '3/m' }, (n: number) => void ran.push(n))
  await live.work({ hostname: 'w@h', concurrency: 2 })
  const results = await Promise.all(Array.from({ length: 20 }, (_, n) => limited.delay(n)))
  await until(() => ran.length === 1)
  const { control } = live.app
  await until(async () => (await control.inspect(one).scheduled())['w@h']?.length === 1)
  const [waiting] = (await control.inspect(one).scheduled())['w@h'] ?? []
  expect(waiting).toMatchObject({ eta: null, request: { name: 'limited', time_start: null } })
  expect(await control.inspect(one).reserved()).toEqual({ 'w@h': [] })
  expect(await control.rateLimit('limited', 0, one)).toEqual({ 'w@h': { ok: 'rate limit disabled successfully' } })
  await until(() => ran.length === 2)
  expect(await results[0]?.get({ timeout: 30 })).toBe(null)
})

test('remote control sets and shows limits', async () => {
  await using live = new LiveApp({ taskDefaultRateLimit: '1/h' })
  live.app.task('add', () => 1)
  live.app.task('own', { rateLimit: '2/s' }, () => 1)
  await live.work({ hostname: 'w@h' })
  const { control } = live.app
  expect(await control.inspect(one).registered()).toEqual({ 'w@h': ['add [rate_limit=1/h]', 'own [rate_limit=2/s]'] })
  expect(await control.rateLimit('add', '5/m', one)).toEqual({ 'w@h': { ok: 'new rate limit set successfully' } })
  expect(await control.rateLimit('own', 0, one)).toEqual({ 'w@h': { ok: 'rate limit disabled successfully' } })
  expect(await control.inspect(one).registered()).toEqual({ 'w@h': ['add [rate_limit=5/m]', 'own'] })
  expect(await control.rateLimit('nope', '1/s', one)).toEqual({ 'w@h': { error: 'unknown task' } })
  expect(await control.rateLimit('add', 'often', one)).toEqual({ 'w@h': { error: "Invalid rate limit string: 'often'" } })
})

test('workerDisableRateLimits turns them off', async () => {
  await using live = new LiveApp({ workerDisableRateLimits: true })
  const limited = live.app.task('limited', { rateLimit: '1/h' }, () => 1)
  await live.work()
  expect(await Promise.all([1, 2, 3].map(() => limited.delay().get({ timeout: 30 })))).toEqual([1, 1, 1])
})

test('a limit that is none is refused where the task is defined, with a sentence', () => {
  const live = new LiveApp()
  const define = (name: string, options: object) => () => live.app.task(name, options, () => 1)
  expect(define('a', { rateLimit: '1/d' })).toThrow(/a rate such as/)
  expect(define('b', { rateLimit: { limit: '1/d' } })).toThrow(/rateLimit of task b.limit to be a rate/)
  expect(define('c', { rateLimit: { limit: '1/s', scope: 'world' } })).toThrow(/"worker" or "cluster"/)
  expect(define('d', { rateLimit: { limit: '1/s', keys: 'x' } })).toThrow(/Did you mean/)
  expect(define('e', { concurrency: 0 })).toThrow(/a whole number above 0/)
  expect(define('f', { concurrency: { key: 'x' } })).toThrow(/concurrency of task f.limit to be/)
})
