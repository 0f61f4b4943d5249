import { expect, test } from 'vitest'
import { redactUrl } from '../../dist/internal/url.js'

test.each([
  ['amqp://user:secret@host:5672/vhost', 'amqp://user:**@host:5672/vhost'],
  ['redis://:p@ss@host/0', 'redis://:**@host/0'],
  ['redis//user:secret@host', 'redis//user:**@host'],
  ['postgres://host/db?user=me&password=secret&ssl=1', 'postgres://host/db?user=me&password=**&ssl=1'],
  ['sqlite://./.celeriac/queue.db', 'sqlite://./.celeriac/queue.db'],
  ['redis://host:6379/0', 'redis://host:6379/0'],
])('%s is shown as %s', (url, shown) => {
  expect(redactUrl(url)).toBe(shown)
})
