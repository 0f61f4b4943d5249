/** What a sweep does when the clock of the server is set: leases that are refreshed stay, whatever it shows. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import { listOf, type RedisLink, textOf } from '../../../dist/internal/redis/link.js'
import { Script } from '../../../dist/internal/redis/script.js'
import { redisTarget } from '../../../dist/internal/redis/target.js'
import { VirtualClock } from '../../../dist/testing/virtual-clock.js'
import { writeEnvelope } from '../../../dist/transports/redis/envelope.js'
import { Layout } from '../../../dist/transports/redis/layout.js'
import { defaultRedisBrokerOptions } from '../../../dist/transports/redis/options.js'
import { Returns } from '../../../dist/transports/redis/returns.js'
import { makeScripts } from '../../../dist/transports/redis/scripts.js'
import { Sweeper } from '../../../dist/transports/redis/sweeper.js'
import { RedisTopology } from '../../../dist/transports/redis/topology.js'
import { startRedis } from '../../../scripts/services.mjs'
import { message } from '../../conformance/transport.js'

const options = { ...defaultRedisBrokerOptions, leaseTtlMs: 30_000, sweepIntervalMs: 5_000 }
const hour = 3_600
let server: Awaited<ReturnType<typeof startRedis>>
let link: RedisLink

beforeAll(async () => {
  server = await startRedis()
  link = await redisTarget(server.url, { clock: systemClock, longestSilenceMs: 7_000 }).open({
    signal: AbortSignal.timeout(5_000),
    name: 'test',
  })
})
afterAll(async () => {
  await link.close()
  await server.stop()
})
beforeEach(() => server.flush())

/** A server whose clock was set by so many seconds: the look of the sweeper, with what is added to TIME. */
function scriptsAt(aheadSeconds: number) {
  const overdue = new Script(`
local now = redis.call('TIME')
local seconds = string.format('%.6f', tonumber(now[1]) + tonumber(now[2]) / 1000000 + ${aheadSeconds})
return {seconds, redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], seconds, 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[2]))}`)
  return { ...makeScripts({ allowOom: true }), overdue }
}

/** The lease begins now by this clock, as when its holder claims or refreshes. */
async function lease(id: string, aheadSeconds: number): Promise<void> {
  const envelope = writeEnvelope(message({ id: 'a' }), { exchange: '', routingKey: 'q' })
  const [seconds] = listOf(await link.call('TIME', [])).map(textOf)
  await link.call('HSET', ['unacked', id, `[${envelope},"","q"]`])
  await link.call('ZADD', ['unacked_index', Number(seconds) + aheadSeconds + options.leaseTtlMs / 1000, id])
}

function sweeping() {
  const clock = new VirtualClock()
  const layout = new Layout(options, 0)
  const counters = { lateSettlements: 0, deadLettersDropped: 0 }
  const returns = new Returns({ layout, topology: new RedisTopology(layout), options, clock, counters })
  return { clock, sweeper: new Sweeper({ layout, options, returns, clock }) }
}

test('a clock that is put forward by an hour takes no lease away that is refreshed, and those of the dead are over all the same', async () => {
  const { clock, sweeper } = sweeping()
  await lease('c:alive:1', 0)
  await lease('c:dead:1', 0)
  expect(await sweeper.sweep(link, scriptsAt(0))).toBe(0)
  const after = scriptsAt(hour)
  // All are over, and the holder refreshes only after the second look.
  expect(await sweeper.sweep(link, after)).toBe(0)
  await clock.moveTo(clock.now() + options.sweepIntervalMs)
  expect(await sweeper.sweep(link, after)).toBe(0)
  await lease('c:alive:1', hour)
  await clock.moveTo(clock.now() + options.sweepIntervalMs)
  expect(await sweeper.sweep(link, after)).toBe(1)
  expect(listOf(await link.call('HKEYS', ['unacked'])).map(textOf)).toEqual(['c:alive:1'])
})

test('a clock that is put back by an hour holds up nothing that is over', async () => {
  const { clock, sweeper } = sweeping()
  expect(await sweeper.sweep(link, scriptsAt(hour))).toBe(0)
  // Its worker died before the first sweep, by the clock as it is now.
  await lease('c:dead:1', -2 * hour)
  const taken: number[] = []
  for (let sweep = 0; sweep < 5; sweep++) {
    taken.push(await sweeper.sweep(link, scriptsAt(0)))
    await clock.moveTo(clock.now() + options.sweepIntervalMs)
  }
  expect(taken.reduce((sum, count) => sum + count, 0)).toBe(1)
})
