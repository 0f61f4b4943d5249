/** A queue of `taskQueues` that is a broadcast: every worker runs what is sent to it. */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { startRedis } from '../../scripts/services.mjs'
import { LiveApp, until } from '../live-app.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'

const ends: (() => unknown)[] = []
afterAll(async () => {
  for (const end of ends) await end()
})

const brokers: readonly [string, false | string, () => Promise<string>][] = [
  ['memory', false, async () => `memory://${randomUUID()}`],
  [
    'sqlite',
    false,
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'celeriac-broadcast-'))
      ends.push(() => rmSync(folder, { recursive: true, force: true }))
      return `sqlite://${join(folder, 'queue.db')}`
    },
  ],
  [
    'redis',
    false,
    async () => {
      const redis = await startRedis()
      ends.push(() => redis.stop())
      return redis.url
    },
  ],
  ['rabbitmq', withoutRabbit(), async () => (await virtualHost()).url],
]

describe.each(brokers)('on %s', (_, skipped, open) => {
  let broker = ''
  beforeAll(async () => {
    if (skipped === false) broker = await open()
  })

  const options = { taskQueues: [{ name: 'news', broadcast: true }, 'own'], backend: 'disabled' }

  test.skipIf(skipped)('each worker runs it, also later and again, and no other queue has it', async () => {
    await using live = new LiveApp({ broker, ...options })
    const heard: string[] = []
    const hear = live.app.task('hear', { bind: true, queue: 'news', maxRetries: 1, defaultRetryDelay: 0 }, (self, what: string) => {
      heard.push(`${self.request.worker.split('@')[0]} ${what} ${self.request.retries}`)
      if (what === 'again' && self.request.retries === 0) self.retry()
    })
    await live.work({ hostname: 'a@h', queues: ['news'] })
    await live.work({ hostname: 'b@h' })
    await live.work({ hostname: 'c@h', queues: ['own'] })
    await hear.delay('now')
    await hear.applyAsync(['later'], { countdown: 0.2 })
    await hear.delay('again')
    await until(() => heard.length === 8)
    expect([...heard].sort()).toEqual(
      ['a', 'b'].flatMap((worker) => [`${worker} again 0`, `${worker} again 1`, `${worker} later 0`, `${worker} now 0`]),
    )
  })

  test.skipIf(skipped)('a worker that takes from it later hears what is sent from then on', async () => {
    await using live = new LiveApp({ broker, ...options })
    const heard: string[] = []
    const hear = live.app.task('hear', { bind: true, queue: 'news' }, (self, what: number) => {
      heard.push(`${self.request.worker.split('@')[0]} ${what}`)
    })
    await live.work({ hostname: 'a@h', queues: ['own'] })
    await hear.delay(1)
    await live.app.control.addConsumer('news', { destination: ['a@h'], timeout: 10 })
    await hear.delay(2)
    await until(() => heard.length === 1)
    await live.app.control.cancelConsumer('news', { destination: ['a@h'], timeout: 10 })
    await hear.delay(3)
    await hear.applyAsync([4], { queue: 'own' })
    await until(() => heard.length === 2)
    expect(heard).toEqual(['a 2', 'a 4'])
  })
})

test('what a broadcast decides itself cannot be given', () => {
  for (const [field, value] of Object.entries({ exchangeType: 'topic', autoDelete: false, bindings: [{ routingKey: 'a' }] }))
    expect(() => new Celeriac('x', { taskQueues: [{ name: 'news', broadcast: true, [field]: value }] })).toThrow(
      new RegExp(`taskQueues\\[0\\].${field} to be left out for a broadcast`),
    )
})
