/** Errors cross the border as themselves: with their type, module, arguments and traceback, on both sides. Numbers and links, too, come as they are. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Caller, SeenError } from './caller.js'
import { type Broker, type Fleet, fresh } from './fleet.js'
import { skippedOn, title } from './needs.js'

/** With a worker of each language on a queue of its name. */
export function testErrors(broker: Broker, start: () => Promise<Fleet>): void {
  describe.skipIf(skippedOn(broker))(title('errors and links', broker), () => {
    let fleet: Fleet
    beforeAll(async () => {
      fleet = await start()
    })

    const failure = async (caller: Caller, kind: string, queue: string): Promise<SeenError> => {
      const { error, value } = await caller.end(await caller.call('interop.fail', [kind], {}, { queue }))
      if (error === undefined) throw new Error(`expected a failure, got ${value}`)
      return error
    }

    describe('a Python exception, at a Node client', () => {
      test.each<[string, Partial<SeenError>]>([
        ['value', { type: 'ValueError', module: 'builtins', args: ['no good', 42], message: 'no good, 42' }],
        ['key', { type: 'KeyError', module: 'builtins', args: ['k'] }],
        ['none', { type: 'RuntimeError', module: 'builtins', args: [], message: 'RuntimeError' }],
        ['module', { type: 'CardDeclined', module: 'shop_errors', args: ['acct-1', { cents: 300 }] }],
        ['nested', { type: 'Desk.Closed', module: 'shop_errors', args: ['at night'] }],
        ['unwritable', { type: 'ValueError', module: 'builtins', args: ["<class 'object'>"] }],
      ])('%s', async (kind, expected) => {
        const error = await failure(fleet.callers.node, kind, 'python')
        expect(error).toMatchObject(expected)
        expect(error.traceback).toMatch(/^Traceback \(most recent call last\):\n[\s\S]*File ".*interop_app.py", line \d+, in fail\n/)
      })

      test('its traceback has the exceptions that led to it', async () => {
        const { traceback } = await failure(fleet.callers.node, 'chained', 'python')
        expect(traceback).toContain("KeyError: 'inner'")
        expect(traceback).toContain('The above exception was the direct cause of the following exception')
        expect(traceback).toContain('ValueError: outer')
      })

      test('arguments that do not fit are a TypeError, raised where the task is', async () => {
        const node = fleet.callers.node
        const { error } = await node.end(await node.call('interop.add', [1], {}, { queue: 'python' }))
        expect(error).toMatchObject({ type: 'TypeError', module: 'builtins' })
      })
    })

    describe('a Node error, at a Python client', () => {
      test.each<[string, Partial<SeenError> & { readonly catches: string }]>([
        ['range', { type: 'ValueError', module: 'builtins', args: ['too far'], message: 'too far', catches: 'ValueError' }],
        ['uri', { type: 'ValueError', module: 'builtins', args: ['malformed'], catches: 'ValueError' }],
        ['type', { type: 'TypeError', module: 'builtins', args: ['x is not a function'], catches: 'TypeError' }],
        ['reference', { type: 'NameError', module: 'builtins', args: ['who'], catches: 'NameError' }],
        ['syntax', { type: 'SyntaxError', module: 'builtins', args: ['unexpected }'], catches: 'SyntaxError' }],
        ['assertion', { type: 'AssertionError', module: 'builtins', args: ['expected 1'], catches: 'AssertionError' }],
        ['module', { type: 'CardDeclined', module: 'shop_errors', args: ['acct-1'], catches: 'CardDeclined' }],
        ['nested', { type: 'Desk.Closed', module: 'shop_errors', args: ['at night'], catches: 'Closed' }],
        // Python makes an exception of that name when it has none.
        ['plain', { type: 'Error', module: 'celery.exceptions', args: ['boom'], catches: 'Exception' }],
        ['own', { type: 'OutOfStock', module: 'celery.exceptions', args: ['none left'], catches: 'Exception' }],
        ['missing', { type: 'NotThere', module: 'celery.exceptions', args: ['gone'], catches: 'Exception' }],
        ['text', { type: 'Error', module: 'celery.exceptions', args: ['just text'], catches: 'Exception' }],
      ])('%s', async (kind, { catches, ...expected }) => {
        const error = await failure(fleet.callers.python, kind, 'node')
        expect(error).toMatchObject(expected)
        expect(error.is).toContain(catches)
      })

      test('its traceback is the stack, with the errors that led to it', async () => {
        const { traceback } = await failure(fleet.callers.python, 'chained', 'node')
        expect(traceback).toContain('RangeError: outer')
        expect(traceback).toContain('TypeError: inner')
        expect(traceback).toMatch(/at .*app\.mjs:\d+:\d+/)
      })

      test('arguments that do not fit are a TypeError', async () => {
        const python = fleet.callers.python
        const { error } = await python.end(await python.call('interop.greet', [], { name: 5 }, { queue: 'node' }))
        expect(error).toMatchObject({ type: 'TypeError', module: 'builtins', is: expect.arrayContaining(['TypeError']) })
      })
    })

    test('what Python made of a Node error is the same again at a Node client', async () => {
      expect(await failure(fleet.callers.node, 'range', 'node')).toMatchObject({
        type: 'ValueError',
        module: 'builtins',
        args: ['too far'],
      })
      expect(await failure(fleet.callers.node, 'module', 'node')).toMatchObject({ type: 'CardDeclined', module: 'shop_errors' })
    })

    test('integers beyond 2^53, NaN and Infinity of a Python result are what they are', async () => {
      const node = fleet.callers.node
      const { value } = await node.end(await node.call('interop.numbers', [], {}, { queue: 'python' }))
      expect(value).toEqual([2n ** 53n + 1n, -(2n ** 70n), Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0.1])
    })

    test('a Node task that gets them from Python gives them back, or fails: it never changes them', async () => {
      const { client } = fleet
      const echo = async (json: string): Promise<{ repr?: string; error?: SeenError }> => {
        const id = await client.ask<string>('send', { task: 'interop.echo', args: `[${json}]`, kwargs: '{}', options: '{"queue": "node"}' })
        return client.ask('get', { id, timeout: 15 })
      }
      expect(await echo('[9007199254740993, -1180591620717411303424, 1e400]')).toMatchObject({
        error: { message: expect.stringContaining('Infinity') },
      })
      expect(await echo('[9007199254740993, -1180591620717411303424]')).toMatchObject({
        repr: '[9007199254740993, -1180591620717411303424]',
      })
      expect(await echo('NaN')).toMatchObject({ error: { message: expect.stringContaining('NaN') } })
      expect(await echo('{"a": -Infinity}')).toMatchObject({ error: { message: expect.stringContaining('-Infinity') } })
    })

    describe.each([
      ['node', 'python', 'node'],
      ['node', 'node', 'python'],
      ['python', 'node', 'python'],
      ['python', 'python', 'node'],
    ] as const)('%s client, %s worker, its link at the %s worker', (from, worker, next) => {
      const options = { queue: next }

      test('a link gets the result, before its own arguments; its id is the one the client gave it', async () => {
        const [name, id] = [fresh('link'), fresh('id')]
        const client = fleet.caller(from)
        const parent = await client.call(
          'interop.add',
          [2, 3],
          {},
          { queue: worker, link: [{ task: 'interop.note', args: [name], options: { ...options, task_id: id } }] },
        )
        expect(await client.end(parent)).toEqual({ value: 5 })
        expect(await client.end(id)).toEqual({ value: 5 })
        expect(await fleet.redis.lrange(`note:${name}`, 0, -1)).toEqual(['5'])
        expect((await client.look(parent)).children).toEqual([id])
      })

      test('a result that is a list is one argument; an immutable link gets none', async () => {
        const [list, own] = [fresh('list'), fresh('own')]
        const client = fleet.caller(from)
        await client.call(
          'interop.echo',
          [[1, 2]],
          {},
          {
            queue: worker,
            link: [
              { task: 'interop.note', args: [list], options },
              { task: 'interop.note', args: ['mine', own], options, immutable: true },
            ],
          },
        )
        expect(await fleet.listed(`note:${list}`, 1)).toEqual(['[1, 2]'.replace(next === 'node' ? ' ' : '', '')])
        expect(await fleet.listed(`note:${own}`, 1)).toEqual(['"mine"'])
      })

      test('link_error gets the id of the task that failed; link is not called', async () => {
        const [good, bad] = [fresh('good'), fresh('bad')]
        const client = fleet.caller(from)
        const kind = worker === 'python' ? 'value' : 'range'
        const parent = await client.call(
          'interop.fail',
          [kind],
          {},
          {
            queue: worker,
            link: [{ task: 'interop.note', args: [good], options }],
            // A name that the failing worker does not have: an errback of its own would be called there and then.
            linkError: [{ task: `interop.failed_${next}`, args: [bad], options }],
          },
        )
        expect((await client.end(parent)).error).toMatchObject({ type: 'ValueError' })
        expect(await fleet.listed(`note:${bad}`, 1)).toEqual([JSON.stringify(parent)])
        expect(await fleet.redis.exists(`note:${good}`)).toBe(0)
      })
    })
  })
}
