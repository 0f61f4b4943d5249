import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { needs } from '../../scripts/needs.mjs'
import { startRedis, startSentinel } from '../../scripts/services.mjs'

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
