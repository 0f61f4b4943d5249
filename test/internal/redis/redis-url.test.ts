import { expect, test } from 'vitest'
import { parseRedisUrl } from '../../../dist/internal/redis/redis-url.js'

function complaint(url: string, context?: Parameters<typeof parseRedisUrl>[1]): string {
  try {
    parseRedisUrl(url, context)
  } catch (error) {
    if (error instanceof Error) return `${Reflect.get(error, 'code')} ${error.message}`
  }
  return 'accepted'
}

test.each<[string, object]>([
  ['redis://', { host: 'localhost', port: 6379, db: 0 }],
  ['redis://cache.example/', { host: 'cache.example', port: 6379, db: 0 }],
  ['redis://me:p%40ss%3B@10.0.0.1:6380/12', { host: '10.0.0.1', port: 6380, db: 12, username: 'me', password: 'p@ss;' }],
  ['redis://:p;w@host/1', { host: 'host', port: 6379, db: 1, password: 'p;w' }],
  ['redis://[::1]:7000/2', { host: '::1', port: 7000, db: 2 }],
  ['valkey://host', { host: 'host', port: 6379, db: 0 }],
  ['rediss://host:6380', { host: 'host', port: 6380, db: 0, tls: {} }],
  ['valkeys://host', { host: 'host', port: 6379, db: 0, tls: {} }],
  ['rediss://host?ssl_cert_reqs=CERT_REQUIRED', { host: 'host', port: 6379, db: 0, tls: {} }],
  ['rediss://host/1?ssl_cert_reqs=optional&ssl_check_hostname=True', { host: 'host', port: 6379, db: 1, tls: {} }],
  [
    'rediss://host?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/etc/me.pem&ssl_keyfile=%2Fetc%2Fme.key',
    { host: 'host', port: 6379, db: 0, tls: { ca: '/etc/ca.pem', cert: '/etc/me.pem', key: '/etc/me.key' } },
  ],
  ['redis+socket:///run/redis.sock', { path: '/run/redis.sock', db: 0 }],
  ['socket:///run/my%20redis.sock?virtual_host=4', { path: '/run/my redis.sock', db: 4 }],
  ['redis+socket://me:pw@/run/redis.sock?virtual_host=4', { path: '/run/redis.sock', db: 4, username: 'me', password: 'pw' }],
])('%s', (url, address) => {
  expect(parseRedisUrl(url)).toEqual(address)
})

test('Sentinels stand in one URL, and the first that names a database or a password speaks for the primary', () => {
  expect(parseRedisUrl('sentinel://a;sentinel://:pw@b:26380/3; sentinel://[::1]/5', { masterName: 'main' })).toEqual({
    sentinels: [
      { host: 'a', port: 26_379 },
      { host: 'b', port: 26_380 },
      { host: '::1', port: 26_379 },
    ],
    name: 'main',
    db: 3,
    password: 'pw',
  })
  expect(parseRedisUrl('sentinel://a', { masterName: 'main', tls: { ca: 'x' } })).toMatchObject({ tls: { ca: 'x' } })
})

test('the transport option tls encrypts whatever the scheme is, and wins over parameters of the URL', () => {
  expect(parseRedisUrl('redis://host', { tls: { servername: 'x' } }).tls).toEqual({ servername: 'x' })
  expect(parseRedisUrl('rediss://host?ssl_ca_certs=/a&ssl_certfile=/b', { tls: { ca: '/c' } }).tls).toEqual({ ca: '/c', cert: '/b' })
  expect(parseRedisUrl('rediss://host?ssl_cert_reqs=none', { tls: { rejectUnauthorized: false } }).tls).toEqual({
    rejectUnauthorized: false,
  })
  expect(parseRedisUrl('rediss://host?ssl_check_hostname=false', { tls: { servername: 'x' } }).tls).toEqual({ servername: 'x' })
})

test.each<[string, string, Parameters<typeof parseRedisUrl>[1]?]>([
  ['redis://a;redis://b', 'expected one server, got: "redis://a;redis://b"'],
  ['redis://a/nine', 'expected the number of a database after the host, such as "redis://localhost:6379/0", got: "redis://a/nine"'],
  ['redis://a:99999', 'expected a URL such as "redis://localhost:6379/0"'],
  ['redis://a/0#x', 'expected a URL such as "redis://localhost:6379/0"'],
  ['redis://:geheim%zz@a', 'expected a percent sign to be written as %25, got: "redis://:**@a"'],
  ['redis://:geheim@a?db=2', 'unknown parameter "db" in "redis://:**@a?db=2". Options of the connection are transport options.'],
  [
    'rediss://a?ssl_cert_req=required',
    'unknown parameter "ssl_cert_req" in "rediss://a?ssl_cert_req=required". Did you mean "ssl_cert_reqs"?',
  ],
  ['redis://a?ssl_ca_certs=/x', 'expected a rediss: URL around ssl_ca_certs: this one is not encrypted'],
  [
    'rediss://a?ssl_cert_reqs=none',
    'expected the transport option tls: { rejectUnauthorized: false } beside ssl_cert_reqs=none: a URL alone turns no verification off',
  ],
  ['rediss://a?ssl_cert_reqs=CERT_NONE', 'expected the transport option tls: { rejectUnauthorized: false }'],
  ['rediss://a?ssl_cert_reqs=maybe', 'expected ssl_cert_reqs=required'],
  ['rediss://a?ssl_check_hostname=false', 'expected the transport option tls: { servername } (the name that the certificate has)'],
  ['redis+socket://run/redis.sock', 'expected a URL such as "redis+socket:///run/redis.sock?virtual_host=0"'],
  ['redis+socket:///', 'expected a URL such as "redis+socket:///run/redis.sock?virtual_host=0"'],
  ['redis+socket:///run/redis.sock?virtual_hots=1', 'Did you mean "virtual_host"?'],
  ['socket:///run/redis.sock', 'a Unix socket is not encrypted', { tls: {} }],
  ['sentinel://a', 'expected the transport option masterName beside a sentinel: URL'],
  ['sentinel://a;b:26379', 'expected every Sentinel as a URL', { masterName: 'main' }],
  ['sentinel://a;redis://b', 'expected every Sentinel as a URL', { masterName: 'main' }],
  ['redis://a', 'expected a sentinel: URL beside the transport option masterName', { masterName: 'main' }],
])('%s is refused in words', (url, words, context) => {
  expect(complaint(url, context)).toContain('ERR_URL_INVALID')
  expect(complaint(url, context)).toContain(words)
  expect(complaint(url, context)).not.toContain('geheim')
})
