import { Redis } from 'ioredis'
import { afterAll, beforeAll } from 'vitest'
import { openScheduleStore } from '../../../dist/beat/stores/index.js'
import { systemClock } from '../../../dist/internal/clock.js'
import { startRedis } from '../../../scripts/services.mjs'
import { testScheduleStore } from '../../conformance/schedule-store.js'

const log = { debug() {}, info() {}, warn() {}, error() {} }
let server: Awaited<ReturnType<typeof startRedis>>
let client: Redis

beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.url)
})
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

testScheduleStore({
  name: 'redis',
  open: async () => {
    await server.flush()
    return {
      store: (app = 'shop') => openScheduleStore(server.url, { app, clock: systemClock, log, transportOptions: { globalKeyprefix: 'p.' } }),
      // The lease is a key that expires by the server's clock.
      pass: async (ms) => {
        const left = await client.pttl('p.celeriac.beat.shop.lease')
        if (left > 0) await client.pexpire('p.celeriac.beat.shop.lease', Math.max(0, left - ms))
      },
      dispose: async () => undefined,
    }
  },
})
