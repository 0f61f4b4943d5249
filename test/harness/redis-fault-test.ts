import { needs } from '../../scripts/needs.mjs'
import type { RedisOptions } from '../../scripts/services.mjs'
import { type FaultTest, faultTestOn } from './fault-test.js'
import { RedisBroker, RedisGroup, RedisOnSmallDisk } from './redis-broker.js'
import { noSmallDisk } from './small-disk.js'

const onRedis = faultTestOn('redis', (_, { server }: { readonly server?: RedisOptions }) => RedisBroker.start(server))
const onGroup = faultTestOn('redis', (_, { transport }: { readonly transport?: object }) => RedisGroup.open(transport))
const onSmallDisk = faultTestOn('redis', (folder) => RedisOnSmallDisk.open(folder))
const missing = needs.redis?.find() === undefined ? 'needs redis-server' : undefined

/** On a Redis server of the row's own, started with the options of `server`. Rows run at the same time as others of their file, unless they say no. */
export const redisTest: FaultTest<RedisBroker, { readonly server?: RedisOptions }> = (row, body) =>
  onRedis({ ...row, skip: missing ?? row.skip, concurrent: row.concurrent ?? true }, body)

/** With a replica and a Sentinel; `transport` is more of `brokerTransportOptions`. */
export const redisGroupTest: FaultTest<RedisGroup, { readonly transport?: object }> = (row, body) =>
  onGroup({ ...row, skip: missing ?? row.skip, concurrent: row.concurrent ?? true }, body)

/** Its append-only file has little room. */
export const redisOnSmallDiskTest: FaultTest<RedisOnSmallDisk> = (row, body) =>
  onSmallDisk({ ...row, skip: missing ?? noSmallDisk() ?? row.skip, concurrent: row.concurrent ?? true }, body)
