import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { Celeriac, NotPublishedError } from '../../dist/index.js'
import { within } from '../conformance/wait.js'
import { LiveApp } from '../live-app.js'

test('of several brokers the first that answers is taken', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-failover-'))
  try {
    // A file where a folder should be: this broker cannot be opened.
    writeFileSync(join(folder, 'file'), '')
    await using live = new LiveApp({ broker: [`sqlite://${folder}/file/queue.db`, 'memory://failover'], backend: 'memory://failover' })
    const one = live.app.task('one', () => 1)
    await live.work()
    expect(await one.delay().get({ timeout: 30 })).toBe(1)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('when no broker answers, the call says what the last one said', async () => {
  const app = new Celeriac('x', { broker: ['nosuch://a', 'neither://b'] })
  await expect(app.sendTask('one', {}, { retry: false })).rejects.toThrow(/neither/)
})

test('a wrong option is told at once, and no other broker is taken in its place', async () => {
  await using live = new LiveApp({ broker: ['redis://localhost:1/0', 'memory://'], brokerTransportOptions: { visibilityTimout: 1 } })
  const add = live.app.task('add', (x: number, y: number) => x + y)
  await expect(add.delay(1, 2)).rejects.toThrow(/visibilityTimeout/)
})

test('calls of one moment share one connection; close() and a call at the same time leave one that works', async () => {
  await using live = new LiveApp()
  const { core } = Celeriac.internals(live.app)
  const [a, b] = await Promise.all([core.connections.publisher(), core.connections.publisher()])
  expect(a).toBe(b)
  const closing = live.app.close()
  const next = core.connections.publisher()
  await closing
  expect(await a.closed).toBeUndefined()
  expect(await next).not.toBe(a)
  expect(await core.connections.publisher()).toBe(await next)
})

test('a publish is tried again as its policy says, and not with retry: false', async () => {
  const waits = { maxRetries: 2, intervalStart: 0, intervalStep: 0.01, intervalMax: 0.02 }
  const app = new Celeriac('x', { broker: 'memory://retry' })
  const { core } = Celeriac.internals(app)
  const connection = await core.connections.publisher()
  let tries = 0
  const publish = connection.publish.bind(connection)
  connection.publish = (...given) => {
    tries++
    return publish(...given)
  }
  const toNowhere = { exchange: 'nowhere', routingKey: 'k' }
  await expect(app.sendTask('one', {}, { ...toNowhere, retry: waits })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
  expect(tries).toBe(3)
  await expect(app.sendTask('one', {}, { ...toNowhere, retry: false })).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
  expect(tries).toBe(4)
  await app.close()
})

test('a signal that aborts between two tries ends the call with its own reason: nothing was sent', async () => {
  const app = new Celeriac('x', { broker: 'memory://aborted', publishTimeout: 300 })
  const { core } = Celeriac.internals(app)
  const connection = await core.connections.publisher()
  const controller = new AbortController()
  let tries = 0
  connection.publish = async () => {
    tries++
    setImmediate(() => controller.abort(new Error('enough')))
    throw new NotPublishedError('no')
  }
  const sent = app.sendTask('one', {}, { retry: { maxRetries: 9, intervalStart: 60, intervalMax: 60 }, signal: controller.signal })
  await expect(within(sent, 'the end of the call')).rejects.toThrow('enough')
  expect(tries).toBe(1)
  await app.close()
})

test('a signal that aborts while the arguments are checked keeps the call from the broker', async () => {
  const app = new Celeriac('x', { broker: 'memory://checked' })
  const controller = new AbortController()
  const known = z.object({
    id: z.number().refine(async () => {
      controller.abort(new Error('enough'))
      return true
    }),
  })
  const load = app.task('load', { kwargs: known }, () => 1)
  await expect(load.applyAsync({ id: 1 }, { signal: controller.signal })).rejects.toThrow('enough')
  expect(await app.control.purge()).toBe(0)
  await app.close()
})

test('publishTimeout is for all that a call waits for: also for a broker that takes no declaration', async () => {
  const app = new Celeriac('x', { broker: 'memory://silent', publishTimeout: 0.3 })
  const { core } = Celeriac.internals(app)
  const connection = await core.connections.publisher()
  connection.declare = () => new Promise(() => {})
  const sent = app.sendTask('one')
  await expect(within(sent, 'the end of the call')).rejects.toMatchObject({
    code: 'ERR_NOT_PUBLISHED',
    message: expect.stringMatching(/did not answer until the deadline/),
  })
  await app.close()
})
