import { expect, test } from 'vitest'
import { parseSqliteUrl } from '../../../dist/internal/sqlite/location.js'

test('a URL names a file: the default one, a relative or an absolute one', () => {
  for (const [url, path] of Object.entries({
    'sqlite://': '/work/dir/.celeriac/queue.db',
    'sqlite:': '/work/dir/.celeriac/queue.db',
    'SQLite://?synchronous=full': '/work/dir/.celeriac/queue.db',
    'sqlite://./rel/q.db': '/work/dir/rel/q.db',
    'sqlite://../q.db': '/work/q.db',
    'sqlite:///abs/q.db': '/abs/q.db',
    'sqlite:///with%20space/%C3%BC.db?lease_ttl=1': '/with space/ü.db',
  })) {
    expect(parseSqliteUrl(url, '/work/dir').path).toBe(path)
  }
})

test('options are read from the query, in seconds', () => {
  expect(
    parseSqliteUrl('sqlite://?synchronous=FULL&network=allow&poll_interval=0&lease_ttl=2&sweep_interval=0.1&delivery_limit=7', '/'),
  ).toMatchObject({
    synchronous: 'full',
    allowNetwork: true,
    safetyPollMs: 0,
    leaseTtlMs: 2_000,
    sweepIntervalMs: 100,
    deliveryLimit: 7,
  })
  expect(parseSqliteUrl('sqlite://', '/')).toMatchObject({
    synchronous: 'normal',
    allowNetwork: false,
    safetyPollMs: 500,
    leaseTtlMs: 30_000,
    sweepIntervalMs: 5_000,
    deliveryLimit: 20,
  })
})

test('what cannot be read is refused with words that help', () => {
  for (const [url, words] of Object.entries({
    'sqlite://?synchronus=full': 'Did you mean "synchronous"',
    'sqlite://?nonsense=1': 'Known: synchronous',
    'sqlite://?synchronous=maybe': 'one of normal, full',
    'sqlite://?lease_ttl=soon': 'lease_ttl to be a number of at least 0.05',
    'sqlite://?lease_ttl=': 'lease_ttl to be a number',
    'sqlite://?delivery_limit=0': 'at least 1',
    'sqlite:///%zz': 'broken % escape',
    'sqlite:///a%00b': 'zero byte',
    'redis://x': 'expected a URL such as "sqlite://"',
  })) {
    expect(() => parseSqliteUrl(url, '/'), url).toThrow(words)
  }
})
