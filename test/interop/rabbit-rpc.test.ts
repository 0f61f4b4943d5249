/** Results as messages, both ways: with `rpc://` each client gets them at its own queue, whichever language the worker is written in. */
import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chain, chord, group } from '../../dist/index.js'
import { Deferred } from '../../dist/internal/deferred.js'
import { within } from '../conformance/wait.js'
import { testCalls } from './call-rows.js'
import type { CanvasData } from './canvas.js'
import { Fleet, fresh, oneFleet } from './fleet.js'
import { skippedOn, title } from './needs.js'

testCalls('classic', oneFleet({ broker: 'classic', backend: 'rpc', python: ['python'], node: ['node'] }), { backend: 'rpc' })

describe.skipIf(skippedOn('classic'))(title('RPC results', 'classic'), () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await Fleet.start({
      broker: 'classic',
      backend: 'rpc',
      python: ['python'],
      node: ['node'],
      pythonConfig: { result_persistent: true, task_track_started: true },
      nodeOptions: { resultPersistent: true, taskTrackStarted: true },
    })
  })
  afterAll(async () => fleet?.[Symbol.asyncDispose]())

  /** The replies to one task, as they lie at the broker. */
  const repliesOf = async (queue: string): Promise<readonly ConsumeMessage[]> => {
    const channel = await (await fleet.looking()).createChannel()
    try {
      const { queue: replyTo } = await channel.assertQueue('', { exclusive: true })
      const replies: ConsumeMessage[] = []
      const ended = new Deferred<void>()
      await channel.consume(replyTo, (message) => {
        if (message === null) return
        replies.push(message)
        if (JSON.parse(message.content.toString()).status === 'SUCCESS') ended.resolve()
      })
      const id = randomUUID()
      channel.sendToQueue(queue, Buffer.from('[[2, 3], {}, {}]'), {
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        correlationId: `asked-${queue}`,
        replyTo,
        headers: { lang: 'js', task: 'interop.add', id },
      })
      await within(ended.promise, 'the replies', 20_000)
      return replies
    } finally {
      await channel.close()
    }
  }

  test('a Python and a Node worker send the same replies, but for the values that must differ', async () => {
    const shown = []
    for (const queue of ['python', 'node']) {
      const replies = await repliesOf(queue)
      shown.push(
        replies.map(({ content, fields, properties }) => {
          const { date_done, ...meta } = JSON.parse(content.toString())
          const { expiration, ...rest } = properties
          // Ours end with the result's time, so that no queue keeps them for ever.
          expect(expiration).toBe(queue === 'node' ? '86400000' : undefined)
          return {
            exchange: fields.exchange,
            properties: { ...rest, correlationId: rest.correlationId.replace(queue, 'worker') },
            keys: Object.keys(JSON.parse(content.toString())).sort(),
            meta: { ...meta, task_id: typeof meta.task_id, result: meta.status === 'STARTED' ? {} : meta.result },
          }
        }),
      )
    }
    expect(shown[1]?.map(({ meta }) => meta.status)).toEqual(['STARTED', 'SUCCESS'])
    expect(shown[1]).toEqual(shown[0])
    expect(shown[1]?.[0]?.properties).toMatchObject({ deliveryMode: 2, priority: 0, correlationId: 'asked-worker' })
  })

  test('a Python client that waits hears of every state that a Node worker sends', async () => {
    const { client, callers } = fleet
    const gate = fresh('gate')
    const id = await callers.python.call('interop.report', ['PROGRESS', { current: 3, total: 10 }, gate], {}, { queue: 'node' })
    const seen = client.ask<{ state: string; info: string }[]>('states', { id, timeout: 20 })
    await fleet.atGate(gate)
    await fleet.open(gate)
    const states = await seen
    expect(states.map(({ state }) => state)).toEqual(['STARTED', 'PROGRESS', 'SUCCESS'])
    expect(JSON.parse(states[1]?.info ?? '')).toEqual({ current: 3, total: 10 })
    const retried = await callers.python.call('interop.flaky', [1], {}, { queue: 'node' })
    const states2 = await client.ask<{ state: string }[]>('states', { id: retried, timeout: 20 })
    expect(states2.map(({ state }) => state)).toEqual(['STARTED', 'RETRY', 'STARTED', 'SUCCESS'])
  })

  test('a Node client that waits hears of every state that a Python worker sends', async () => {
    const gate = fresh('gate')
    const sent = await fleet.app.sendTask('interop.report', { args: ['PROGRESS', { current: 3, total: 10 }, gate] }, { queue: 'python' })
    const seen: unknown[] = []
    for await (const { state, meta } of sent.events({ signal: AbortSignal.timeout(20_000) })) {
      seen.push(state === 'PROGRESS' ? [state, meta] : state)
      if (state === 'PROGRESS') await fleet.open(gate)
    }
    // States that follow each other at once may be merged.
    expect(seen.filter((state) => state !== 'STARTED')).toEqual([['PROGRESS', { current: 3, total: 10 }], 'SUCCESS'])
  })

  test('many results, of both kinds of worker, come to the one who asked for each', async () => {
    const { app } = fleet
    await using other = fleet.another({})
    const numbers = Array.from({ length: 200 }, (_, index) => index)
    const values = await Promise.all(
      numbers.map(async (number) => {
        const sender = number % 3 === 0 ? other : app
        const sent = await sender.sendTask<number>('interop.add', { args: [number, 1] }, { queue: number % 2 === 0 ? 'node' : 'python' })
        return sent.get({ timeout: 30 })
      }),
    )
    expect(values).toEqual(numbers.map((number) => number + 1))
  })

  test('chains and groups of both languages come to the Node client that sent them, and so does the failure of a step', async () => {
    const add = (queue: string, ...args: number[]) =>
      fleet.app
        .remote<(...numbers: number[]) => number>('interop.add')
        .s(...args)
        .set({ queue })
    const fail = (queue: string, kind: string) => fleet.app.remote<(kind: string) => never>('interop.fail').si(kind).set({ queue })
    expect(
      await chain(add('node', 1, 2), add('python', 3), add('node', 4))
        .delay()
        .get({ timeout: 20 }),
    ).toBe(10)
    expect(
      await chain(add('python', 1, 2), add('node', 3))
        .delay()
        .get({ timeout: 20 }),
    ).toBe(6)
    expect(
      await group([add('node', 1, 2), add('python', 3, 4)])
        .delay()
        .get({ timeout: 20 }),
    ).toEqual([3, 7])
    for (const [queue, kind] of [
      ['node', 'range'],
      ['python', 'value'],
    ] as const) {
      const sent = chain(fail(queue, kind), add('node', 1), add('python', 1)).delay()
      await expect(sent.get({ timeout: 20 })).rejects.toMatchObject({ excType: 'ValueError' })
    }
    const echo = fleet.app.remote<(values: number[]) => unknown>('interop.echo').s().set({ queue: 'node' })
    await expect(chord(group([add('node', 1, 2), add('python', 1, 2)]), echo).delay()).rejects.toMatchObject({ code: 'ERR_NOT_SUPPORTED' })
  })

  test('what takes the place of a task in a Node worker answers whoever waits for the task', async () => {
    const mark = (tag: string, queue: 'node' | 'python') => ({ task: 'interop.mark', args: [tag], options: { queue } })
    for (const language of ['node', 'python'] as const) {
      const caller = fleet.caller(language)
      const by = async (canvas: CanvasData): Promise<unknown> =>
        (await caller.end((await caller.start({ task: 'interop.instead', args: [[canvas]], options: { queue: 'node' } }))[0][0], 20_000))
          .value
      expect(await by(mark('a', 'node'))).toEqual(['a'])
      expect(await by({ chain: [mark('a', 'node'), mark('b', 'python')] })).toEqual(['b', ['a']])
      expect(await by({ chain: [mark('a', 'python'), mark('b', 'node')] })).toEqual(['b', ['a']])
    }
  })

  test('what was asked by one app is PENDING for another, as in Celery', async () => {
    await using other = fleet.another({})
    const sent = await fleet.app.sendTask('interop.add', { args: [1, 2] }, { queue: 'node' })
    expect(await sent.get({ timeout: 20 })).toBe(3)
    expect(await other.result(sent.id).state()).toBe('PENDING')
    await expect(other.result(sent.id).get()).rejects.toMatchObject({ code: 'ERR_RESULT_ELSEWHERE' })
    expect(await fleet.app.result(sent.id).get()).toBe(3)
  })
})
