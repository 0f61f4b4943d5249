import { Redis } from 'ioredis'
import { afterAll, beforeAll } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { openLimitStore } from '../../dist/limits/index.js'
import { startRedis } from '../../scripts/services.mjs'
import { testLimitStore } from '../conformance/limit-store.js'

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

/** All times of a record, so much earlier. */
function earlier(text: string, ms: number): string {
  const value: unknown = JSON.parse(text, (_, each: unknown) => (typeof each === 'number' && each > 1e12 ? each - ms : each))
  return typeof value === 'number' ? String(value) : JSON.stringify(value)
}

testLimitStore({
  name: 'redis',
  open: async () => {
    await server.flush()
    return {
      store: () => openLimitStore(server.url, { clock: systemClock, transportOptions: { globalKeyprefix: 'p.' } }),
      // The server's time cannot be moved: what it keeps is made older.
      pass: async (ms) => {
        for (const key of await client.keys('p.celeriac.limits.*')) {
          const text = await client.get(key)
          const left = await client.pttl(key)
          if (text === null) continue
          if (left <= ms) await client.del(key)
          else await client.set(key, earlier(text, ms), 'PX', left - ms)
        }
      },
      dispose: async () => undefined,
    }
  },
})
