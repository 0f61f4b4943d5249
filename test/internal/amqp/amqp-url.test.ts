import { expect, test } from 'vitest'
import { parseAmqpUrl } from '../../../dist/internal/amqp/amqp-url.js'

const guest = { host: '127.0.0.1', port: 5672, vhost: '/', username: 'guest', password: 'guest', heartbeat: undefined }

test.each([
  ['amqp://', guest],
  ['amqp:', guest],
  ['pyamqp://', guest],
  ['amqp://localhost//', guest],
  ['amqp://localhost', guest],
  ['amqp://guest@localhost/', { ...guest, password: '' }],
  [
    'amqp://u:p%40w@rabbit.example:5673/my%2Fhost',
    { ...guest, username: 'u', password: 'p@w', host: 'rabbit.example', port: 5673, vhost: 'my/host' },
  ],
  ['amqp://u:p@//v', { ...guest, username: 'u', password: 'p', vhost: '/v' }],
  ['amqp://:5673/v', { ...guest, port: 5673, vhost: 'v' }],
  ['amqp://[::1]:5673/%2Fv', { ...guest, host: '::1', port: 5673, vhost: '/v' }],
  ['amqp://localhost/?heartbeat=10', { ...guest, heartbeat: 10 }],
  ['amqps://localhost', { ...guest, port: 5671, tls: {} }],
  [
    'AMQPS://h/v?ssl_ca_certs=ca.pem&ssl_certfile=c.pem&ssl_keyfile=k.pem',
    { ...guest, host: 'h', port: 5671, vhost: 'v', tls: { ca: 'ca.pem', cert: 'c.pem', key: 'k.pem' } },
  ],
])('%s leads where kombu goes', (url, expected) => {
  expect(parseAmqpUrl(url)).toEqual(expected)
})

test('the transport option tls encrypts any scheme and wins over the URL', () => {
  expect(parseAmqpUrl('amqp://h', { tls: { ca: 'b' } })).toMatchObject({ port: 5671, tls: { ca: 'b' } })
  expect(parseAmqpUrl('amqps://h?ssl_ca_certs=a', { tls: { ca: 'b' } }).tls).toEqual({ ca: 'b' })
})

test.each([
  ['amqp://u:secret@h:port/', /a URL such as/],
  ['amqp://h/#x', /a URL such as/],
  ['amqp://a;b/', /one server|a URL such as/],
  ['amqp://u:secret@h/?ssl_ca_certs=a', /an amqps: URL around ssl_ca_certs/],
  ['amqps://u:secret@h/?ssl_cert_reqs=none', /rejectUnauthorized: false/],
  ['amqp://u:secret@h/?heartbeta=1', /Did you mean "heartbeat"/],
  ['amqp://u:secret@h/?heartbeat=-1', /whole number of seconds/],
  ['amqp://u:secret%@h/', /%25/],
])('%s is refused in words, without its password', (url, words) => {
  expect(() => parseAmqpUrl(url)).toThrow(words)
  expect(() => parseAmqpUrl(url)).toThrow(expect.not.objectContaining({ message: expect.stringContaining('secret') }))
})
