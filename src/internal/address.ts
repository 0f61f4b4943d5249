/** Where a broker or result backend is: a URL, or an object of the user's that is connected to it. */
import { describeRedisClient } from './redis/own-client.js'
import { redactUrl } from './url.js'

/** A Redis client of the user's own: of ioredis, `redis` or @redis/client. celeriac opens connections of its own with its options and leaves it alone. */
export interface OwnClient {
  readonly client: RedisClientObject
}

/** What is looked at to tell one; the rest is checked when it is given. */
export interface RedisClientObject {
  duplicate(...overrides: never[]): object
}

export type Address = string | OwnClient

/** For people: without a password. */
export function showAddress(address: Address): string {
  return typeof address === 'string' ? redactUrl(address) : describeRedisClient(address.client)
}

export function isSameAddress(one: Address, other: Address): boolean {
  return typeof one === 'string' || typeof other === 'string' ? one === other : one.client === other.client
}
