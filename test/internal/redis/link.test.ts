/** One conformance suite for links, run over every client library that carries them. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createClient } from '@redis/client'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import { LinkLostError, type RedisLink, RedisReplyError, type RedisTarget } from '../../../dist/internal/redis/link.js'
import { clientTarget, redisTarget, type TargetOptions } from '../../../dist/internal/redis/target.js'
import { needs } from '../../../scripts/needs.mjs'
import { startRedis } from '../../../scripts/services.mjs'
import { until } from '../../live-app.js'

const carriers: Readonly<Record<string, (url: string, options: TargetOptions) => RedisTarget>> = {
  'a URL, over ioredis': (url, options) => redisTarget(url, options),
  "a user's client of ioredis": (url, options) => {
    const client = new Redis(url, { lazyConnect: true, keyPrefix: 'users:', commandTimeout: 1, enableAutoPipelining: true })
    return clientTarget({ client }, options)
  },
  "a user's client of @redis/client": (url, options) => clientTarget({ client: createClient({ url, pingInterval: 1 }) }, options),
}

let server: Awaited<ReturnType<typeof startRedis>>
const opened: RedisLink[] = []

beforeAll(async () => {
  if (needs.redis?.find() !== undefined) server = await startRedis()
})
afterAll(async () => {
  await server?.stop()
})

describe.skipIf(needs.redis?.find() === undefined).each(Object.entries(carriers))('links of %s', (_, carrier) => {
  const settings = { clock: systemClock, longestSilenceMs: 5_000 }
  const target = (options: Partial<TargetOptions> = {}, url = server.url): RedisTarget => carrier(url, { ...settings, ...options })
  async function open(from = target(), name = 'celeriac:test', signal = new AbortController().signal): Promise<RedisLink> {
    const link = await from.open({ signal, name })
    opened.push(link)
    return link
  }
  afterAll(() => {
    for (const link of opened.splice(0)) link.destroy(new Error('the test is over'))
  })

  test('answers are bytes, integers, lists and null, as RESP2 has them', async () => {
    const link = await open()
    const bytes = Buffer.from([0, 255, 13, 10])
    expect(await link.call('SET', ['bytes', bytes])).toEqual(Buffer.from('OK'))
    expect(await link.call('GET', ['bytes'])).toEqual(bytes)
    expect(await link.call('SET', ['view', new Uint8Array([1, 2, 3]).subarray(1)])).toEqual(Buffer.from('OK'))
    expect(await link.call('GET', ['view'])).toEqual(Buffer.from([2, 3]))
    expect(await link.call('GET', ['nothing'])).toBeNull()
    expect(await link.call('INCRBY', ['count', 41])).toBe(41)
    expect(await link.call('HSET', ['map', 'a', '1', 'b', '2'])).toBe(2)
    expect(await link.call('HGETALL', ['map'])).toEqual(['a', '1', 'b', '2'].map((text) => Buffer.from(text)))
    const nested = "return {1, 'two', {false, redis.status_reply('three')}}"
    expect(await link.call('EVAL', [nested, 0])).toEqual([1, Buffer.from('two'), [null, Buffer.from('three')]])
  })

  test('the commands of one tick are answered in order, and a refused one takes no other with it', async () => {
    const link = await open()
    const replies = await Promise.allSettled([
      link.call('SET', ['text', 'x']),
      link.call('LPUSH', ['text', 'y']),
      link.call('NOSUCH', []),
      link.call('GET', ['text']),
    ])
    expect(replies.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
    const [, wrongType, unknown, text] = replies.map((reply) => (reply.status === 'fulfilled' ? reply.value : reply.reason))
    expect(wrongType).toBeInstanceOf(RedisReplyError)
    expect(wrongType).toMatchObject({ code: 'WRONGTYPE', message: expect.stringContaining('against a key holding the wrong kind') })
    expect(unknown).toMatchObject({ name: 'RedisReplyError', code: 'ERR' })
    expect(text).toEqual(Buffer.from('x'))
  })

  test('no key is prefixed, and connections have the name they were opened with', async () => {
    const link = await open(target(), 'celeriac:named')
    await link.call('SET', ['plain', '1'])
    expect(await link.call('EXISTS', ['plain'])).toBe(1)
    expect(await link.call('EXISTS', ['users:plain'])).toBe(0)
    expect(await link.call('CLIENT', ['GETNAME'])).toEqual(Buffer.from('celeriac:named'))
    const named = await open(target({ clientName: 'shop' }))
    expect(await named.call('CLIENT', ['GETNAME'])).toEqual(Buffer.from('shop'))
  })

  test('the database is that of the address', async () => {
    const other = target({}, server.url.replace(/0$/, '3'))
    expect(other.db).toBe(3)
    const link = await open(other)
    expect(String(await link.call('CLIENT', ['INFO']))).toContain(' db=3 ')
    const beyond = target({}, server.url.replace(/0$/, '99'))
    await expect(open(beyond)).rejects.toThrow(/ERR DB index is out of range/)
  })

  test('what is published comes to the listener of its channel or pattern, and to nobody after it left', async () => {
    const [listens, sends] = [await open(), await open()]
    const heard: string[] = []
    const hear = (who: string) => (channel: string, payload: Buffer | null) =>
      void heard.push(`${who} ${channel} ${payload?.toString('hex')}`)
    await listens.subscribe(['a', 'b'], hear('first'))
    await listens.subscribe(['a'], hear('second'))
    await listens.psubscribe(['p.*', '?.x'], hear('pattern'))
    const publish = async (...channels: string[]): Promise<void> => {
      for (const channel of channels) await sends.call('PUBLISH', [channel, Buffer.from([0, 255])])
    }
    await publish('a', 'b', 'c', 'p.x')
    await until(() => heard.length === 4)
    expect(heard).toEqual(['second a 00ff', 'first b 00ff', 'pattern p.x 00ff', 'pattern p.x 00ff'])
    await listens.unsubscribe(['a'])
    await listens.punsubscribe(['?.x'])
    await publish('a', 'p.x', 'b')
    await until(() => heard.length === 6)
    expect(heard.slice(4)).toEqual(['pattern p.x 00ff', 'first b 00ff'])
    await listens.call('PING', [])
    await listens.unsubscribe(['b'])
    await listens.punsubscribe(['p.*'])
    await publish('b', 'p.x')
    await listens.subscribe(['end'], hear('end'))
    await publish('end')
    await until(() => heard.length === 7)
    expect(heard.at(-1)).toBe('end end 00ff')
  })

  test('client tracking tells of changed keys, and of an emptied database', async () => {
    const [listens, asks] = [await open(), await open()]
    const id = await listens.call('CLIENT', ['ID'])
    const heard: unknown[] = []
    await listens.subscribe(['__redis__:invalidate'], (_channel, payload) => void heard.push(payload))
    await asks.call('CLIENT', ['TRACKING', 'ON', 'REDIRECT', Number(id)])
    await asks.call('LLEN', ['tracked'])
    await (await open()).call('LPUSH', ['tracked', '1'])
    await until(() => heard.length === 1)
    await asks.call('LLEN', ['tracked'])
    await (await open()).call('FLUSHALL', [])
    await until(() => heard.length === 2)
    expect(heard[1]).toBeNull()
    // The link still works: what came was not taken for an answer.
    await listens.subscribe(['after'], () => heard.push('after'))
    await asks.call('PUBLISH', ['after', ''])
    await until(() => heard.length === 3)
  })

  test('close() waits for the answers that are due, then the link has ended', async () => {
    const link = await open()
    const due = [link.call('SET', ['closing', '1']), link.call('GET', ['closing'])]
    await link.close()
    expect(await Promise.all(due)).toEqual([Buffer.from('OK'), Buffer.from('1')])
    expect(await link.ended).toBeUndefined()
    await expect(link.call('PING', [])).rejects.toThrow(LinkLostError)
    await link.close()
  })

  test('destroy() rejects what is due, and says why', async () => {
    const link = await open()
    const due = link.call('BLPOP', ['nobody-pushes', 0])
    const why = new Error('no longer wanted')
    link.destroy(why)
    await expect(due).rejects.toThrow(LinkLostError)
    await expect(due).rejects.toThrow('no longer wanted')
    expect(await link.ended).toBe(why)
  })

  test('a connection that the server ends rejects what is due, ends once, and is not opened again', async () => {
    const [link, killer] = [await open(target(), 'celeriac:victim'), await open()]
    const id = Number(await link.call('CLIENT', ['ID']))
    const due = Promise.allSettled([link.call('BLPOP', ['nobody-pushes', 0]), link.call('GET', ['x'])])
    await killer.call('CLIENT', ['KILL', 'ID', id])
    for (const one of await due) expect(one).toMatchObject({ status: 'rejected', reason: { name: 'LinkLostError' } })
    expect(await link.ended).toBeInstanceOf(Error)
    await expect(link.call('PING', [])).rejects.toThrow(LinkLostError)
    expect(String(await killer.call('CLIENT', ['LIST']))).not.toContain('celeriac:victim')
  })

  test('a server that answers nothing is lost after the longest silence, and not before', async () => {
    const link = await open(target({ longestSilenceMs: 150 }))
    const controls = await open()
    const startMs = performance.now()
    await controls.call('CLIENT', ['PAUSE', 1_000, 'WRITE'])
    // It answers other commands meanwhile: this is no silence.
    const due = link.call('SET', ['paused', '1'])
    const chatting = setInterval(() => void link.call('PING', []).catch(() => {}), 20)
    await controls.call('CLIENT', ['UNPAUSE'])
    clearInterval(chatting)
    expect(await due).toEqual(Buffer.from('OK'))
    process.kill(server.pid, 'SIGSTOP')
    try {
      const silentMs = performance.now()
      await expect(link.call('GET', ['x'])).rejects.toThrow(/has not answered for 0.15 s/)
      expect(performance.now() - silentMs).toBeGreaterThan(140)
      expect(await link.ended).toBeInstanceOf(LinkLostError)
    } finally {
      process.kill(server.pid, 'SIGCONT')
    }
    expect(performance.now() - startMs).toBeLessThan(25_000)
  })

  test('a server that accepts and never speaks is given up when the signal says so, and nothing stays open', async () => {
    const sockets = new Set<import('node:net').Socket>()
    const mute = createServer((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => {}).resume()
    })
    mute.listen(0, '127.0.0.1')
    await once(mute, 'listening')
    try {
      const { port } = mute.address() as import('node:net').AddressInfo // it listens at a TCP port
      const reason = new Error('too late')
      const deadline = new AbortController()
      const opening = open(target({}, `redis://127.0.0.1:${port}/0`), 'celeriac:mute', deadline.signal)
      opening.catch(() => {})
      await until(() => sockets.size > 0)
      deadline.abort(reason)
      await expect(opening).rejects.toBe(reason)
      await until(() => sockets.size === 0)
    } finally {
      mute.close()
    }
  })

  test('a port where nobody listens is refused at once, by its address', async () => {
    const unused = createServer().listen(0, '127.0.0.1')
    await once(unused, 'listening')
    const { port } = unused.address() as import('node:net').AddressInfo // it listens at a TCP port
    await new Promise((resolve) => unused.close(resolve))
    await expect(open(target({}, `redis://127.0.0.1:${port}/0`))).rejects.toThrow(`connect ECONNREFUSED 127.0.0.1:${port}`)
  })
})

describe.skipIf(needs.redis?.find() === undefined)('a server with a password', () => {
  let locked: Awaited<ReturnType<typeof startRedis>>
  beforeAll(async () => {
    locked = await startRedis({ password: 'open sesame' })
  })
  afterAll(() => locked?.stop())
  const signal = new AbortController().signal
  const settings = { clock: systemClock, longestSilenceMs: 5_000 }

  test.each(Object.entries(carriers))('takes who knows it, and tells others why it does not (%s)', async (_, carrier) => {
    const opened = await carrier(locked.url, settings).open({ signal, name: 'x' })
    await opened.close()
    const wrong = carrier(locked.url.replace('sesame', 'simsim'), settings)
    await expect(wrong.open({ signal, name: 'x' })).rejects.toThrow(/^WRONGPASS invalid username-password pair/)
    const none = carrier(`redis://127.0.0.1:${locked.port}/0`, settings)
    await expect(none.open({ signal, name: 'x' })).rejects.toThrow(/^NOAUTH Authentication required/)
    await expect(none.open({ signal, name: 'x' })).rejects.toBeInstanceOf(RedisReplyError)
  })
})
