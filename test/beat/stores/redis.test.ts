import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openScheduleStore } from '../../../dist/beat/stores/index.js'
import { systemClock } from '../../../dist/internal/clock.js'
import { startRedis } from '../../../scripts/services.mjs'
import { testScheduleStore } from '../../conformance/schedule-store.js'
import { until } from '../../conformance/wait.js'
import { Rig } from '../rig.js'

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

test('a server that is emptied while a beat leads: it opens it anew, and goes on with what its program says', async () => {
  await server.flush()
  await using rig = new Rig()
  const app = rig.app({ beatStore: server.url, beatSchedule: { tick: { task: 'tick', schedule: 20 } } })
  await using beat = await app.beat().start()
  const sent = async (count: number): Promise<void> =>
    until(async () => {
      await rig.pass(2)
      return rig.sent.length >= count
    }, `${count} are sent`)
  await sent(2)
  const id = await client.get('celeriac.beat.shop.id')
  await client.flushall()
  await sent(5)
  expect(beat.isLeading).toBe(true)
  expect(rig.log.join('\n')).toContain('was emptied')
  // It is another store: what the broker knows of the one before holds up nothing.
  expect(await client.get('celeriac.beat.shop.id')).not.toBe(id)
  expect((await app.schedule.list()).map(({ name }) => name)).toEqual(['tick'])
})

test('entries that come and go leave nothing behind for good', async () => {
  await server.flush()
  const store = await openScheduleStore(server.url, { app: 'shop', clock: systemClock, log })
  try {
    await store.write({ entries: [{ name: 'stays', from: 0, data: '1' }] })
    for (let count = 0; count < 300; count++) {
      const added = await store.write({ entries: [{ name: `job-${count}`, from: 0, data: '1' }] })
      if (added.status === 'written') await store.write({ entries: [{ name: `job-${count}`, from: added.revision, data: null }] })
    }
    // A name that is used again is no removed one.
    await store.write({ entries: [{ name: 'job-0', from: 0, data: '2' }] })
    expect(await store.entries(0)).toHaveLength(301)
    await client.incrby('celeriac.beat.shop.revision', 1_000)
    for (let count = 0; count < 3; count++) await store.write({ entries: [] })
    expect((await store.entries(0)).map(({ name }) => name)).toEqual(['stays', 'job-0'])
  } finally {
    await store.close()
  }
})
