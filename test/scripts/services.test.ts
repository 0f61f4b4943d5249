import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { needs } from '../../scripts/needs.mjs'
import { startRedis } from '../../scripts/services.mjs'

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
