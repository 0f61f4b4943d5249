/** A user's own client object: which library it is of, and where it leads. */
import { isRecord } from '../option-kinds.js'
import type { IoredisClient } from './ioredis-link.js'
import type { NodeRedisClient } from './node-redis-link.js'

export type OwnRedisClient =
  | { readonly library: 'ioredis'; readonly client: IoredisClient }
  | { readonly library: '@redis/client'; readonly client: NodeRedisClient }

const expectedClient = 'a client of ioredis (new Redis()) or of redis or @redis/client from version 5 on (createClient())'

/** By its methods: it may come from any copy of its library. A text says what is wrong with it. */
export function recognizeRedisClient(given: unknown): OwnRedisClient | string {
  if (typeof given !== 'object' || given === null) return expectedClient
  const has = (...methods: readonly string[]): boolean => methods.every((method) => typeof Reflect.get(given, method) === 'function')
  if (Reflect.get(given, 'isCluster') === true || has('getSlotRandomNode') || has('getRandomNode'))
    return 'a client of one Redis server and not of a Redis Cluster: the keys of a queue are on several of its servers, and none can move a message atomically'
  if (has('getMasterNode') || (has('acquire') && !has('duplicate')))
    return 'a URL such as "sentinel://a:26379;sentinel://b:26379" with the transport option masterName: a Sentinel client of redis hides its connections'
  // What the methods do is what the library documents; that they are there is all that can be seen.
  if (has('duplicate', 'callBuffer', 'psubscribe', 'disconnect', 'on')) return { library: 'ioredis', client: given as IoredisClient }
  if (has('duplicate', 'sendCommand', 'withTypeMapping', 'pSubscribe', 'destroy', 'on'))
    return { library: '@redis/client', client: given as NodeRedisClient }
  if (has('duplicate', 'sendCommand', 'pSubscribe')) return `${expectedClient}; this one is older`
  return expectedClient
}

/** The number of the database that a client was made for. */
export function databaseOf({ library, client }: OwnRedisClient): number {
  return (library === 'ioredis' ? client.options.db : client.options?.database) ?? 0
}

/** `redis client (localhost:6379/0)`: never with a password. */
export function describeRedisClient(given: object): string {
  const found = recognizeRedisClient(given)
  if (typeof found === 'string') return 'redis client'
  const options: unknown = found.client.options
  const all = typeof options === 'object' && options !== null ? { ...options } : {}
  const place: Readonly<Record<string, unknown>> = found.library === 'ioredis' ? all : isObject(Reflect.get(all, 'socket'))
  const { path, sentinels, name, host = 'localhost', port = 6379 } = place
  const at = typeof path === 'string' && path !== '' ? path : Array.isArray(sentinels) ? `${name} of Sentinels` : `${host}:${port}`
  return `redis client (${at}/${databaseOf(found)})`
}

function isObject(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {}
}

/** What was given, for a message: a client's own fields have its password. */
export function classOf(given: unknown): string {
  if (typeof given !== 'object' || given === null) return String(given)
  const name: unknown = Reflect.get(given.constructor ?? {}, 'name')
  return typeof name === 'string' && name !== '' ? name : 'an object'
}
