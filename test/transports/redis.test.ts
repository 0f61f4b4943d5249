import { afterAll, beforeAll } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { listOf, type RedisLink, textOf } from '../../dist/internal/redis/link.js'
import { redisTarget } from '../../dist/internal/redis/target.js'
import { defaultRedisBrokerOptions } from '../../dist/transports/redis/options.js'
import { RedisTransport } from '../../dist/transports/redis.js'
import { startRedis } from '../../scripts/services.mjs'
import { type TransportDriver, testTransport } from '../conformance/transport.js'

let server: Awaited<ReturnType<typeof startRedis>>
let link: RedisLink

beforeAll(async () => {
  server = await startRedis()
  link = await target().open({ signal: AbortSignal.timeout(5_000), name: 'test' })
})
afterAll(async () => {
  await link.close()
  await server.stop()
})

const target = () => redisTarget(server.url, { clock: systemClock, longestSilenceMs: 7_000 })
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const lists = 'a Redis queue is a list, which comes into being with its first message'
const bare = 'Redis keeps lists and bindings, and no properties of queues and exchanges'
const pubSub = 'a fan-out exchange is a channel: nothing waits there for who comes later'
const noDelay = 'the message must lie on its list, where Python workers find it: the worker that takes it lets it wait for its time'

const driver: TransportDriver = {
  name: 'redis',
  open: async (clock) => {
    await server.flush()
    return {
      transport: async () => new RedisTransport(target(), { ...defaultRedisBrokerOptions, deliveryLimit: 5 }, { clock, log: silent }),
      pass,
      locate,
      dispose: async () => {},
    }
  },
  gaps: {
    'the default exchange refuses a queue that nobody declared': lists,
    'one message that cannot be published does not stop the others of its tick': lists,
    'a queue that nobody declared cannot be consumed': lists,
    'names are checked before anything is declared': lists,
    'a queue with x-message-ttl drops what waits longer': bare,
    'a queue with x-max-length or x-max-length-bytes keeps the latest that it has room for': bare,
    'a queue with x-overflow: reject-publish takes no more than it has room for': bare,
    'a queue with x-expires goes when nobody consumed it for that long': bare,
    'declaring again is fine; with other properties it names both': bare,
    'an exclusive queue is for its connection alone, and goes with it': bare,
    'an auto-delete queue goes with its last consumer, and its exchange with it': bare,
    'a fanout exchange copies to every queue, and to none is fine': pubSub,
    'a message is not delivered before notBefore, and at once then': noDelay,
    'what came due while nobody consumed is delivered to the first that does': noDelay,
    '# in a topic pattern stands for no word, too': 'kombu matches topics with regular expressions of its own, and all peers must agree',
    'locate tells where the message of a task is': 'a list can only be read from its ends',
  },
}

/** All that waits for its time is due so much sooner. */
async function pass(ms: number): Promise<void> {
  const keys = listOf(await link.call('KEYS', ['celeriac.eta.*'])).map(textOf)
  for (const key of keys) {
    const ids = listOf(await link.call('ZRANGE', [key, 0, -1])).map(textOf)
    for (const id of ids) await link.call('ZINCRBY', [key, -ms / 1000, id])
  }
}

/** By reading everything, which a driver must not do. */
async function locate(taskId: string): Promise<'waiting' | 'leased' | 'absent'> {
  const keys = listOf(await link.call('KEYS', ['*'])).map(textOf)
  for (const key of keys) {
    if (textOf(await link.call('TYPE', [key])) !== 'list') continue
    const messages = listOf(await link.call('LRANGE', [key, 0, -1])).map(textOf)
    if (messages.some((message) => message.includes(`"id":"${taskId}"`))) return 'waiting'
  }
  const held = listOf(await link.call('HGETALL', ['unacked'])).map(textOf)
  for (let at = 0; at < held.length; at += 2) {
    if (held[at + 1]?.includes(`"id":"${taskId}"`)) return held[at]?.startsWith('c:eta:') ? 'waiting' : 'leased'
  }
  return 'absent'
}

testTransport(driver)
