/** A task that blocks the event loop of its worker, on a server where somebody else looks for lost messages all the time. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import { textOf } from '../../../dist/internal/redis/link.js'
import { redisTarget } from '../../../dist/internal/redis/target.js'
import { defaultRedisBrokerOptions } from '../../../dist/transports/redis/options.js'
import { RedisTransport } from '../../../dist/transports/redis.js'
import { startRedis } from '../../../scripts/services.mjs'
import { Inbox, message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'

const leaseTtlMs = 900
let server: Awaited<ReturnType<typeof startRedis>>

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

function connect(lines: string[] = []) {
  const log = { debug: () => {}, info: () => {}, warn: (_: unknown, line?: string) => void lines.push(line ?? ''), error: () => {} }
  const target = redisTarget(server.url, { clock: systemClock, longestSilenceMs: 7_000 })
  const options = { ...defaultRedisBrokerOptions, leaseTtlMs, sweepIntervalMs: 50 }
  return new RedisTransport(target, options, { clock: systemClock, log }).connect({ signal: AbortSignal.timeout(5_000) })
}

async function clientNames(): Promise<readonly string[]> {
  const target = redisTarget(server.url, { clock: systemClock, longestSilenceMs: 7_000 })
  const link = await target.open({ signal: AbortSignal.timeout(5_000), name: 'test' })
  const list = textOf(await link.call('CLIENT', ['LIST']))
  await link.close()
  return list.match(/(?<= name=)\S*/g) ?? []
}

function block(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** In a process of its own: this one's event loop stands still. */
async function sweeperProcess(): Promise<AsyncDisposable> {
  const { spawn } = await import('node:child_process')
  const script = `
    import { systemClock } from '${new URL('../../../dist/internal/clock.js', import.meta.url)}'
import { redisTarget } from '${new URL('../../../dist/internal/redis/target.js', import.meta.url)}'
    import { defaultRedisBrokerOptions } from '${new URL('../../../dist/transports/redis/options.js', import.meta.url)}'
    import { RedisTransport } from '${new URL('../../../dist/transports/redis.js', import.meta.url)}'
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const target = redisTarget('${server.url}', { clock: systemClock, longestSilenceMs: 7000 })
    const options = { ...defaultRedisBrokerOptions, leaseTtlMs: ${leaseTtlMs}, sweepIntervalMs: 50 }
    const connection = await new RedisTransport(target, options, { clock: systemClock, log }).connect({ signal: AbortSignal.timeout(5000) })
    await connection.consume({ queues: ['another'], prefetch: 1, onDeliveries() {} })
    console.log('ready')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve)
    child.once('exit', (code) => reject(new Error(`the sweeper ended with ${code}`)))
  })
  return {
    [Symbol.asyncDispose]: async () => {
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await exited
    },
  }
}

async function deliveryWhileBlocked(blocksUpToMs: number): Promise<boolean> {
  await server.flush()
  await using _sweeper = await sweeperProcess()
  const connection = await connect()
  try {
    await connection.declare(topology(queue('q')))
    await connection.publish(message(), { exchange: '', routingKey: 'q' }, { deadlineMs: 20_000 })
    const inbox = await Inbox.open(connection, { blocksUpToMs })
    const delivery = await inbox.gone(0)
    if (blocksUpToMs > 1_000) await until(async () => (await clientNames()).includes('celeriac:broker:leases'), 'the thread')
    block(leaseTtlMs * 3)
    delivery.ack()
    await connection.close()
    return connection.counters.lateSettlements === 0
  } finally {
    await connection.close()
  }
}

test('a lease outlives a blocked event loop, as long as a task may block it', async () => {
  expect(await deliveryWhileBlocked(60_000)).toBe(true)
})

test('a lease is lost when the event loop is blocked for longer than a task may', async () => {
  expect(await deliveryWhileBlocked(100)).toBe(false)
})
