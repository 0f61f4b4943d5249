/**
 * Canvases across the languages: each is started by a client of either, and its tasks run in Node, in Python, or in turn. What is expected here is what Celery does:
 * the same promises are held by Python alone.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, test as anyTest, beforeAll, describe, expect } from 'vitest'
import type { GroupResult } from '../../dist/index.js'
import type { ResultTuple } from '../../dist/protocol/result.js'
import { takesCell } from '../harness/depth.js'
import type { Caller, End, SeenError } from './caller.js'
import { type CanvasData, type Language, type Placement, Places } from './canvas.js'
import { type Broker, Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'

const starters: readonly Language[] = ['node', 'python']
const placements: readonly Placement[] = ['node', 'python', 'alternating']
const cells = starters.flatMap((by) =>
  placements.map((where, index) => [by, where, by === 'node' ? index : index + placements.length] as const),
)

/** Results, and with them what chords count, are in Redis, whatever the broker is: on another one each shape is taken once. */
export function testCanvas(broker: Broker): void {
  describe.skipIf(skipped)(title(`canvas on ${broker}`), () => {
    let fleet: Fleet
    /** Ids that every worker knows as revoked. */
    const revoked = new Map(cells.map(([by, where]) => [`${by} ${where}`, randomUUID()]))
    beforeAll(async () => {
      fleet = await Fleet.start({ broker, python: ['python', 'celery'], node: ['node', 'celery'], concurrency: 2 })
      // Remembered where the Node worker looks; told to the Python worker, which does what it is told in order: when it answers, it has revoked.
      await fleet.app.control.revoke([...revoked.values()])
      await fleet.client.ask('revoke', { ids: [...revoked.values()], terminate: false, signal: 'SIGTERM' })
      expect(await fleet.client.ask<object[]>('broadcast', { command: 'ping', timeout: 30, limit: 2 })).toHaveLength(2)
    })
    afterAll(async () => fleet?.[Symbol.asyncDispose]())

    anyTest.skipIf(broker !== 'redis')('a group that one language has saved is restored by the other, with its members', async () => {
      const at = new Places('alternating')
      const [a, b, c] = at.marks('a', 'b', 'c') as [CanvasData, CanvasData, CanvasData]
      const members = { group: [a, { chain: [b, { group: [c, at.mark('d')] }] }] }
      const value = [['a'], [['c', ['b']], ['d', ['b']]]] // biome-ignore format: one line tells more
      for (const by of starters) {
        const tuple = await fleet.caller(by).start(members)
        expect((await fleet.callers.node.endOf(tuple)).value).toEqual(value)
        const [[id]] = tuple
        if (by === 'node') {
          await (fleet.app.resultFromTuple(tuple) as GroupResult<unknown>).save()
          const restored = await fleet.client.ask<{ value: string }>('restored_group', { id })
          expect({ ...restored, value: JSON.parse(restored.value) }).toEqual({ tuple, completed: 2, value })
        } else {
          await fleet.client.ask('save_group', { tuple })
          const restored = await fleet.app.restoreGroup(id)
          expect(restored?.asTuple()).toEqual(tuple)
          expect([await restored?.completedCount(), await restored?.get({ timeout: 20 })]).toEqual([2, value])
        }
      }
    })

    describe.each(cells)('started by %s, run by %s', (by, where, cell) => {
      let shape = 0
      const test = (name: string, body: () => Promise<void>): void => {
        if (broker === 'redis' || takesCell(shape, cell, cells.length)) anyTest(name, body)
        shape++
      }
      let at: Places
      let client: Caller
      let other: Caller
      beforeAll(() => {
        client = fleet.caller(by)
        other = fleet.caller(by === 'node' ? 'python' : 'node')
      })
      const places = (): Places => {
        at = new Places(where)
        return at
      }
      const end = async (tuple: ResultTuple, read: (caller: Caller) => Promise<End>): Promise<End> => {
        const seen = await read(client).catch((error: unknown) => {
          throw new Error(`${error instanceof Error ? error.message : error}\n${JSON.stringify(tuple)}\n${fleet.said()}`)
        })
        expect(comparable(await read(other))).toEqual(comparable(seen))
        return seen
      }
      /** What a canvas gave, which its own client and one of the other language see alike. */
      const run = async (canvas: CanvasData): Promise<{ readonly value: unknown; readonly tuple: ResultTuple }> => {
        const tuple = await client.start(canvas)
        const { value, error } = await end(tuple, (caller) => caller.endOf(tuple))
        if (error !== undefined) throw new Error(`${error.type}: ${error.message}\n${error.traceback}\n${fleet.said()}`)
        return { value, tuple }
      }
      const value = async (canvas: CanvasData): Promise<unknown> => (await run(canvas)).value
      /** What its last task ended with. (The whole result gives the error of its first one that failed, in Celery.) */
      const failure = async (canvas: CanvasData): Promise<{ readonly error: SeenError; readonly tuple: ResultTuple }> => {
        const tuple = await client.start(canvas)
        const { value, error } = await end(tuple, (caller) => caller.end(tuple[0][0]))
        if (error === undefined) throw new Error(`it returned ${JSON.stringify(value)}`)
        return { error, tuple }
      }
      /** An errback, which exists in one language, and what it was told. */
      const errback = (name: string): CanvasData => {
        const language = at.next()
        return { task: `interop.failed_${language}`, args: [name], options: { queue: language } }
      }
      const told = async (name: string, count = 1): Promise<unknown[]> =>
        (await fleet.listed(`note:${name}`, count, 20_000)).map((text) => JSON.parse(text))

      // ── chain ──

      test('chain', async () => {
        const { mark } = bound(places())
        expect(await value({ chain: [mark('a'), mark('b'), mark('c')] })).toEqual(['c', ['b', ['a']]])
      })

      test('chain with an immutable step, and chains in it', async () => {
        const { mark, marks } = bound(places())
        const canvas = { chain: [{ chain: marks('a', 'b') }, mark('c', { immutable: true }), { chain: marks('d', 'e') }] }
        expect(await value(canvas)).toEqual(['e', ['d', ['c']]])
      })

      test('chain: ids and parents', async () => {
        const { task } = bound(places())
        const { value, tuple } = await run({ chain: [task('interop.place'), task('interop.place'), task('interop.place')] })
        const last = value as Place
        const middle = last.args[0] as Place
        const first = middle.args[0] as Place
        expect(last).toMatchObject({ id: tuple[0][0], root: first.id, parent: middle.id, group: null })
        expect(middle).toMatchObject({ id: tuple[0][1]?.[0][0], root: first.id, parent: first.id })
        expect(first).toMatchObject({ root: first.id, parent: null })
      })

      // ── group ──

      test('group', async () => {
        const { marks } = bound(places())
        expect(await value({ group: marks('a', 'b', 'c') })).toEqual([['a'], ['b'], ['c']])
      })

      test('group of chains', async () => {
        const { marks } = bound(places())
        expect(await value({ group: [{ chain: marks('a', 'b') }, { chain: marks('c', 'd') }] })).toEqual([
          ['b', ['a']],
          ['d', ['c']],
        ])
      })

      test('group at the end of a chain', async () => {
        const { mark, marks } = bound(places())
        expect(await value({ chain: [mark('a'), { group: marks('b', 'c') }] })).toEqual([
          ['b', ['a']],
          ['c', ['a']],
        ])
      })

      // ── chord ──

      test('chord', async () => {
        const { mark, marks } = bound(places())
        expect(await value({ chord: marks('a', 'b', 'c'), body: mark('d') })).toEqual(['d', [['a'], ['b'], ['c']]])
      })

      test('chain of group: a group in the middle is a chord', async () => {
        const { mark, marks } = bound(places())
        expect(await value({ chain: [mark('a'), { group: marks('b', 'c') }, mark('d'), mark('e')] })).toEqual([
          'e',
          [
            'd',
            [
              ['b', ['a']],
              ['c', ['a']],
            ],
          ],
        ])
      })

      test('chain of two groups', async () => {
        const { mark, marks } = bound(places())
        const both = [['a'], ['b']]
        expect(await value({ chain: [{ group: marks('a', 'b') }, { group: marks('c', 'd') }, mark('e')] })).toEqual([
          'e',
          [
            ['c', both],
            ['d', both],
          ],
        ])
      })

      test('chord of chains', async () => {
        const { marks } = bound(places())
        expect(await value({ chord: [{ chain: marks('a', 'b') }, { chain: marks('c', 'd') }], body: { chain: marks('e', 'f') } })).toEqual([
          'f',
          [
            'e',
            [
              ['b', ['a']],
              ['d', ['c']],
            ],
          ],
        ])
      })

      test('nested chord', async () => {
        const { mark, marks } = bound(places())
        const inner = { chord: marks('a', 'b'), body: mark('c') }
        expect(await value({ chord: [inner, mark('d')], body: mark('e') })).toEqual(['e', [['c', [['a'], ['b']]], ['d']]])
      })

      test('chord in a group in a chain', async () => {
        const { mark, marks } = bound(places())
        const inner = { chord: marks('b', 'c'), body: mark('d') }
        expect(await value({ chain: [mark('a'), { group: [inner, mark('e')] }, mark('f')] })).toEqual([
          'f',
          [
            [
              'd',
              [
                ['b', ['a']],
                ['c', ['a']],
              ],
            ],
            ['e', ['a']],
          ],
        ])
      })

      test('chord whose body is a group', async () => {
        const { marks } = bound(places())
        expect(await value({ chord: marks('a', 'b'), body: { group: marks('c', 'd') } })).toEqual([
          ['c', [['a'], ['b']]],
          ['d', [['a'], ['b']]],
        ])
      })

      // ── links ──

      test('link: both get the result', async () => {
        const { mark, task } = bound(places())
        const names = [fresh('link'), fresh('link')]
        const link = names.map((name) => task('interop.note', [name]))
        expect(await value(mark('a', { link }))).toEqual(['a'])
        for (const name of names) expect(await told(name)).toEqual([['a']])
      })

      test('link of a chain and of a chord: the last of them tells', async () => {
        const { mark, marks, task } = bound(places())
        const [one, two] = [fresh('link'), fresh('link')]
        await value({ chain: marks('a', 'b'), link: [task('interop.note', [one])] })
        await value({ chord: marks('a', 'b'), body: mark('c'), link: [task('interop.note', [two])] })
        expect(await told(one)).toEqual([['b', ['a']]])
        expect(await told(two)).toEqual([['c', [['a'], ['b']]]])
      })

      test('a chain as link', async () => {
        const { mark, task } = bound(places())
        const name = fresh('link')
        await value(mark('a', { link: [{ chain: [mark('b'), task('interop.note', [name])] }] }))
        expect(await told(name)).toEqual([['b', ['a']]])
      })

      // ── failures ──

      test('errback: told the id of the task that failed', async () => {
        const { task } = bound(places())
        const name = fresh('errback')
        const { error, tuple } = await failure(task('interop.boom', ['x'], { link_error: [errback(name)] }))
        expect(error).toMatchObject({ type: 'ValueError', message: 'boom x' })
        expect(await told(name)).toEqual([tuple[0][0]])
      })

      test('a failure in a chain ends it: its last result is that failure, and the errback is told once', async () => {
        const { mark, task } = bound(places())
        const name = fresh('errback')
        const { error, tuple } = await failure({
          chain: [mark('a'), task('interop.boom', ['x']), mark('b'), mark('c')],
          link_error: [errback(name)],
        })
        expect(error).toMatchObject({ type: 'ValueError', message: 'boom x' })
        const failed = tuple[0][1]?.[0][1]?.[0][0]
        expect(await told(name)).toEqual([failed])
      })

      test('failing header: the body fails with ChordError, and its errback is told once', async () => {
        const { mark, task } = bound(places())
        const name = fresh('errback')
        const failing = task('interop.boom', ['x'], { options: { task_id: randomUUID() } })
        const { error, tuple } = await failure({ chord: [mark('a'), failing, mark('b')], body: mark('c', { link_error: [errback(name)] }) })
        expect(error).toMatchObject({ type: 'ChordError', module: 'celery.exceptions' })
        expect(error.message).toBe(`Dependency ${failing.options?.task_id} raised ValueError('boom x')`)
        expect(await told(name)).toEqual([tuple[0][0]])
      })

      test('failing header in a chain: all that follows fails', async () => {
        const { mark, task } = bound(places())
        const { error } = await failure({ chain: [mark('a'), { group: [mark('b'), task('interop.boom', ['x'])] }, mark('c'), mark('d')] })
        expect(error.type).toMatch(/^(ChordError|ValueError)$/)
      })

      // A Python worker that closes the inner chord tells its errbacks, and not the outer chord: there the outer body never ends.
      anyTest.skipIf(where !== 'node')('failing header of a nested chord: the outer body fails', async () => {
        const { mark, task } = bound(places())
        const inner = { chord: [mark('a'), task('interop.boom', ['x'])], body: mark('b') }
        const { error } = await failure({ chord: [inner, mark('c')], body: mark('d') })
        expect(error).toMatchObject({ type: 'ChordError', message: expect.stringContaining('boom x') })
      })

      test('failing body', async () => {
        const { marks, task } = bound(places())
        const name = fresh('errback')
        const { error, tuple } = await failure({
          chord: marks('a', 'b'),
          body: task('interop.boom', ['x'], { link_error: [errback(name)] }),
        })
        expect(error).toMatchObject({ type: 'ValueError', message: 'boom x' })
        expect(await told(name)).toEqual([tuple[0][0]])
      })

      test('revoked member: the body fails with ChordError', async () => {
        const { mark } = bound(places())
        const taskId = revoked.get(`${by} ${where}`) ?? ''
        const { error } = await failure({ chord: [mark('a'), mark('b', { options: { task_id: taskId } }), mark('c')], body: mark('d') })
        expect(error).toMatchObject({ type: 'ChordError', message: `Dependency ${taskId} raised TaskRevokedError('revoked')` })
      })

      // ── replace ──

      test('replace by a task, a chain, a group and a chord, in a chain', async () => {
        const { instead, mark, marks } = bound(places())
        const by = (canvas: CanvasData): CanvasData => ({ chain: [mark('a'), instead(canvas), mark('z')] })
        const all = await Promise.all([
          client.start(by(mark('b'))),
          client.start(by({ chain: marks('b', 'c') })),
          client.start(by({ group: marks('b', 'c') })),
          client.start(by({ chord: marks('b', 'c'), body: mark('d') })),
        ])
        const ends = []
        for (const tuple of all) ends.push(comparable(await client.endOf(tuple)))
        expect(ends).toEqual([
          { value: ['z', ['b']] },
          { value: ['z', ['c', ['b']]] },
          { value: ['z', [['b'], ['c']]] },
          { value: ['z', ['d', [['b'], ['c']]]] },
        ])
      })

      test('replace in the header of a chord', async () => {
        const { instead, mark, marks } = bound(places())
        const header = [mark('a'), instead({ chain: marks('b', 'c') }), instead(mark('d'))]
        expect(await value({ chord: header, body: mark('e') })).toEqual(['e', [['a'], ['c', ['b']], ['d']]])
      })

      test('replace keeps the id, and counts', async () => {
        const { instead, task } = bound(places())
        const { value, tuple } = await run(instead(task('interop.place')))
        expect(value).toMatchObject({ id: tuple[0][0], root: tuple[0][0], nesting: 1 })
      })

      test('a chord that grows', async () => {
        const { mark, task } = bound(places())
        const canvas = { chord: [mark('a'), task('interop.one_more', [[mark('b')]])], body: mark('c') }
        // The one that was added has the place of the one that added it; which of them is first, only their ids say.
        expect(await value(canvas)).toEqual(['c', [['a'], expect.toBeOneOf([[], ['b']]), expect.toBeOneOf([[], ['b']])]])
      })

      // ── stamps ──

      test('stamps are on every task of a chain, and on the header of a chord', async () => {
        const { task } = bound(places())
        const stamps = (place: unknown): unknown => [(place as Place).stamps.tenant].flat()
        const chained = (await value({ chain: [task('interop.place'), task('interop.place')], stamp: { tenant: 'acme' } })) as Place
        expect([chained, chained.args[0]].map(stamps)).toEqual([['acme'], ['acme']])
        const header = [task('interop.place'), task('interop.place')]
        const last = task('interop.place', [], { stamp: { step: 'last' } })
        const body = (await value({ chord: header, body: last, stamp: { tenant: 'acme' } })) as Place
        expect((body.args[0] as Place[]).map(stamps)).toEqual([['acme'], ['acme']])
        expect([body.stamps.step].flat()).toEqual(['last'])
      })
    })
  })
}

interface Place {
  readonly args: readonly unknown[]
  readonly id: string
  readonly root: string | null
  readonly parent: string | null
  readonly group: string | null
  readonly index: number | null
  readonly nesting: number
  readonly stamps: Readonly<Record<string, unknown>>
}

const bound = (places: Places) => ({
  instead: (canvas: CanvasData) => places.task('interop.instead', [[canvas]]),
  mark: places.mark.bind(places),
  marks: places.marks.bind(places),
  task: places.task.bind(places),
})

/** What both clients see alike: Python's traceback has its own client's frames, and names of classes differ. */
function comparable({ value, error }: End): unknown {
  return error === undefined ? { value } : { type: error.type, module: error.module, message: error.message }
}
