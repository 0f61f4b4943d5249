/** Where links go to: over TLS, a Unix socket, Sentinels, and a user's client; and what is said when they get nowhere. */

import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient, createCluster, createSentinel } from '@redis/client'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { showAddress } from '../../../dist/internal/address.js'
import { systemClock } from '../../../dist/internal/clock.js'
import type { RedisTarget } from '../../../dist/internal/redis/link.js'
import { clientTarget, redisTarget, type TargetOptions } from '../../../dist/internal/redis/target.js'
import { needs } from '../../../scripts/needs.mjs'
import { startRedis, startSentinel } from '../../../scripts/services.mjs'
import { Authority } from './certificates.js'

const settings = { clock: systemClock, longestSilenceMs: 5_000 }
const forever = new AbortController().signal
const noRedis = needs.redis?.find() === undefined

async function pings(target: RedisTarget): Promise<string> {
  const link = await target.open({ signal: forever, name: 'celeriac:test' })
  try {
    return String(await link.call('PING', []))
  } finally {
    await link.close()
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-target-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(noRedis || needs.openssl?.find() === undefined)('TLS (needs redis-server and openssl)', () => {
  let authority: Authority
  let stranger: Authority
  const servers: Awaited<ReturnType<typeof startRedis>>[] = []
  afterAll(async () => {
    for (const server of servers) await server.stop()
  })

  async function encrypted(certificate: { cert: string; key: string }, more: readonly string[] = []) {
    const tlsPort = await freePort()
    const { cert, key } = certificate
    const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', authority.ca]
    const server = await startRedis({ args: ['--tls-port', String(tlsPort), ...files, '--tls-auth-clients', 'no', ...more] })
    servers.push(server)
    return { ...server, tlsPort, tlsUrl: `rediss://127.0.0.1:${tlsPort}/0` }
  }
  let good: Awaited<ReturnType<typeof encrypted>>

  beforeAll(async () => {
    authority = new Authority(folder, 'ours')
    stranger = new Authority(folder, 'strangers')
    good = await encrypted(authority.sign('server'))
  })

  test('a server whose certificate our CA signed is taken: by the URL, as a file, as text, with any name it has', async () => {
    expect(await pings(redisTarget(`${good.tlsUrl}?ssl_ca_certs=${authority.ca}`, settings))).toBe('PONG')
    expect(await pings(redisTarget(good.tlsUrl.replace('127.0.0.1', 'localhost'), { ...settings, tls: { ca: authority.ca } }))).toBe('PONG')
    const text = readFileSync(authority.ca, 'utf8')
    expect(await pings(redisTarget(`redis://127.0.0.1:${good.tlsPort}`, { ...settings, tls: { ca: [text] } }))).toBe('PONG')
  })

  test("a user's own client connects as it was told to", async () => {
    const ca = readFileSync(authority.ca)
    const clients = [
      new Redis(good.tlsUrl, { lazyConnect: true, tls: { ca } }),
      createClient({ url: good.tlsUrl, socket: { tls: true, ca } }),
    ]
    for (const client of clients) expect(await pings(clientTarget({ client }, settings))).toBe('PONG')
    for (const client of [new Redis(good.tlsUrl, { lazyConnect: true }), createClient({ url: good.tlsUrl })])
      await expect(pings(clientTarget({ client }, settings))).rejects.toThrow(/not signed by an authority that is trusted here/)
  })

  test('a server with a certificate of another CA is refused, with the reason', async () => {
    const refused = /^the server's certificate is not signed by an authority that is trusted here \(.+\): name its CA with/
    await expect(pings(redisTarget(good.tlsUrl, settings))).rejects.toThrow(refused)
    await expect(pings(redisTarget(`${good.tlsUrl}?ssl_ca_certs=${stranger.ca}`, settings))).rejects.toThrow(refused)
  })

  test('a server with an expired certificate, or one for another name, is refused, with the reason', async () => {
    const expired = await encrypted(authority.sign('expired', { days: -1 }))
    await expect(pings(redisTarget(`${expired.tlsUrl}?ssl_ca_certs=${authority.ca}`, settings))).rejects.toThrow(
      "the server's certificate has expired",
    )
    const other = await encrypted(authority.sign('other', { names: 'DNS:other.example' }))
    const tls = { ca: authority.ca }
    await expect(pings(redisTarget(other.tlsUrl, { ...settings, tls }))).rejects.toThrow(/certificate is for another name/)
    expect(await pings(redisTarget(other.tlsUrl, { ...settings, tls: { ...tls, servername: 'other.example' } }))).toBe('PONG')
  })

  test('verification is off only when the transport option says so', async () => {
    expect(await pings(redisTarget(good.tlsUrl, { ...settings, tls: { rejectUnauthorized: false } }))).toBe('PONG')
  })

  test('a server that asks who we are is shown our certificate', async () => {
    const strict = await encrypted(authority.sign('strict'), ['--tls-auth-clients', 'yes'])
    const { cert, key } = authority.sign('client')
    const known = `${strict.tlsUrl}?ssl_ca_certs=${authority.ca}&ssl_certfile=${cert}&ssl_keyfile=${key}`
    expect(await pings(redisTarget(known, settings))).toBe('PONG')
    await expect(pings(redisTarget(`${strict.tlsUrl}?ssl_ca_certs=${authority.ca}`, settings))).rejects.toThrow(
      /TLS failed|closed the connection/,
    )
  })

  test('a server that does not speak TLS is refused in words, and is sent nothing unencrypted', async () => {
    for (const url of [good.url.replace('redis:', 'rediss:'), good.url]) {
      const target = redisTarget(url, { ...settings, tls: { ca: authority.ca }, connectTimeoutMs: 500 })
      await expect(pings(target)).rejects.toThrow(/speak TLS at this port/)
    }
  })

  test('a URL without TLS to a port with TLS is refused in words', async () => {
    const target = redisTarget(`redis://127.0.0.1:${good.tlsPort}`, settings)
    await expect(pings(target)).rejects.toThrow(/closed the connection|is this its TLS port/)
  })

  test('a file that cannot be read is named', async () => {
    await expect(pings(redisTarget(`${good.tlsUrl}?ssl_ca_certs=${folder}/none.pem`, settings))).rejects.toThrow(
      `cannot read the certificate or key file ${folder}/none.pem: ENOENT`,
    )
  })
})

describe.skipIf(noRedis)('Unix sockets and Sentinels (needs redis-server)', () => {
  let server: Awaited<ReturnType<typeof startRedis>>
  let sentinel: Awaited<ReturnType<typeof startSentinel>>
  beforeAll(async () => {
    server = await startRedis({ args: ['--unixsocket', join(folder, 'my redis.sock')] })
    sentinel = await startSentinel({ port: server.port, name: 'main' })
  })
  afterAll(async () => {
    await sentinel?.stop()
    await server?.stop()
  })

  test('a Unix socket is reached by its path, and its database by virtual_host', async () => {
    const target = redisTarget(`redis+socket://${encodeURI(folder)}/my%20redis.sock?virtual_host=5`, settings)
    const link = await target.open({ signal: forever, name: 'celeriac:test' })
    expect(String(await link.call('CLIENT', ['INFO']))).toContain(' db=5 ')
    await link.close()
    const nowhere = redisTarget(`socket://${folder}/none.sock`, settings)
    await expect(pings(nowhere)).rejects.toThrow(/ENOENT.*none.sock/)
  })

  test('Sentinels lead to the primary; those that are dead are passed over', async () => {
    const dead = await freePort()
    const url = `sentinel://127.0.0.1:${dead}/4;sentinel://127.0.0.1:${sentinel.port}`
    const target = redisTarget(url, { ...settings, masterName: 'main' })
    expect([target.db, target.shown]).toEqual([4, url])
    const link = await target.open({ signal: forever, name: 'celeriac:test' })
    const info = String(await link.call('CLIENT', ['INFO']))
    expect(info).toContain(`laddr=127.0.0.1:${server.port} `)
    expect(info).toContain(' db=4 ')
    await link.close()
  })

  test('a primary that no Sentinel knows, and Sentinels that are all dead, are told by name', async () => {
    const unknown = redisTarget(`sentinel://127.0.0.1:${sentinel.port}`, { ...settings, masterName: 'other' })
    await expect(pings(unknown)).rejects.toThrow(new RegExp(`^no Sentinel led to a primary: .*127.0.0.1:${sentinel.port}.*`))
    const dead = await freePort()
    await expect(pings(redisTarget(`sentinel://127.0.0.1:${dead}`, { ...settings, masterName: 'main' }))).rejects.toThrow(
      new RegExp(`no Sentinel led to a primary: failed to connect to sentinel 127.0.0.1:${dead}`),
    )
  })
})

describe("a user's own client", () => {
  const refused: readonly (readonly [string, () => unknown, RegExp])[] = [
    [
      'an ioredis Cluster',
      () => new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true }),
      /one Redis server and not of a Redis Cluster/,
    ],
    [
      'a node-redis cluster',
      () => createCluster({ rootNodes: [{ url: 'redis://127.0.0.1:1' }] }),
      /one Redis server and not of a Redis Cluster/,
    ],
    [
      'a node-redis Sentinel',
      () => createSentinel({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] }),
      /a URL such as "sentinel:/,
    ],
    ['a Map', () => new Map([['password', 'geheim']]), /a client of ioredis.*got: "Map"/],
    ['nothing', () => undefined, /a client of ioredis.*got: "undefined"/],
    [
      'a client of an older library',
      () => ({ duplicate() {}, sendCommand() {}, pSubscribe() {}, password: 'geheim' }),
      /this one is older/,
    ],
  ]
  test.each(refused)('%s is refused in words', (_, make, words) => {
    // What a program without types may give.
    const attempt = (): unknown => clientTarget({ client: make() as never }, settings)
    expect(attempt).toThrow(words)
    expect(attempt).toThrow(expect.not.objectContaining({ message: expect.stringContaining('geheim') }))
  })

  test('options that are the client’s own are refused', () => {
    const client = new Redis({ lazyConnect: true })
    for (const options of [{ masterName: 'x' }, { tls: {} }, { sentinel: {} }] satisfies Partial<TargetOptions>[])
      expect(() => clientTarget({ client }, { ...settings, ...options })).toThrow(/left to the client that was given/)
  })

  test('it is shown by where it leads, without its password', () => {
    const shown = [
      new Redis('redis://me:geheim@cache:7000/3', { lazyConnect: true }),
      new Redis({ path: '/run/redis.sock', lazyConnect: true }),
      new Redis({ sentinels: [{ host: 'a', port: 1 }], name: 'main', sentinelPassword: 'geheim', lazyConnect: true }),
      createClient({ url: 'redis://me:geheim@cache:7000/3' }),
      createClient({ socket: { path: '/run/redis.sock', tls: false }, database: 2 }),
      createClient(),
    ].map((client) => showAddress({ client }))
    expect(shown).toEqual([
      'redis client (cache:7000/3)',
      'redis client (/run/redis.sock/0)',
      'redis client (main of Sentinels/0)',
      'redis client (cache:7000/3)',
      'redis client (/run/redis.sock/2)',
      'redis client (localhost:6379/0)',
    ])
  })
})

test.skipIf(noRedis)('an address that takes no connection is given up after socketConnectTimeout', async () => {
  // A server that is stopped, and whose queue of connections is full: packets to it are dropped.
  const server = await startRedis({ args: ['--tcp-backlog', '1'] })
  const filling: Socket[] = []
  try {
    process.kill(server.pid, 'SIGSTOP')
    for (let n = 0; n < 5; n++) filling.push(connect(server.port, '127.0.0.1').on('error', () => {}))
    await Promise.race(filling.map((socket) => once(socket, 'connect')))
    const startMs = performance.now()
    const opening = pings(redisTarget(server.url, { ...settings, connectTimeoutMs: 300 }))
    await expect(opening).rejects.toThrow('the server did not take a connection within 0.3 s')
    // The system would try for two minutes.
    expect(performance.now() - startMs).toBeLessThan(20_000)
  } finally {
    for (const socket of filling) socket.destroy()
    process.kill(server.pid, 'SIGCONT')
    await server.stop()
  }
})
