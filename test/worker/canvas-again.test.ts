/** Workflows whose tasks are delivered again: whatever was done before the crash is not done twice, and what was not is done. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { Celeriac, chain, chord, group, type TaskContext } from '../../dist/index.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import type { ResultMeta } from '../../dist/protocol/result.js'
import { encodeTask } from '../../dist/protocol/task-message.js'
import { json } from '../../dist/serializers/json.js'
import type { Delivery } from '../../dist/transport.js'
import { needs } from '../../scripts/needs.mjs'
import { startRedis } from '../../scripts/services.mjs'
import { LiveApp, until } from '../live-app.js'

const withRedis = needs.redis?.find() !== undefined
let server: Awaited<ReturnType<typeof startRedis>>
beforeAll(async () => {
  if (withRedis) server = await startRedis()
})
afterAll(async () => server?.stop())

/** A broker that can say where a message is, and one that cannot. */
describe.each<[string, () => string]>([
  ['memory', () => `memory://${randomUUID()}`],
  ...(withRedis ? [['redis', () => server.url] as [string, () => string]] : []),
])('on %s', (name, url) => {
  async function open() {
    if (name === 'redis') await server.flush()
    const broker = url()
    const live = new LiveApp({ broker })
    const runs: unknown[] = []
    const { app } = live
    const { core } = Celeriac.internals(app)
    const backend = await core.connections.backend()
    return {
      url: broker,
      live,
      app,
      core,
      backend,
      runs,
      add: app.task('add', (x: number, y: number) => {
        runs.push(['add', x, y])
        return x + y
      }),
      sum: app.task('sum', (list: number[]) => {
        runs.push(['sum', list])
        return list.reduce((a, b) => a + b, 0)
      }),
      /** As a worker that dies right after it has stored the result. */
      ended: (taskId: string, result: unknown, more: Partial<ResultMeta> = {}) =>
        backend.store(
          { taskId, status: 'SUCCESS', result, traceback: null, children: [], dateDone: core.isoNow(), ...more },
          { expiresSeconds: 600 },
        ),
      /** The messages that wait are taken by somebody who dies. */
      takeAndGiveBack: async (count: number) => {
        const connection = await core.connections.connect()
        const deliveries: Delivery[] = []
        const consumer = await connection.consume({
          queues: ['celery'],
          prefetch: 100,
          onDeliveries: (batch) => void deliveries.push(...batch),
        })
        await until(() => deliveries.length === count)
        await consumer.cancel()
        for (const delivery of deliveries) delivery.release()
        await connection.close()
      },
      settled: () =>
        until(async () => {
          const connection = await core.connections.publisher()
          return (await connection.size('celery')) === 0 && live.said(/goes back to its queue/).length === 0
        }),
      [Symbol.asyncDispose]: () => live[Symbol.asyncDispose](),
    }
  }

  test('the next step of a chain is sent by whoever gets the task again', async () => {
    await using it = await open()
    const sent = await chain(it.add.s(1, 2).set({ taskId: 'first' }), it.add.s(10)).delay()
    await it.ended('first', 3)
    await it.takeAndGiveBack(1)
    await it.live.work()
    expect(await sent.get({ timeout: 20 })).toBe(13)
    expect(it.runs).toEqual([['add', 3, 10]])
  })

  test('a next step that has run before is not run again', async () => {
    await using it = await open()
    const sent = await chain(it.add.s(1, 2).set({ taskId: 'first' }), it.add.s(10), it.add.s(100)).delay()
    await it.ended('first', 3)
    await it.ended(sent.parent?.id ?? '', 13)
    await it.ended(sent.id, 113)
    await it.takeAndGiveBack(1)
    await it.live.work()
    await until(async () => (await (await it.core.connections.publisher()).size('celery')) === 0)
    expect(await it.add.delay(0, 0).get({ timeout: 20 })).toBe(0)
    expect(it.runs).toEqual([['add', 0, 0]])
  })

  test('C4 a chord whose last header was counted before the crash gets its body, once, from whoever gets that header again', async () => {
    await using it = await open()
    const sent = await chord(group(it.add.s(1, 1).set({ taskId: 'a' }), it.add.s(2, 2).set({ taskId: 'b' })), it.sum.s()).delay()
    const groupId = sent.parent?.id ?? ''
    for (const [index, taskId] of ['a', 'b'].entries()) {
      await it.ended(taskId, 2 + 2 * index, { groupId })
      await it.backend.completeChordPart(
        groupId,
        { taskId, index, status: 'SUCCESS', result: new JsonText(String(2 + 2 * index)) },
        { expiresSeconds: 600 },
      )
    }
    await it.takeAndGiveBack(2)
    await it.live.work()
    expect(await sent.get({ timeout: 20 })).toBe(6)
    expect(it.runs).toEqual([['sum', [2, 4]]])
  })

  test('C3 a header that is delivered again after it was counted, with another result, changes nothing', async () => {
    await using it = await open()
    const sent = await chord(group(it.add.s(1, 1).set({ taskId: 'a' }), it.add.s(2, 2).set({ taskId: 'b' })), it.sum.s()).delay()
    await it.backend.completeChordPart(
      sent.parent?.id ?? '',
      { taskId: 'a', index: 0, status: 'SUCCESS', result: new JsonText('1000') },
      { expiresSeconds: 600 },
    )
    await it.live.work()
    expect(await sent.get({ timeout: 20 })).toBe(1004)
    expect(it.runs.filter((run) => (run as unknown[])[0] === 'sum')).toEqual([['sum', [1000, 4]]])
  })

  test('C7 a chord whose counts were lost fails its body, and what waits for it', async () => {
    await using it = await open()
    const errors: string[] = []
    const hear = it.app.task('hear', (id: string) => void errors.push(id))
    const body = chain(it.sum.s().linkError(hear.s()), it.add.s(1))
    const sent = await chord(group(it.add.s(1, 1), it.add.s(2, 2), it.add.s(3, 3)), body).delay()
    if (name === 'redis') await forgetChords()
    else await it.backend.cleanup({ nowMs: Number.MAX_SAFE_INTEGER })
    await it.live.work()
    await expect(sent.get({ timeout: 20 })).rejects.toMatchObject({ excType: 'ChordError', message: expect.stringContaining('state lost') })
    expect(it.runs.filter((run) => (run as unknown[])[0] === 'sum')).toEqual([])
  })

  test('a copy that was sent twice runs once: not while the first one runs, and not after it has ended', async () => {
    await using it = await open()
    let starts = 0
    let open_: (() => void) | undefined
    it.app.task('slow', () => {
      starts++
      return new Promise<string>((resolve) => {
        open_ = () => resolve('once')
      })
    })
    await it.app.sendTask('slow', {}, { taskId: 'twice' })
    const again = async () => {
      const connection = await it.core.connections.publisher()
      const message = encodeTask({ id: 'twice', task: 'slow', args: [], kwargs: {} }, json)
      const marked = { ...message, headers: { ...message.headers, 'x-celeriac-resent': true } }
      await connection.publish(marked, { exchange: '', routingKey: 'celery' }, { deadlineMs: 20_000 })
    }
    await it.live.work({ concurrency: 4 })
    await until(() => starts === 1)
    await again()
    await until(() => it.live.said('was sent twice').length === 1)
    open_?.()
    expect(await it.app.result('twice').get({ timeout: 20 })).toBe('once')
    await again()
    expect(await it.add.delay(1, 1).get({ timeout: 20 })).toBe(2)
    expect(starts).toBe(1)
  })

  test('a copy that is the only one runs, and its task knows nothing of the mark', async () => {
    await using it = await open()
    it.app.task('see', { bind: true }, (self: TaskContext) => self.request.headers)
    const connection = await it.core.connections.publisher()
    await connection.declare(it.core.routes.topology('celery'))
    const message = encodeTask({ id: 'only', task: 'see', args: [], kwargs: {}, customHeaders: { mine: 1 } }, json)
    const marked = { ...message, headers: { ...message.headers, 'x-celeriac-resent': true } }
    await connection.publish(marked, { exchange: '', routingKey: 'celery' }, { deadlineMs: 20_000 })
    await it.live.work()
    expect(await it.app.result('only').get({ timeout: 20 })).toEqual({ mine: 1 })
  })

  test('a task that has ended and whose next step cannot be sent any more is a dead letter, and the rest of its chain fails', async () => {
    await using it = await open()
    const sent = await chain(it.add.s(1, 2).set({ taskId: 'first' }), it.add.s(10), it.add.s(100)).delay()
    await it.ended('first', 3)
    await it.takeAndGiveBack(1)
    await using other = new LiveApp({ broker: it.url })
    other.app.task('add', { args: z.tuple([z.string(), z.string()]) }, (x, y) => x + y)
    await other.work()
    await expect(sent.get({ timeout: 20 })).rejects.toMatchObject({ message: expect.stringContaining('invalid arguments for add') })
    await until(async () => (await other.app.deadLetters.count()) === 1)
  })

  test('a task that was replaced and is delivered again is replaced by the same; what has run already does not run again', async () => {
    await using it = await open()
    it.app.task('hand', { bind: true }, (self: TaskContext) => self.replace(chain(it.add.s(1, 1), it.add.s(10))))
    await it.app.sendTask('hand', {}, { taskId: 'place' })
    await it.takeAndGiveBack(1)
    await it.live.work()
    expect(await it.app.result('place').get({ timeout: 20 })).toBe(12)
    expect(it.runs).toEqual([
      ['add', 1, 1],
      ['add', 2, 10],
    ])
  })

  async function forgetChords(): Promise<void> {
    const { Redis } = await import('ioredis')
    const client = new Redis(server.url)
    const keys = await client.keys('celery-taskset-meta-*')
    if (keys.length > 0) await client.del(keys)
    client.disconnect()
  }
})
