/** Queues that are paused for the cluster: what each worker does about it. */
import { expect, test } from 'vitest'
import { LiveApp, until } from '../live-app.js'

const soon = { timeout: 0.3 }

test('a paused queue is left alone by workers that run and that start later, until it is resumed', async () => {
  await using live = new LiveApp({ workerPrefetchMultiplier: 4 })
  const gates: (() => void)[] = []
  const gated = live.app.task('gated', async (what: string) => {
    await new Promise<void>((resolve) => gates.push(resolve))
    return what
  })
  const where = live.app.task('where', { bind: true }, (self) => self.request.queue)
  await live.work({ hostname: 'early@h', queues: ['a', 'b'], concurrency: 1 })
  const { control } = live.app

  const running = await gated.applyAsync(['runs'], { queue: 'a' })
  await until(() => gates.length === 1)
  // Taken already, and behind the one that runs.
  const waiting = await gated.applyAsync(['waits'], { queue: 'a' })
  await until(async () => (await control.inspect({ destination: ['early@h'], timeout: 10 }).reserved())['early@h']?.length === 1)
  expect(await control.pause('a', soon)).toEqual({ 'early@h': { ok: 'a is paused' } })
  const { core } = (live.app.constructor as typeof import('../../dist/index.js').Celeriac).internals(live.app)
  const connection = await core.connections.publisher()
  // It went back, and nobody takes it.
  expect(await connection.queues.facts('a')).toMatchObject({ waiting: 1, leased: 1 })
  gates[0]?.()
  expect(await running.get({ timeout: 30 })).toBe('runs')

  await live.work({ hostname: 'late@h', queues: ['a', 'b'] })
  const shown = await control.inspect({ limit: 2, timeout: 10 }).activeQueues()
  for (const node of ['early@h', 'late@h'])
    expect(shown[node]?.map(({ name, paused }) => [name, paused])).toEqual([
      ['a', true],
      ['b', false],
    ])
  const inA = await where.applyAsync([], { queue: 'a' })
  expect(await where.applyAsync([], { queue: 'b' }).get({ timeout: 30 })).toBe('b')
  expect(await connection.size('a')).toBe(2)
  expect(gates).toHaveLength(1)

  expect(await control.resume('a', soon)).toEqual({ 'early@h': { ok: 'taking from a' }, 'late@h': { ok: 'taking from a' } })
  await until(() => gates.length === 2)
  gates[1]?.()
  expect(await inA.get({ timeout: 30 })).toBe('a')
  expect(await waiting.get({ timeout: 30 })).toBe('waits')
  // Of each worker: when it was told, and when it found it.
  expect(live.said('Queue a is paused').map(({ level }) => level)).toEqual(['info', 'warn'])
})

test('paused is not cancelled: what was cancelled meanwhile stays so, and what is added while it is paused waits', async () => {
  await using live = new LiveApp()
  const where = live.app.task('where', { bind: true }, (self) => self.request.queue)
  await live.work({ hostname: 'w@h', queues: ['a'] })
  const { control } = live.app
  const one = { destination: ['w@h'], timeout: 10 }
  await control.pause('a', soon)
  await control.pause('b', soon)
  await control.addConsumer('b', one)
  await control.cancelConsumer('a', one)
  const [inA, inB] = [await where.applyAsync([], { queue: 'a' }), await where.applyAsync([], { queue: 'b' })]
  expect((await control.inspect(one).activeQueues())['w@h']?.map(({ name, paused }) => [name, paused])).toEqual([['b', true]])
  expect(await control.resume('a', soon)).toEqual({ 'w@h': { ok: "a is none of this worker's queues" } })
  await control.resume('b', soon)
  expect(await inB.get({ timeout: 30 })).toBe('b')
  expect(await inA.state()).toBe('PENDING')
})
