/** Calls across the languages. Each promise is also held by Python alone (python client, python worker): what is expected here is what Celery does. */
import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import type { Caller, End, Options } from './caller.js'
import { type Broker, type Fleet, fresh } from './fleet.js'
import { skippedOn, title } from './needs.js'

const directions = [
  { from: 'node', to: 'python' },
  { from: 'python', to: 'node' },
  { from: 'python', to: 'python' },
] as const

/** With a worker of each language on a queue of its name. */
export function testCalls(
  broker: Broker,
  start: () => Promise<Fleet>,
  { backend = 'redis' }: { readonly backend?: 'redis' | 'rpc' } = {},
): void {
  describe.skipIf(skippedOn(broker))(title(backend === 'rpc' ? 'calls with RPC results' : 'calls', broker), () => {
    let fleet: Fleet
    beforeAll(async () => {
      fleet = await start()
    })

    // With rpc:// what Python itself does is not asked again.
    const asked = directions.filter(({ from, to }) => backend === 'redis' || from !== to)
    describe.each(asked.map(({ from, to }) => [from, to] as const))('%s client, %s worker', (from, to) => {
      // A Python client hears of rpc:// states while it waits for the end only: rabbit-rpc.test.ts.
      const mayLook = backend === 'redis' || from === 'node'

      let client: Caller
      beforeAll(() => {
        client = fleet.caller(from)
      })
      const call = (
        task: string,
        args: readonly unknown[] = [],
        options: Options = {},
        kwargs: Readonly<Record<string, unknown>> = {},
      ): Promise<string> => client.call(task, args, kwargs, { queue: to, ...options })
      const run = async (...given: Parameters<typeof call>): Promise<End> => client.end(await call(...given))
      const value = async (...given: Parameters<typeof call>): Promise<unknown> => {
        const end = await run(...given)
        if (end.error !== undefined) throw new Error(`${end.error.type}: ${end.error.message}\n${end.error.traceback}\n${fleet.said()}`)
        return end.value
      }
      /** The queue's messages so far are done: its worker runs one at a time. */
      const flushed = (): Promise<unknown> => value('interop.where')

      test('positional arguments', async () => {
        expect(await value('interop.add', [2, 3])).toBe(5)
        expect(await value('interop.where')).toBe(to)
      })

      test('keyword arguments, also mixed with positional ones', async () => {
        expect(await value('interop.add', [], {}, { a: 2, b: 3 })).toBe(5)
        expect(await value('interop.add', [2], {}, { b: 3 })).toBe(5)
        expect(await value('interop.greet', [], {}, { name: 'é' })).toBe('hello é')
        expect(await value('interop.greet', [], {}, { greeting: 'bye', name: 'x' })).toBe('bye x')
      })

      test.each<[string, unknown]>([
        ['null', null],
        ['text with quotes, a line end and a character beyond the BMP', 'é"\'\n\u2028😀'],
        ['nested data', { a: [1, { b: [true, null, 1.5] }], '': {} }],
        ['an integer beyond 2^53', 2n ** 53n + 1n],
        ['an integer beyond 64 bits', -(2n ** 200n)],
        ['a moment', new Date(Date.UTC(2030, 0, 2, 3, 4, 5, 678))],
        ['bytes that are UTF-8', new TextEncoder().encode('abc')],
        ['bytes that are not', new Uint8Array([255, 0, 1])],
      ])('%s arrives and comes back as it was', async (_, given) => {
        expect(await value('interop.echo', [given])).toEqual(given)
      })

      test.each(['json', 'msgpack', 'yaml'])('arguments in %s', async (serializer) => {
        const given = { text: 'é', list: [1, 2.5, null, true], bytes: new Uint8Array([255, 1]), big: 2n ** 60n + 1n }
        expect(await value('interop.echo', [given], { serializer })).toEqual(given)
      })

      test.each(['gzip', 'zlib', 'brotli'])('a body compressed with %s, of text and of bytes', async (compression) => {
        const given = 'é'.repeat(5_000)
        expect(await value('interop.echo', [given], { compression })).toBe(given)
        expect(await value('interop.echo', [given], { compression, serializer: 'msgpack' })).toBe(given)
      })

      test('the request: ids, queue, custom headers; a first delivery is none that was given back', async () => {
        const taskId = randomUUID()
        const headers = { tenant: 'acme', nested: { a: [1, null] } }
        expect(await value('interop.request', [], { taskId, headers })).toEqual({
          id: taskId,
          root: taskId,
          parent: null,
          retries: 0,
          headers,
          redelivered: false,
          queue: to,
          group: null,
        })
      })

      test('countdown: the task does not run before, and runs then', async () => {
        const before = Date.now()
        expect(await value('interop.where', [], { countdown: 1 })).toBe(to)
        expect(Date.now() - before).toBeGreaterThanOrEqual(1_000)
        expect(Date.now() - before).toBeLessThan(25_000)
      })

      test('eta: a moment that is past is now', async () => {
        expect(await value('interop.where', [], { eta: new Date(Date.now() - 60_000) })).toBe(to)
      })

      test('expires: a task that is too late is revoked as expired, and does not run', async () => {
        const name = fresh('expired')
        const { error } = await run('interop.note', [1, name], { expires: new Date(Date.now() - 1_000) })
        expect(error).toMatchObject({ type: 'TaskRevokedError', module: 'celery.exceptions', args: ['expired'] })
        await flushed()
        expect(await fleet.redis.exists(`note:${name}`)).toBe(0)
        expect(await value('interop.where', [], { expires: 60 })).toBe(to)
      })

      test('an ignored result is not stored, and the task has run', async () => {
        const name = fresh('ignored')
        const id = await call('interop.note', ['ran', name], { ignoreResult: true })
        expect(await fleet.listed(`note:${name}`, 1)).toEqual(['"ran"'])
        await flushed()
        expect(await fleet.redis.exists(`celery-task-meta-${id}`)).toBe(0)
        expect((await client.look(id)).state).toBe('PENDING')
      })

      test('a task that ignores its result itself stores none', async () => {
        const key = fresh('count')
        const id = await call('interop.count', [key], from === 'python' ? { ignoreResult: true } : {})
        await flushed()
        expect(await fleet.redis.hget(`ran:${key}`, id)).toBe('1')
        expect(await fleet.redis.exists(`celery-task-meta-${id}`)).toBe(0)
      })

      test.runIf(mayLook)('a state of its own is seen with its data while the task runs', async () => {
        const gate = fresh('gate')
        const id = await call('interop.report', ['HALFWAY', { step: 2, of: ['a', null] }, gate])
        await fleet.atGate(gate)
        expect(await client.look(id)).toMatchObject({ state: 'HALFWAY', info: { step: 2, of: ['a', null] } })
        await fleet.open(gate)
        expect(await client.end(id)).toEqual({ value: 'done' })
        expect(await client.look(id)).toMatchObject({ state: 'SUCCESS', info: 'done' })
      })

      test.runIf(mayLook)('progress', async () => {
        const gate = fresh('gate')
        const id = await call('interop.report', ['PROGRESS', { current: 3, total: 10 }, gate])
        await fleet.atGate(gate)
        expect(await client.look(id)).toMatchObject({ state: 'PROGRESS', info: { current: 3, total: 10 } })
        await fleet.open(gate)
        expect(await client.end(id)).toEqual({ value: 'done' })
      })

      test('a task is retried under its id, with its headers, until it succeeds', async () => {
        const taskId = randomUUID()
        expect(await value('interop.flaky', [2], { taskId, headers: { tenant: 'acme' } })).toEqual({
          retries: 2,
          headers: { tenant: 'acme' },
          id: taskId,
          parent: taskId,
        })
      })

      test.runIf(mayLook)('while it waits for its retry its state is RETRY, with the cause', async () => {
        const id = await call('interop.flaky', [1, 1])
        await until(async () => (await client.look(id)).state === 'RETRY', 'the state RETRY')
        const { info } = await client.look(id)
        const cause = from === 'python' ? { type: 'ValueError', module: 'builtins' } : { exc_type: 'ValueError', exc_module: 'builtins' }
        expect(info).toMatchObject(cause)
        expect(await client.end(id)).toMatchObject({ value: { retries: 1 } })
      })

      test('after the last retry: the cause, or MaxRetriesExceededError without one', async () => {
        const args = ['still broken']
        expect((await run('interop.gives_up', [true])).error).toMatchObject({ type: 'ValueError', module: 'builtins', args })
        const { error } = await run('interop.gives_up', [false])
        expect(error).toMatchObject({ type: 'MaxRetriesExceededError', module: 'celery.exceptions' })
        expect(error?.message).toContain("Can't retry interop.gives_up[")
      })

      test('an unknown task fails as NotRegistered, and the worker goes on', async () => {
        const { error } = await run('interop.nobody')
        expect(error).toMatchObject({ type: 'NotRegistered', module: 'celery.exceptions', args: ['interop.nobody'] })
        expect(await flushed()).toBe(to)
      })
    })
  })
}
