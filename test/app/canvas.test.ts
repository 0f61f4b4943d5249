/** Workflows from their call to their result, on workers in this process. What each message looks like is held to Python in test/canvas. */
import { expect, test } from 'vitest'
import { chain, chord, currentTask, EncodeError, group, NotSupportedError, type RequestInfo, TaskFailure } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

const deadline = { timeout: 20 }

function tasksOf({ app }: LiveApp) {
  const seen: unknown[] = []
  return {
    seen,
    add: app.task('add', (x: number, y: number) => x + y),
    sum: app.task('sum', (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)),
    text: app.task('text', (value: unknown) => JSON.stringify(value)),
    note: app.task('note', (value: unknown) => void seen.push(value)),
    boom: app.task('boom', (value: unknown): number => {
      throw new RangeError(`boom ${JSON.stringify(value)}`)
    }),
  }
}

test('a chain gives the result of its last step; its handle leads back to each step', async () => {
  await using live = new LiveApp()
  const { add, text } = tasksOf(live)
  await live.work()
  const result = await chain(add.s(2, 2), add.s(4), text.s()).delay()
  expect(await result.get(deadline)).toBe('8')
  expect(await result.parent?.get(deadline)).toBe(8)
  expect(await result.parent?.parent?.get(deadline)).toBe(4)
  expect(result.parent?.parent?.parent).toBeNull()
})

test('an immutable step takes nothing from the one before it', async () => {
  await using live = new LiveApp()
  const { add, text } = tasksOf(live)
  await live.work()
  expect(await chain(add.s(2, 2), text.si('mine')).delay().get(deadline)).toBe('"mine"')
})

test('chains in chains are one chain, with the links and options that they had', async () => {
  await using live = new LiveApp()
  const { add, text, note, seen } = tasksOf(live)
  await live.work()
  const inner = chain(add.s(3), add.s(4)).link(note.s())
  expect(await chain(add.s(1, 1), inner, text.s()).delay().get(deadline)).toBe('9')
  await until(() => seen.length === 1)
  expect(seen).toEqual([9])
})

test('a group gives the results of its members in their order, nested as they are', async () => {
  await using live = new LiveApp()
  const { add, text } = tasksOf(live)
  await live.work()
  const result = await group(add.s(1, 1), chain(add.s(2, 2), text.s()), chain(add.s(1, 1), group(add.s(1), add.s(2)))).delay()
  expect(await result.get(deadline)).toEqual([2, '4', [3, 4]])
  expect(result.results).toHaveLength(3)
})

test('a group in a group hands over its members; in the header of a chord the last of them first, as in Celery', async () => {
  await using live = new LiveApp()
  const { add, text } = tasksOf(live)
  await live.work()
  const members = group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3)), add.s(4, 4))
  expect(await members.delay().get(deadline)).toEqual([2, 4, 6, 8])
  expect(await chord(members, text.s()).delay().get(deadline)).toBe('[2,6,4,8]')
})

test('a group from a generator, and a group of nobody', async () => {
  await using live = new LiveApp()
  const { add } = tasksOf(live)
  await live.work()
  function* calls() {
    for (let i = 0; i < 5; i++) yield add.s(i, i)
  }
  expect(await group(calls()).delay().get(deadline)).toEqual([0, 2, 4, 6, 8])
  const nobody = await group([] as ReturnType<typeof add.si>[]).delay()
  expect([await nobody.get(), await nobody.state(), nobody.results]).toEqual([[], 'SUCCESS', []])
})

test('a chord gives its body the results of its header in their order', async () => {
  await using live = new LiveApp()
  const { add, text } = tasksOf(live)
  await live.work()
  const result = await chord(group(add.s(1, 1), add.s(2, 2), add.s(3, 3)), text.s()).delay()
  expect(await result.get(deadline)).toBe('[2,4,6]')
  expect(await result.parent?.get(deadline)).toEqual([2, 4, 6])
})

test('group | task is a chord, wherever it stands in a chain', async () => {
  await using live = new LiveApp()
  const { add, sum, text } = tasksOf(live)
  await live.work()
  const fan = () => group(add.s(1), add.s(2))
  expect(
    await chain(group(add.s(1, 1), add.s(2, 2)), sum.s(), text.s())
      .delay()
      .get(deadline),
  ).toBe('6')
  expect(await chain(add.s(1, 1), fan(), sum.s(), fan(), sum.s(), text.s()).delay().get(deadline)).toBe('17')
  expect(await chain(add.s(1, 1), fan(), sum.s(), fan()).delay().get(deadline)).toEqual([8, 9])
})

test('chords in chords, in groups and in chains', async () => {
  await using live = new LiveApp()
  const { add, sum, text } = tasksOf(live)
  await live.work()
  const inner = () => chord(group(add.s(1, 1), add.s(2, 2)), sum.s())
  expect(
    await chord(group(inner(), add.s(3, 3), inner()), text.s())
      .delay()
      .get(deadline),
  ).toBe('[6,6,6]')
  expect(await group(inner(), inner()).delay().get(deadline)).toEqual([6, 6])
  expect(
    await chain(add.s(0, 1), group(chord(group(add.s(1), add.s(2)), sum.s()), add.s(4)), text.s())
      .delay()
      .get(deadline),
  ).toBe('[5,5]')
})

test('the body of a chord with an empty header gets the empty list', async () => {
  await using live = new LiveApp()
  const { add, sum } = tasksOf(live)
  await live.work()
  expect(
    await chord(group([] as ReturnType<typeof add.si>[]), sum.s())
      .delay()
      .get(deadline),
  ).toBe(0)
  expect(
    await chain(group([] as ReturnType<typeof add.si>[]), sum.s(), add.s(5))
      .delay()
      .get(deadline),
  ).toBe(5)
})

test('a chain that fails ends for all who wait for one of its later steps', async () => {
  await using live = new LiveApp()
  const { add, boom, text, note, seen } = tasksOf(live)
  await live.work()
  const result = await chain(add.s(1, 1), boom.s(), text.s(), text.s()).linkError(note.s()).delay()
  const failed = result.parent?.parent
  await expect(result.get(deadline)).rejects.toThrow('boom 2')
  await expect(result.parent?.get(deadline)).rejects.toThrow('boom 2')
  await until(() => seen.length === 1)
  expect(seen).toEqual([failed?.id])
})

test('a chord whose header fails ends with ChordError, and tells the errbacks of its body', async () => {
  await using live = new LiveApp()
  const { add, boom, sum, note, seen } = tasksOf(live)
  await live.work()
  const result = await chord(group(add.s(1, 1), boom.s(1)), sum.s())
    .linkError(note.s())
    .delay()
  const error = await result.get(deadline).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(TaskFailure)
  expect(error).toMatchObject({ excType: 'ChordError', message: expect.stringMatching(/^Dependency \S+ raised ValueError\('boom 1'\)$/) })
  await until(() => seen.length === 1)
  expect(seen).toEqual([result.id])
})

test('with taskAllowErrorCbOnChordHeader each header task that fails tells the errback, too', async () => {
  await using live = new LiveApp({ taskAllowErrorCbOnChordHeader: true })
  const { add, boom, sum, note, seen } = tasksOf(live)
  await live.work()
  const result = await chord(group(add.s(1, 1), boom.s(1)), sum.s())
    .linkError(note.s())
    .delay()
  await expect(result.get(deadline)).rejects.toThrow()
  await until(() => seen.length === 2)
  expect(seen).toContain(result.id)
})

test('errbacks of a group are told by each member that fails; its callback by the first that succeeds', async () => {
  await using live = new LiveApp()
  const { add, boom, note, seen } = tasksOf(live)
  await live.work()
  const result = await group(add.s(1, 1), boom.s(1), boom.s(2)).linkError(note.s()).link(note.si('done')).delay()
  await expect(result.get(deadline)).rejects.toThrow('boom')
  await until(() => seen.length === 3)
  expect(new Set(seen)).toEqual(new Set([result.results[1]?.id, result.results[2]?.id, 'done']))
  expect(() => group(add.s(1, 1), add.s(2, 2)).link(note.s())).toThrow(NotSupportedError)
})

test('callbacks of a chord are those of its body', async () => {
  await using live = new LiveApp()
  const { add, sum, note, seen } = tasksOf(live)
  await live.work()
  await chord(group(add.s(1, 1), add.s(2, 2)), sum.s())
    .link(note.s())
    .delay()
    .get(deadline)
  await chord(group(add.s(1, 1), add.s(2, 2)), sum.s())
    .applyAsync({ link: note.s() })
    .get(deadline)
  await until(() => seen.length === 2)
  expect(seen).toEqual([6, 6])
})

test('options of a chain are for its first task, of a group for each member, of a chord for header and body', async () => {
  await using live = new LiveApp()
  const { app } = live
  const requests: Pick<RequestInfo, 'queue'>[] = []
  const where = app.task('where', (_?: unknown) => void requests.push({ queue: currentTask().request.queue }))
  await live.work({ queues: ['celery', 'special'] })
  await chain(where.s(1), where.s()).applyAsync({ queue: 'special' }).get(deadline)
  expect(requests.splice(0)).toEqual([{ queue: 'special' }, { queue: 'celery' }])
  await group(where.s(1), where.s(2)).set({ queue: 'special' }).delay().get(deadline)
  expect(requests.splice(0)).toEqual([{ queue: 'special' }, { queue: 'special' }])
  await chord(group(where.s(1), where.s(2)), where.s())
    .applyAsync({ queue: 'special' })
    .get(deadline)
  expect(requests.splice(0)).toEqual([{ queue: 'special' }, { queue: 'special' }, { queue: 'special' }])
})

test('ids that were asked for: of the last task of a chain, of a group, of the body of a chord', async () => {
  await using live = new LiveApp()
  const { add, sum } = tasksOf(live)
  await live.work()
  const last = chain(add.s(1, 1), add.s(2)).applyAsync({ taskId: 'last' })
  expect([last.id, await last.get(deadline)]).toEqual(['last', 4])
  const members = await group(add.s(1, 1), add.s(2, 2)).applyAsync({ taskId: 'members' })
  expect([members.id, await members.get(deadline)]).toEqual(['members', [2, 4]])
  const body = chord(group(add.s(1, 1), add.s(2, 2)), sum.s()).applyAsync({ taskId: 'body' })
  expect([body.id, await body.get(deadline)]).toEqual(['body', 6])
})

test('tasks of a workflow know its root, their parent and their place in a group', async () => {
  await using live = new LiveApp()
  const { app } = live
  const seen = new Map<string, Pick<RequestInfo, 'id' | 'rootId' | 'parentId' | 'group' | 'groupIndex'>>()
  const look = app.task('look', (name: string) => {
    const { id, rootId, parentId, group: groupId, groupIndex } = currentTask().request
    seen.set(name, { id, rootId, parentId, group: groupId, groupIndex })
  })
  await live.work()
  const result = await chain(look.si('first'), group(look.si('a'), look.si('b')), look.si('body')).delay()
  await result.get(deadline)
  const header = result.parent
  const root = header?.parent?.id ?? ''
  const [a, b] = ['a', 'b'].map((name) => seen.get(name))
  expect(seen.get('first')).toEqual({ id: root, rootId: root, parentId: null, group: null, groupIndex: null })
  expect(a).toMatchObject({ rootId: root, parentId: root, group: header?.id, groupIndex: 0 })
  expect(b).toMatchObject({ rootId: root, parentId: root, group: header?.id, groupIndex: 1 })
  expect(seen.get('body')).toMatchObject({ id: result.id, rootId: root })
  expect([a?.id, b?.id]).toContain(seen.get('body')?.parentId)
})

test('a workflow that a task sends is its child: the tasks are found from there, but for the body of a chord, whose header does not know of it', async () => {
  await using live = new LiveApp()
  const { add, sum } = tasksOf(live)
  const start = live.app.task('start', async () => (await chain(add.s(1, 1), group(add.s(1), add.s(2)), sum.s()).delay()).id)
  await live.work()
  const result = await start.delay()
  const last = live.app.result(await result.get(deadline))
  expect(await last.get(deadline)).toBe(7)
  const found: unknown[] = []
  for await (const [, value] of result.collect(deadline)) found.push(value)
  expect(found.slice(1)).toEqual([2, [3, 4], 3, 4])
})

test('taskInheritParentPriority: what a task sends has its priority', async () => {
  await using live = new LiveApp({ taskInheritParentPriority: true })
  const priorities: unknown[] = []
  const { app } = live
  const tell = app.task('tell', (_?: unknown) => void priorities.push(currentTask().request.id))
  const start = app.task('start', async () => {
    await group(tell.si(1), tell.si(2)).delay()
  })
  const sent: unknown[] = []
  app.on('beforeTaskPublish', ({ task, headers }) => void sent.push([task, headers.parent_id]))
  await live.work()
  const { id } = await start.applyAsync([], { priority: 3 })
  await until(() => priorities.length === 2)
  expect(sent.slice(1)).toEqual([
    ['tell', id],
    ['tell', id],
  ])
})

test('map and starmap are one message, chunks one for each part', async () => {
  await using live = new LiveApp()
  const { add, text, sum } = tasksOf(live)
  await live.work()
  const pairs: [number, number][] = [[1, 2], [3, 4], [5, 6]] // biome-ignore format: one line tells more
  expect(await text.map([1, 2]).delay().get(deadline)).toEqual(['1', '2'])
  expect(await add.starmap(pairs).delay().get(deadline)).toEqual([3, 7, 11])
  expect(await add.chunks(pairs, 2).delay().get(deadline)).toEqual([[3, 7], [11]])
  expect(await chain(add.starmap(pairs), sum.s()).delay().get(deadline)).toBe(21)
  expect(await chain(add.chunks(pairs, 2), text.s()).delay().get(deadline)).toBe('[[3,7],[11]]')
})

test('a map goes to the queue of the task that it calls', async () => {
  await using live = new LiveApp({ taskRoutes: { routed: { queue: 'elsewhere' } } })
  const twice = live.app.task('routed', (x: number) => [x * 2, currentTask().request.queue])
  await live.work({ queues: ['elsewhere'] })
  expect(await twice.map([1, 2]).delay().get(deadline)).toEqual([
    [2, 'elsewhere'],
    [4, 'elsewhere'],
  ])
})

test('publish middleware sees every message of a workflow that is sent', async () => {
  await using live = new LiveApp()
  const { add } = tasksOf(live)
  const seen: unknown[] = []
  live.app.use({
    async publish(message, next) {
      seen.push([message.task, message.args])
      await next()
    },
  })
  await live.work()
  await group(add.s(1, 1), chain(add.s(2, 2), add.s(3)))
    .delay()
    .get(deadline)
  expect(seen.slice(0, 2)).toEqual([
    ['add', [1, 1]],
    ['add', [2, 2]],
  ])
})

test('what cannot be sent is refused in words, before anything is sent', async () => {
  await using live = new LiveApp({ backend: 'disabled://' })
  const { add, sum } = tasksOf(live)
  await expect(chord(group(add.s(1, 1), add.s(2, 2)), sum.s()).delay()).rejects.toThrow(/a chord .* is not supported: the result backend/)
  await expect(chain(add.s(1, 1), group(add.s(1), add.s(2)), sum.s()).delay()).rejects.toThrow(NotSupportedError)
  // @ts-expect-error there is no such option
  await expect(chain(add.s(1, 1), add.s(2)).applyAsync({ quue: 'x' })).rejects.toThrow('Did you mean "queue"?')
  // @ts-expect-error there is no such option
  await expect(chain(add.s(1, 1).set({ quue: 'x' }), add.s(2)).delay()).rejects.toThrow('Did you mean "queue"?')
  await expect(chain(add.s(1, 1), add.s(2).set({ unique: 'x' })).delay()).rejects.toThrow(NotSupportedError)
  await expect(chain(add.s(1, 1), add.s(2).set({ retry: false })).delay()).rejects.toThrow('give it to the call that sends the workflow')
  await expect(chain(add.s(1, 1), add.s(2)).set({ retry: false }).delay()).resolves.toMatchObject({ id: expect.any(String) })
  await expect(chain(add.s(1, 1), add.s(2)).applyAsync({ signal: AbortSignal.abort(new Error('stopped')) })).rejects.toThrow('stopped')
  await expect(group(add.s(1, 1), add.s(2, 2)).applyAsync({ retry: false, tx: undefined })).resolves.toMatchObject({ parent: null })
})

test('workflows travel in any serializer', async () => {
  await using live = new LiveApp({ taskSerializer: 'msgpack', acceptContent: ['json', 'msgpack'] })
  const { add, sum, text } = tasksOf(live)
  await live.work()
  expect(
    await chain(group(add.s(1, 1), add.s(2, 2)), sum.s(), text.s())
      .delay()
      .get(deadline),
  ).toBe('6')
  expect(
    await chain(add.s(1, 1), group(add.s(1), add.s(2)), sum.s())
      .delay()
      .get(deadline),
  ).toBe(7)
})

test('a member that cannot be sent is told at once', async () => {
  await using live = new LiveApp()
  const { add, sum, text } = tasksOf(live)
  const member = text.s(new Map())
  await expect(group(add.s(1, 1), member).delay()).rejects.toThrow(EncodeError)
  await expect(chord(group(add.s(1, 1), chain(member, add.si(1, 1))), sum.s()).delay()).rejects.toThrow(/args\[0\]/)
})
