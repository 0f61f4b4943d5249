/** Brokers and backends in Redis as an app names them: by URL, as a list, as a client of its own. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { createClient } from '@redis/client'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { banner } from '../../dist/cli/banner.js'
import { type AppOptions, Celeriac } from '../../dist/index.js'
import { needs } from '../../scripts/needs.mjs'
import { startRedis, startSentinel } from '../../scripts/services.mjs'
import { LiveApp, until } from '../live-app.js'

let server: Awaited<ReturnType<typeof startRedis>>
beforeAll(async () => {
  if (needs.redis?.find() !== undefined) server = await startRedis()
})
beforeEach(async () => server?.flush())
afterAll(async () => server?.stop())

/** Sends a task, lets a worker run it, and reads its result. */
async function roundTrip(options: AppOptions): Promise<number> {
  await using live = new LiveApp(options)
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await live.work()
  return await add.delay(2, 3).get({ timeout: 30 })
}

async function unusedPort(): Promise<number> {
  const unused = createServer().listen(0, '127.0.0.1')
  await once(unused, 'listening')
  const { port } = unused.address() as AddressInfo // it listens at a TCP port
  await new Promise((resolve) => unused.close(resolve))
  return port
}

describe.skipIf(needs.redis?.find() === undefined)('Redis (needs redis-server)', () => {
  test('a URL is enough: messages and results are there', async () => {
    expect(await roundTrip({ broker: server.url })).toBe(5)
  })

  test("transport options reach the broker and the backend, also in Celery's spelling", async () => {
    const options = { broker_transport_options: { global_keyprefix: 'shop:' }, resultBackendTransportOptions: { globalKeyprefix: 'shop' } }
    expect(await roundTrip({ broker: server.url, ...options })).toBe(5)
    const looker = new Redis(server.url)
    const keys = await looker.keys('*')
    expect(keys.filter((key) => !key.startsWith('shop'))).toEqual([])
    expect(keys.some((key) => key.startsWith('shop_celery-task-meta-'))).toBe(true)
    looker.disconnect()
  })

  test('options that Redis has not are refused where they are used, with what was probably meant', async () => {
    const app = new Celeriac('x', { broker: server.url, brokerTransportOptions: { visibilityTimout: 5 } })
    await expect(app.sendTask('one')).rejects.toThrow(
      'unknown option "brokerTransportOptions.visibilityTimout". Did you mean "brokerTransportOptions.visibilityTimeout"?',
    )
    await app.close()
  })

  test.each([
    ['ioredis', (url: string) => new Redis(url, { keyPrefix: 'users:', maxRetriesPerRequest: 0 })],
    ['@redis/client', (url: string) => createClient({ url })],
  ] as const)('a client of %s that the program has: used as an address, never closed, its prefix left alone', async (_, make) => {
    const client = make(server.url)
    client.on('error', () => {})
    if (!(client instanceof Redis)) await client.connect()
    await client.set('theirs', 'x')
    const before = await connections()
    expect(await roundTrip({ broker: { client } })).toBe(5)
    expect(await roundTrip({ broker: { client }, backend: { client } })).toBe(5)
    // What celeriac opened is closed, what it was given is not.
    expect(await connections()).toBe(before)
    expect(await client.get('theirs')).toBe('x')
    const looker = new Redis(server.url)
    expect(await looker.keys('users:*celery*')).toEqual([])
    looker.disconnect()
    if (client instanceof Redis) client.disconnect()
    else client.destroy()
  })

  async function connections(): Promise<number> {
    const looker = new Redis(server.url)
    const list = String(await looker.client('LIST'))
    looker.disconnect()
    return list.split('\n').filter((line) => line !== '' && !line.includes('cmd=client')).length
  }

  test('a client that waits for a command of its own holds up nothing', async () => {
    const client = new Redis(server.url)
    const waits = client.blpop('nobody-pushes', 0)
    waits.catch(() => {})
    expect(await roundTrip({ broker: { client } })).toBe(5)
    client.disconnect()
  })

  test('a worker tells of a client by where it leads', () => {
    const client = new Redis('redis://:geheim@cache:7000/3', { lazyConnect: true })
    const { core } = Celeriac.internals(new Celeriac('shop', { broker: { client } }))
    const told = banner({ core, version: '1', hostname: 'w', file: '/app.ts', queues: ['celery'] })
    expect(told).toContain('broker   redis client (cache:7000/3)')
    expect(told).not.toContain('geheim')
  })

  test('a port where nobody listens and an address that takes no connection are passed over in a list', async () => {
    // A server that is stopped, and whose queue of connections is full: packets to it are dropped.
    const deaf = await startRedis({ args: ['--tcp-backlog', '1'] })
    const filling: Socket[] = []
    try {
      process.kill(deaf.pid, 'SIGSTOP')
      for (let n = 0; n < 5; n++) filling.push(connect(deaf.port, '127.0.0.1').on('error', () => {}))
      await Promise.race(filling.map((socket) => once(socket, 'connect')))
      await using live = new LiveApp({ broker: [`redis://127.0.0.1:${await unusedPort()}`, deaf.url, server.url], backend: server.url })
      const { core } = Celeriac.internals(live.app)
      const startMs = performance.now()
      const connection = await core.connections.connect()
      // The system would try for two minutes.
      expect(performance.now() - startMs).toBeLessThan(20_000)
      await connection.close()
    } finally {
      for (const socket of filling) socket.destroy()
      process.kill(deaf.pid, 'SIGCONT')
      await deaf.stop()
    }
  })

  test('a server that takes connections and never speaks is given up after brokerConnectionTimeout', async () => {
    const mute = createServer((socket) => void socket.on('error', () => {}).resume()).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { port } = mute.address() as AddressInfo // it listens at a TCP port
    const url = `redis://127.0.0.1:${port}/0`
    expect(await roundTrip({ broker: [url, server.url], backend: server.url, brokerConnectionTimeout: 0.3 })).toBe(5)
    const app = new Celeriac('x', { broker: url, backend: 'disabled', brokerConnectionTimeout: 0.3 })
    await expect(app.sendTask('one', {}, { retry: false })).rejects.toThrow('the redis broker did not answer within 0.3 s')
    await app.close()
    mute.close()
  })

  test('Sentinels in one text are one broker, and lead to the results, too', async () => {
    const sentinel = await startSentinel({ port: server.port, name: 'main' })
    try {
      const broker = `sentinel://127.0.0.1:${await unusedPort()}/1;sentinel://127.0.0.1:${sentinel.port}`
      expect(await roundTrip({ broker, broker_transport_options: { master_name: 'main' } })).toBe(5)
      const looker = new Redis(server.url.replace(/0$/, '1'))
      expect((await looker.keys('celery-task-meta-*')).length).toBe(1)
      looker.disconnect()
      await using live = new LiveApp({ broker, backend: 'disabled' })
      await expect(live.work()).rejects.toThrow('expected the transport option masterName beside a sentinel: URL')
    } finally {
      await sentinel.stop()
    }
  })

  test('a wrong password, and none, are told in the words of the server and never shown', async () => {
    const locked = await startRedis({ password: 'sesame' })
    try {
      for (const [url, words] of [
        [`redis://:geheim@127.0.0.1:${locked.port}/0`, /WRONGPASS/],
        [`redis://127.0.0.1:${locked.port}/0`, /NOAUTH Authentication required/],
      ] as const) {
        await using live = new LiveApp({ broker: url, backend: 'disabled', brokerConnectionRetryOnStartup: false })
        await expect(live.work()).rejects.toMatchObject({ code: 'ERR_CONNECTION', message: expect.stringMatching(words) })
        await expect(live.app.sendTask('one', {}, { retry: false })).rejects.not.toThrow(/geheim/)
      }
      expect(await roundTrip({ broker: locked.url })).toBe(5)
    } finally {
      await locked.stop()
    }
  })

  test('a worker whose broker is gone is not ready; after the broker is back it runs tasks again', async () => {
    const fragile = await startRedis()
    try {
      await using live = new LiveApp({ broker: fragile.url, backend: 'memory://fragile', brokerTransportOptions: { leaseTtl: 0.3 } })
      const add = live.app.task('add', (x: number, y: number) => x + y)
      const worker = await live.work()
      expect([worker.state, worker.isReady]).toEqual(['consuming', true])
      await fragile.kill()
      await until(() => worker.state === 'reconnecting')
      expect(worker.isReady).toBe(false)
      // Long enough for the waits between tries to have grown to their longest.
      await until(() => live.said('the broker cannot be reached').length >= 6)
      await fragile.restart()
      await until(() => worker.isReady)
      expect(await add.delay(2, 3).get({ timeout: 30 })).toBe(5)
    } finally {
      await fragile.stop()
    }
  })

  test('rights that the user of the URL has not are named', async () => {
    const admin = new Redis(server.url)
    await admin.call('ACL', ['SETUSER', 'narrow', 'on', '>pw', '~*', '&*', '+@all', '-evalsha', '-hmget'])
    try {
      await using live = new LiveApp({ broker: server.url.replace('redis://', 'redis://narrow:pw@'), backend: 'disabled' })
      await expect(live.work()).rejects.toThrow(/its user may not use EVALSHA, HMGET/)
    } finally {
      await admin.call('ACL', ['DELUSER', 'narrow'])
      admin.disconnect()
    }
  })
})
