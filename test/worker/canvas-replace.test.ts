/** `self.replace()`, `self.addToChord()` and Celery's own tasks, on real workers. */
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { Celeriac, chain, chord, group, type Sig, type TaskContext } from '../../dist/index.js'
import { build, evaluate, type Tree, trees } from '../canvas/random.js'
import { rounds } from '../harness/depth.js'
import { LiveApp, until } from '../live-app.js'

function tasksOf({ app }: LiveApp) {
  const heard: unknown[] = []
  const add = app.task('add', (x: number, y: number) => x + y)
  const sum = app.task('sum', (list: number[]) => list.reduce((a, b) => a + b, 0))
  const same = app.task('same', (x: unknown) => x)
  const fail = app.task('fail', { maxRetries: 0 }, (): number => {
    throw new TypeError('replaced and broken')
  })
  const request = app.task('request', { bind: true }, (self: TaskContext) => self.request)
  return {
    heard,
    add,
    sum,
    same,
    fail,
    request,
    hear: app.task('hear', (x: unknown) => {
      heard.push(x)
      return x
    }),
    /** Hands on to what its argument names. */
    hand: app.task('hand', { bind: true }, (self: TaskContext, on: string, x: number) => {
      switch (on) {
        case 'task':
          return self.replace(add.s(x, 100))
        case 'chain':
          return self.replace(chain(add.s(x, 1), add.s(2)))
        case 'group':
          return self.replace(group(add.s(x, 1), add.s(x, 2)))
        case 'chord':
          return self.replace(chord(group(add.s(x, 1), add.s(x, 2)), sum.s()))
        case 'chain with a group':
          return self.replace(chain(add.s(x, 1), group(add.s(1), add.s(2))) as never)
        case 'chord with a chain as its body':
          return self.replace(chord(group(add.s(x, 1), add.s(x, 2)), chain(sum.s(), add.s(1))))
        case 'chord that ends in a group':
          return self.replace(chord(group(add.s(x, 1), add.s(x, 2)), group(sum.s(), same.s() as never)) as never)
        case 'chain that ends in such a chord':
          return self.replace(chain(add.s(x, 1), chord(group(add.s(1), add.s(2)), chain(sum.s(), group(add.s(1), add.s(2))))) as never)
        case 'group of nobody':
          return self.replace(group([]) as never)
        case 'list of chunks':
          return self.replace(add.chunks([[x, 1], [x, 2]], 1) as never) // biome-ignore format: one line tells more
        case 'failure':
          return self.replace(fail.s())
        case 'request':
          return self.replace(request.s())
        default:
          return self.replace(chain.from([]))
      }
    }),
    grow: app.task('grow', { bind: true }, async (self: TaskContext, x: number) => {
      await self.addToChord(add.s(x, 1000))
      await self.addToChord(chain(add.s(x, 2000), add.s(1)))
      return x
    }),
  }
}

let live: LiveApp
let tasks: ReturnType<typeof tasksOf>
beforeAll(async () => {
  live = new LiveApp()
  tasks = tasksOf(live)
  await live.work({ concurrency: 4 })
})
afterAll(() => live[Symbol.asyncDispose]())

test.each([
  ['task', 101],
  ['chain', 4],
  ['group', [2, 3]],
  ['chord', 5],
  ['chain with a group', [3, 4]],
  ['chord with a chain as its body', 6],
  ['chord that ends in a group', [5, [2, 3]]],
  ['chain that ends in such a chord', [8, 9]],
  ['group of nobody', []],
  ['list of chunks', [[2], [3]]],
])('a task that is replaced by a %s has its result, and what follows it gets that', async (on, result) => {
  const { hand, same, heard, hear } = tasks
  expect(await hand.delay(on, 1).get({ timeout: 20 })).toEqual(result)
  heard.length = 0
  expect(await chain(hand.s(on, 1), hear.s(), same.s()).delay().get({ timeout: 20 })).toEqual(result)
  expect(heard).toEqual([result])
  expect(
    await chord(group(hand.s(on, 1), same.s('other')), same.s() as never)
      .delay()
      .get({ timeout: 20 }),
  ).toEqual([result, 'other'])
})

test('what follows a replaced task follows what took its place', async () => {
  const { add, hand, same, sum } = tasks
  for (const [on, result] of [
    ['task', 111],
    ['chain', 14],
    ['chord', 15],
  ] as const)
    expect(await chain(hand.s(on, 1), add.s(10)).delay().get({ timeout: 20 })).toBe(result)
  expect(await chain(hand.s('group', 1), same.s()).delay().get({ timeout: 20 })).toEqual([2, 3])
  expect(
    await chord(group(hand.s('task', 1), hand.s('chain', 1), hand.s('chord', 1), add.s(0, 0)), sum.s())
      .delay()
      .get({ timeout: 20 }),
  ).toBe(110)
})

test('whatever takes the place of a task, its result is what a plain evaluation gives: alone, in a chain and in the header of a chord', async () => {
  const echo = live.app.task('echo', (...args: unknown[]) => args) as unknown as Record<
    's' | 'si',
    (tag: string) => Sig<unknown, unknown, true>
  >
  const tagged = (tag: string, immutable: boolean) => (immutable ? echo.si(tag) : echo.s(tag))
  const instead = live.app.task('instead', { bind: true }, (self: TaskContext, tree: Tree): unknown => self.replace(build(tree, tagged)))
  await fc.assert(
    fc.asyncProperty(trees(3), async (tree) => {
      const value = evaluate(tree, [], false)
      expect(await instead.s(tree).delay().get({ timeout: 20 })).toEqual(value)
      expect(await chain(instead.s(tree), echo.s('x')).delay().get({ timeout: 20 })).toEqual([value, 'x'])
      const both = chord(group(instead.s(tree), echo.s('y')), echo.s('z'))
      expect(await both.delay().get({ timeout: 20 })).toEqual([[value, ['y']], 'z'])
    }),
    { numRuns: rounds(20, 100) },
  )
}, 60_000)

test('links of a replaced task are called once, with the result of what took its place, or told of its failure', async () => {
  const { hand, hear } = tasks
  const id = randomUUID()
  await hand.applyAsync(['chain', 7], { taskId: id, link: hear.s() })
  await until(() => tasks.heard.includes(10))
  const failed = randomUUID()
  await hand.applyAsync(['failure', 0], { taskId: failed, linkError: hear.s() })
  await expect(live.app.result(failed).get({ timeout: 20 })).rejects.toMatchObject({ excType: 'TypeError' })
  await until(() => tasks.heard.includes(failed))
  expect(tasks.heard.filter((one) => one === 10 || one === failed)).toHaveLength(2)
})

test('what took the place of a task has its id, is its own parent, and knows how often that happened', async () => {
  const sent = await tasks.hand.delay('request', 0)
  expect(await sent.get({ timeout: 20 })).toMatchObject({ id: sent.id, parentId: sent.id, rootId: sent.id, replacedTaskNesting: 1 })
})

test('a task cannot be replaced by nothing', async () => {
  await expect(tasks.hand.delay('nothing', 0).get({ timeout: 20 })).rejects.toThrow(/at least one task/)
})

test('a header of a chord can add headers: the body waits for them, too', async () => {
  const { add, grow, sum } = tasks
  expect(
    await chord(group(grow.s(1), add.s(1, 1)), sum.s())
      .delay()
      .get({ timeout: 20 }),
  ).toBe(1 + 1001 + 2002 + 2)
  await expect(tasks.grow.delay(1).get({ timeout: 20 })).rejects.toThrow(/not a header of a chord/)
})

test('a group that is added to a chord is one more header, and so is a chord, whatever its body is', async () => {
  const { add, same, sum } = tasks
  const more = live.app.task('more', { bind: true }, async (self: TaskContext, on: string) => {
    const members = group(add.s(1, 1), add.s(2, 2))
    if (on === 'chord') await self.addToChord(chord(members, group(sum.s(), same.s() as never)) as never)
    else if (on === 'chain') await self.addToChord(chord(members, chain(sum.s(), add.s(1))))
    else await self.addToChord(members)
    return on
  })
  for (const [on, added] of [
    ['group', [2, 4]],
    ['chord', [6, [2, 4]]],
    ['chain', 7],
  ] as const) {
    const got = (await chord(group(more.s(on), add.s(0, 0)), same.s() as never)
      .delay()
      .get({ timeout: 20 })) as unknown[]
    expect(got).toHaveLength(3)
    expect(got).toEqual(expect.arrayContaining([on, 0, added]))
  }
})

test('the request of a task tells its place in the workflow, as Celery does', async () => {
  const { request, same } = tasks
  const [first, second] = await group(request.s(), chain(same.s(1), request.si()))
    .delay()
    .get({ timeout: 20 })
  expect(first).toMatchObject({ groupIndex: 0, parentId: null, rootId: first.id })
  expect(second).toMatchObject({ groupIndex: 1, group: first.group })
  expect(second.parentId).not.toBeNull()
  expect(second.parentId).toBe(second.rootId)
})

test('stamps are known to the task, and to what follows it', async () => {
  const { request, same } = tasks
  const stamped = chain(same.s(1).stamp({ tenant: 'a' }), request.si().stamp({ tenant: 'b', list: [1, 2] }))
  expect(await stamped.delay().get({ timeout: 20 })).toMatchObject({ stamps: { tenant: 'b', list: [1, 2] } })
})

test.each<[string, unknown[], Record<string, unknown>, unknown]>([
  ['celery.map', [], { task: { task: 'same' }, it: [1, 'two'] }, [1, 'two']],
  [
    'celery.starmap',
    [],
    {
      task: { task: 'add' },
      it: [
        [1, 2],
        [3, 4],
      ],
    },
    [3, 7],
  ],
  ['celery.starmap', [{ task: 'add' }, [[5, 6]]], {}, [11]],
  ['celery.accumulate', [[1, 2]], { index: 0 }, [1, 2]],
  ['celery.accumulate', [1, 2], {}, [1, 2]],
  ['celery.accumulate', [1, 2], { index: 1 }, 2],
  ['celery.backend_cleanup', [], {}, null],
])('%s can be called by name', async (name, args, kwargs, result) => {
  expect(await live.app.sendTask(name, { args, kwargs }).get({ timeout: 20 })).toEqual(result)
})

test('celery.map runs a function with a schema, and one that takes the context', async () => {
  live.app.task('named', { kwargs: z.object({ n: z.number() }), params: ['n'] }, ({ n }) => n * 2)
  live.app.task('bound', { bind: true }, (self: TaskContext, n: number) => [self.request.id, n])
  expect(await live.app.sendTask('celery.map', { kwargs: { task: { task: 'named' }, it: [1, 2] } }).get({ timeout: 20 })).toEqual([2, 4])
  const sent = live.app.sendTask('celery.map', { kwargs: { task: { task: 'bound' }, it: [1] } })
  expect(await sent.get({ timeout: 20 })).toEqual([[sent.id, 1]])
  await expect(
    live.app.sendTask('celery.map', { kwargs: { task: { task: 'nobody' }, it: [1] } }).get({ timeout: 20 }),
  ).rejects.toMatchObject({
    excType: 'NotRegistered',
  })
})

test('celery.chunks, celery.group and celery.chord start what they are given, and give its handle', async () => {
  const add = { task: 'add', args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false }
  const chunks = (await live.app
    .sendTask('celery.chunks', {
      kwargs: {
        task: add,
        it: [
          [1, 1],
          [2, 2],
          [3, 3],
        ],
        n: 2,
      },
    })
    .get({ timeout: 20 })) as never
  expect(await live.app.resultFromTuple(chunks).get({ timeout: 20 })).toEqual([[2, 4], [6]])
  const header = [1, 2].map((n) => ({ ...add, args: [n, n] }))
  const body = (await live.app.sendTask('celery.chord', { args: [header, { ...add, task: 'sum' }] }).get({ timeout: 20 })) as never
  expect(await live.app.resultFromTuple(body).get({ timeout: 20 })).toBe(6)
  const [id, member] = [randomUUID(), randomUUID()]
  const tuple = [[id, null], [[[member, null], null]]]
  const members = [{ ...add, args: [1], options: { task_id: member } }]
  const group_ = (await live.app.sendTask('celery.group', { args: [members, tuple, id, [5]] }).get({ timeout: 20 })) as never
  expect(await live.app.resultFromTuple(group_).get({ timeout: 20 })).toEqual([6])
  await expect(live.app.sendTask('celery.chain').get({ timeout: 20 })).rejects.toThrow(/is no task/)
})

test('celery.chord_unlock waits for all headers and sends the body, or fails it', async () => {
  const { add, fail } = tasks
  const unlock = async (headers: readonly string[], id: string) => {
    const body = { task: 'sum', args: [], kwargs: {}, options: { task_id: id }, subtask_type: null, immutable: false }
    const result = headers.map((header) => [[header, null], null])
    await live.app.sendTask('celery.chord_unlock', { args: [randomUUID(), body], kwargs: { interval: 0.05, max_retries: null, result } })
    return live.app.result(id).get({ timeout: 20 })
  }
  const late = randomUUID()
  const good = unlock([(await add.delay(1, 1)).id, late], randomUUID())
  await until(() => live.said(/celery.chord_unlock.* retry/).length > 0)
  await add.applyAsync([2, 2], { taskId: late })
  expect(await good).toBe(6)
  await expect(unlock([(await add.delay(1, 1)).id, (await fail.delay()).id], randomUUID())).rejects.toMatchObject({ excType: 'ChordError' })
})

test('built-in tasks are there, and not told of', () => {
  expect(live.app.taskNames.filter((name) => name.startsWith('celery.'))).toEqual([])
  expect(Celeriac.internals(live.app).core.registry.get('celery.accumulate')?.name).toBe('celery.accumulate')
})
