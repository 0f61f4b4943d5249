/** A database that somebody else uses, too: what stands where ours should be. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import { integerOf } from '../../../dist/internal/redis/link.js'
import { redisTarget } from '../../../dist/internal/redis/target.js'
import { defaultRedisBrokerOptions } from '../../../dist/transports/redis/options.js'
import { RedisTransport } from '../../../dist/transports/redis.js'
import { startRedis } from '../../../scripts/services.mjs'
import { Inbox, message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'

let server: Awaited<ReturnType<typeof startRedis>>

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

test('a key of another type in the place of one queue does not stop the others, nor lose what was taken from them', async () => {
  const target = redisTarget(server.url, { clock: systemClock, longestSilenceMs: 7_000 })
  const link = await target.open({ signal: AbortSignal.timeout(5_000), name: 'test' })
  const lines: string[] = []
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: (_: unknown, line?: string) => void lines.push(line ?? '') }
  const connection = await new RedisTransport(target, defaultRedisBrokerOptions, { clock: systemClock, log }).connect({
    signal: AbortSignal.timeout(5_000),
  })
  try {
    await link.call('SET', ['mail', 'no list'])
    await connection.declare(topology(queue('celery'), queue('mail')))
    const inbox = await Inbox.open(connection, { queues: ['celery', 'mail'], prefetch: 10 })
    const ids = ['a', 'b', 'c', 'd']
    for (const id of ids) await connection.publish(message({ id }), { exchange: '', routingKey: 'celery' }, { deadlineMs: 5_000 })
    for (const delivery of await inbox.gets(ids.length)) delivery.ack()
    expect([...inbox.ids].sort()).toEqual(ids)
    await until(async () => integerOf(await link.call('HLEN', ['unacked'])) === 0, 'nothing is out', 20_000)
    await until(() => lines.length > 0, 'a word of it', 20_000)
    expect(lines[0]).toMatch(/WRONGTYPE.*mail/)
    await expect(connection.publish(message(), { exchange: '', routingKey: 'mail' }, { deadlineMs: 5_000 })).rejects.toMatchObject({
      code: 'ERR_NOT_PUBLISHED',
      message: expect.stringContaining('WRONGTYPE'),
    })
  } finally {
    await connection.close()
    await link.close()
  }
})
