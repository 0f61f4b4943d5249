/** What beat does when the broker is away, and on a broker that has no fences. */
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Connections } from '../../dist/app/connections.js'
import { openBackend } from '../../dist/backends/index.js'
import { firingId } from '../../dist/beat/due.js'
import { ConnectionError, PublishUncertainError } from '../../dist/errors.js'
import { type Celeriac, group } from '../../dist/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { Deferred } from '../../dist/internal/deferred.js'
import type { Connection } from '../../dist/transport.js'
import { openTransport } from '../../dist/transports/index.js'
import { until } from '../conformance/wait.js'
import { Rig, startMs } from './rig.js'

/** The app's connections, with a way between. */
function between(rig: Rig, app: Celeriac, change: (connection: Connection) => Connection): void {
  const core = rig.core(app)
  const { brokerUrl, resultBackend } = core.config
  core.connections = new Connections({
    brokers: brokerUrl,
    backend: resultBackend,
    connectTimeoutMs: 4_000,
    clock: systemClock,
    drivers: {
      openTransport: async (address) => {
        const transport = await openTransport(address, { clock: systemClock })
        return {
          ...transport,
          name: transport.name,
          supports: transport.supports,
          connect: async (options) => change(await transport.connect(options)),
        }
      },
      openBackend: (address) => openBackend(address, { clock: systemClock }),
    },
  })
}

const beatSchedule = { tick: { task: 'tick', schedule: 10 } }

test('what is due while the broker is away is sent when it is back: once', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule, taskPublishRetry: false })
  let isAway = true
  between(rig, app, (connection) => {
    if (isAway) throw new ConnectionError('away')
    return connection
  })
  await using _beat = await app.beat().start()
  await rig.pass(45)
  expect(rig.sent).toEqual([])
  expect(await app.schedule.history('tick')).toEqual([])
  isAway = false
  await rig.pass(16)
  expect(rig.times('tick').filter((time) => time <= 45)).toHaveLength(0)
  const [first, second] = (await app.schedule.history('tick')).reverse()
  expect(first).toMatchObject({ outcome: 'sent', note: expect.stringContaining('in place of those that were missed since') })
  expect(second?.dueAt?.getTime()).toBe((first?.dueAt?.getTime() ?? 0) + 10_000)
})

test('a store that was put back to an older state catches up with the leaders that the broker knows', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule })
  const connection = await rig.core(app).connections.publisher()
  await connection.raiseFences?.([{ key: `beat:${(await rig.store()).id}`, order: 4, again: true }])
  await using beat = await app.beat().start()
  await rig.pass(25)
  expect(beat.isLeading).toBe(true)
  expect(rig.sent).toHaveLength(2)
})

test('a store in a database that is removed while a beat leads is made anew, and the entries of the program go on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const store = join(folder, 'store')
  try {
    await using rig = new Rig()
    const app = rig.app({ beatSchedule: { tick: { task: 'tick', schedule: 20 } }, beatStore: `sqlite://${store}/queue.db` })
    await using beat = await app.beat().start()
    const sent = (count: number): Promise<void> =>
      until(async () => {
        await rig.pass(2)
        return rig.sent.length >= count
      }, `${count} are sent`)
    await sent(2)
    rmSync(store, { recursive: true })
    await sent(5)
    expect(beat.isLeading).toBe(true)
    expect((await app.schedule.list()).map(({ name }) => name)).toEqual(['tick'])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

/** A connection as that of a broker without fences. */
function withoutFences(connection: Connection): Connection {
  return new Proxy(connection, {
    get: (target, name) => {
      if (name === 'raiseFences') return undefined
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

test('on a broker without fences entries are sent, too, and a run that may have been sent is looked for before it is sent again', async () => {
  await using rig = new Rig()
  const first = rig.app({ beatSchedule })
  between(rig, first, withoutFences)
  const beat = await first.beat().start()
  await rig.pass(21)
  expect(rig.times('tick')).toEqual([10, 20])
  await beat.stop()
  // As a beat leaves it that was killed after it had said that it sends, and before it said that it had sent.
  const store = await rig.store()
  const [entry] = await store.entries(0)
  const record = JSON.parse(entry?.data ?? '')
  const dueMs = startMs + 30_000
  expect(record.state.dueMs).toBe(dueMs)
  record.state.sendingMs = dueMs
  await store.write({ entries: [{ name: 'tick', from: entry?.revision ?? 0, data: JSON.stringify(record) }] })
  const taskId = firingId(store.id, 'tick', dueMs, 0)
  const backend = await rig.core(first).connections.backend()
  await backend.store({ taskId, status: 'SUCCESS', result: null, traceback: null, children: [], dateDone: null }, { expiresSeconds: null })
  const second = rig.app({ beatSchedule })
  between(rig, second, withoutFences)
  await using _again = await second.beat().start()
  await rig.pass(20)
  expect(rig.times('tick')).toEqual([10, 20, 40])
  const notes = (await second.schedule.history('tick')).map(({ taskId: id, note }) => [id, note])
  expect(notes).toContainEqual([taskId, 'by the beat that led before'])
})

test('on a broker without fences a run that nobody knows of is sent again, with the same id', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule })
  between(rig, app, withoutFences)
  await (await app.beat().start()).stop()
  const store = await rig.store()
  const [entry] = await store.entries(0)
  const record = JSON.parse(entry?.data ?? '')
  record.state.sendingMs = startMs + 10_000
  await store.write({ entries: [{ name: 'tick', from: entry?.revision ?? 0, data: JSON.stringify(record) }] })
  await using _beat = await app.beat().start()
  await rig.pass(11)
  expect(rig.sent.map(({ id }) => id)).toEqual([firingId(store.id, 'tick', startMs + 10_000, 0)])
})

/** As a broker without fences that cannot look for a message; told of each message, and what becomes of its publish is the test's matter. */
function publishing(publish: (id: string, headers: Readonly<Record<string, unknown>>, sent: () => Promise<void>) => Promise<void>) {
  return (connection: Connection): Connection =>
    new Proxy(withoutFences(connection), {
      get: (target, name) => {
        if (name === 'locate') return async () => 'unknown'
        if (name !== 'publish') return Reflect.get(target, name)
        const told: Connection['publish'] = (message, to, options) =>
          publish(String(message.headers.id), message.headers, () => target.publish(message, to, options))
        return told
      },
    })
}

test('on a broker without fences, of many times that are made up for only one is in doubt when the lead is lost, and it is marked', async () => {
  await using rig = new Rig()
  const catchingUp = { tick: { task: 'tick', schedule: 10, misfire: { all: 100 } } }
  await (await rig.app({ beatSchedule: catchingUp }).beat().start()).stop()
  await rig.pass(100)
  const published: string[] = []
  const resent: string[] = []
  const held = new Deferred<void>()
  const first = rig.app({ beatSchedule: catchingUp })
  between(
    rig,
    first,
    // The confirm of the fourth does not come.
    publishing(async (id, _, sent) => {
      published.push(id)
      await sent()
      if (published.length === 4) await held.promise
    }),
  )
  const beat = first.beat()
  const starting = beat.start()
  await until(() => published.length === 4, 'four are sent')
  const second = rig.app({ beatSchedule: catchingUp })
  between(
    rig,
    second,
    publishing(async (id, headers, sent) => {
      published.push(id)
      if (headers['x-celeriac-resent'] === true) resent.push(id)
      await sent()
    }),
  )
  const store = await rig.store()
  await store.resign((await store.lead('nobody', 1)).owner)
  await using _beat = await second.beat().start()
  await rig.pass(1)
  const twice = published.filter((id, index) => published.indexOf(id) < index)
  expect(twice).toEqual([published[3]])
  expect(resent).toEqual(twice)
  expect(new Set(published).size).toBe(10)
  // What goes on late finds that another leads.
  held.resolve()
  await starting
  await rig.pass(1)
  expect(published).toHaveLength(11)
  expect(await second.schedule.get('tick')).toMatchObject({ totalRunCount: 10, missedCount: 0 })
  await beat.stop()
})

test('on a broker without fences, what this process has sent is not sent again because its lead came to an end meanwhile', async () => {
  await using rig = new Rig()
  const published: string[] = []
  const held = new Deferred<void>()
  const app = rig.app({ beatSchedule })
  between(
    rig,
    app,
    publishing(async (id, _, sent) => {
      published.push(id)
      await sent()
      await held.promise
    }),
  )
  await using beat = await app.beat().start()
  await rig.pass(11)
  const store = await rig.store()
  await store.resign((await store.lead('nobody', 1)).owner)
  await store.lead('somebody', 1)
  await store.resign('somebody')
  held.resolve()
  await rig.pass(2)
  expect(beat.isLeading).toBe(true)
  expect(published).toHaveLength(1)
  expect((await app.schedule.history('tick')).map(({ note }) => note)).toEqual(['by the beat that led before'])
})

test('on a broker without fences, a publish that may have been done is looked for before it is done again', async () => {
  await using rig = new Rig()
  const published: string[] = []
  const app = rig.app({ beatSchedule })
  between(
    rig,
    app,
    publishing(async (id, _, sent) => {
      published.push(id)
      await sent()
      const backend = await rig.core(app).connections.backend()
      await backend.store(
        { taskId: id, status: 'SUCCESS', result: null, traceback: null, children: [], dateDone: null },
        { expiresSeconds: null },
      )
      if (published.length === 1) throw new PublishUncertainError('the connection was lost')
    }),
  )
  await using _beat = await app.beat().start()
  await rig.pass(15)
  expect(published).toHaveLength(1)
  await rig.pass(10)
  expect(new Set(published).size).toBe(2)
  expect(await app.schedule.get('tick')).toMatchObject({ totalRunCount: 2 })
})

test('on a broker without fences, a workflow that may have been sent is not sent again', async () => {
  await using rig = new Rig()
  const app = rig.app()
  const add = app.task('add', (x: number, y: number) => x + y)
  app.addPeriodicTask(10, group(add.s(1, 1), add.s(2, 2)), { name: 'tick' })
  between(rig, app, withoutFences)
  await (await app.beat().start()).stop()
  const store = await rig.store()
  const [entry] = await store.entries(0)
  const record = JSON.parse(entry?.data ?? '')
  record.state.sendingMs = startMs + 10_000
  await store.write({ entries: [{ name: 'tick', from: entry?.revision ?? 0, data: JSON.stringify(record) }] })
  await using _beat = await app.beat().start()
  await rig.pass(11)
  expect(rig.sent).toEqual([])
  await rig.pass(10)
  expect(rig.sent).toHaveLength(2)
})

test('a store that cannot be reached is waited for, or told, as brokerConnectionRetryOnStartup says', async () => {
  await using rig = new Rig()
  const nowhere = { beatStore: 'redis://127.0.0.1:1/0', beatSchedule }
  await expect(
    rig
      .app({ ...nowhere, brokerConnectionRetryOnStartup: false })
      .beat()
      .start(),
  ).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
  const app = rig.app(nowhere)
  rig.core(app).clock = systemClock
  const beat = app.beat()
  const starting = beat.start()
  await until(() => rig.log.some((line) => line.includes('the store of schedules is waited for')), 'it says that it waits')
  expect(beat.state).toBe('starting')
  await beat.stop()
  await starting
  expect(beat.state).toBe('stopped')
})

test('a store that is away while a beat leads is told of once, asked now and then, and what was due meanwhile is sent when it is back', async () => {
  await using rig = new Rig()
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const [here, away] = [join(folder, 'here'), join(folder, 'away')]
  mkdirSync(here)
  try {
    await using beat = await rig
      .app({ beatSchedule, beatStore: `file://${here}/schedules.json` })
      .beat()
      .start()
    await rig.pass(11)
    renameSync(here, away)
    await rig.pass(60)
    expect(rig.times('tick')).toEqual([10])
    expect(rig.log.filter((line) => line.includes('a turn went wrong'))).toHaveLength(1)
    renameSync(away, here)
    await rig.pass(5)
    expect(beat.isLeading).toBe(true)
    expect(rig.sent).toHaveLength(2)
    await beat.stop()
  } finally {
    rmSync(folder, { recursive: true })
  }
})
