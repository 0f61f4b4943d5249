import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChannelModel } from 'amqplib'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { needs } from '../../scripts/needs.mjs'
import { startRabbit, startRedis, startSentinel } from '../../scripts/services.mjs'
import { isTaken } from '../harness/depth.js'
import { lookInto, virtualHost, withoutRabbit } from '../rabbit.js'

let folder = ''
const before = process.env.CELERIAC_TEST_FOLDER
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-services-'))
  process.env.CELERIAC_TEST_FOLDER = folder
})
afterEach(() => {
  if (before === undefined) delete process.env.CELERIAC_TEST_FOLDER
  else process.env.CELERIAC_TEST_FOLDER = before
  rmSync(folder, { recursive: true })
})

function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', () => resolve(true))
  })
}

async function connected(url: string): Promise<{ connection: ChannelModel; closed: Promise<void> }> {
  const connection = await lookInto(url)
  return { connection, closed: new Promise((resolve) => connection.once('close', () => resolve())) }
}

/** Those that work in this folder or below it. */
function processesIn(folder: string): readonly string[] {
  const found = readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/environ`, 'utf8').includes(folder) && Number(name) !== process.pid
    } catch {
      return false
    }
  })
  return found.map((name) => `${name} ${readFileSync(`/proc/${name}/cmdline`, 'utf8')}`)
}

test.skipIf(needs.redis?.find() === undefined)(
  'a server that is started answers on a port of its own, and leaves nothing behind (needs redis-server)',
  async () => {
    const [one, two] = await Promise.all([startRedis(), startRedis()])
    expect(one.port).not.toBe(two.port)
    expect(existsSync(folder) && readdirSync(folder)).toHaveLength(2)
    await Promise.all([one.stop(), one.stop(), two.stop()])
    expect(await refuses(one.port)).toBe(true)
    expect(readdirSync(folder)).toEqual([])
  },
)

test.skipIf(needs.redis?.find() === undefined)(
  'a server that is killed and started again is where it was, with what it had written (needs redis-server)',
  async () => {
    const one = await startRedis({ appendonly: true, password: 's3cret' })
    const client = new Redis(one.url, { retryStrategy: null, maxRetriesPerRequest: 0 })
    client.on('error', () => {})
    const after = new Redis(one.url, { lazyConnect: true })
    try {
      await client.set('key', 'value')
      const first = one.pid
      await one.kill()
      expect(await refuses(one.port)).toBe(true)
      await one.restart()
      expect(one.pid).not.toBe(first)
      expect(await after.get('key')).toBe('value')
    } finally {
      client.disconnect()
      after.disconnect()
      await one.stop()
    }
    expect(readdirSync(folder)).toEqual([])
  },
)

test.skipIf(needs.redis?.find() === undefined)('a sentinel names the server that it watches (needs redis-server)', async () => {
  const one = await startRedis()
  const sentinel = await startSentinel({ port: one.port })
  const client = new Redis({ sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: sentinel.name })
  try {
    expect(await client.info('server')).toContain(`tcp_port:${one.port}`)
  } finally {
    client.disconnect()
    await Promise.all([one.stop(), sentinel.stop()])
  }
  expect(readdirSync(folder)).toEqual([])
})

// test/faults/amqp-server.test.ts kills and starts one each time.
test.skipIf(withoutRabbit() || !isTaken('full'))(
  'a RabbitMQ node has what it was given, keeps what was written over a kill, and leaves nothing behind (needs rabbitmq-server)',
  async () => {
    const node = await startRabbit({ vhosts: 1, config: { heartbeat: 7 } })
    const { pid } = node
    try {
      const before = await connected(node.vhostUrl(0))
      const channel = await before.connection.createConfirmChannel()
      await channel.assertQueue('kept', { durable: true })
      // RabbitMQ writes down a queue a moment after it has said that it is there.
      expect(await node.ctl('eval', 'mnesia:sync_log(), application:get_env(rabbit, heartbeat).')).toBe('{ok,7}\n')
      channel.sendToQueue('kept', Buffer.from('message'), { persistent: true })
      await channel.waitForConfirms()
      await node.kill()
      await before.closed
      await node.restart()
      expect(node.pid).not.toBe(pid)
      expect(await node.ctl('list_queues', '-p', 'v0', '--no-table-headers', 'name', 'messages')).toMatch(/^kept\s+1$/m)
    } finally {
      await node.stop()
    }
    expect(await refuses(node.port)).toBe(true)
    expect(processesIn(folder)).toEqual([])
    expect(readdirSync(folder)).toEqual([])
  },
  90_000,
)

test.skipIf(withoutRabbit())(
  'test files have virtual hosts of their own on one shared node (needs rabbitmq-server)',
  async () => {
    const [one, two] = [await virtualHost(), await virtualHost()]
    expect(new URL(one.url).port).toBe(new URL(two.url).port)
    expect(one.url).not.toBe(two.url)
    for (const { url } of [one, two]) await (await connected(url)).connection.close()
    expect(await one.ctl('list_queues', '-p', one.name, '--no-table-headers', 'name')).toBe('')
  },
  90_000,
)
