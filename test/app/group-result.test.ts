/** Handles of groups. */
import { expect, test } from 'vitest'
import { chain, chord, type EnqueuedGroup, group, TaskFailure, TimeoutError } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

const deadline = { timeout: 20 }

function tasksOf({ app }: LiveApp) {
  const gates = new Map<number, () => void>()
  return {
    gates,
    add: app.task('add', (x: number, y: number) => x + y),
    sum: app.task('sum', (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)),
    gate: app.task('gate', (key: number) => new Promise<number>((resolve) => gates.set(key, () => resolve(key)))),
    boom: app.task('boom', (): number => {
      throw new Error('boom')
    }),
  }
}

test('a group tells how far it is, and gives its members as they end', async () => {
  await using live = new LiveApp()
  const { gate, gates } = tasksOf(live)
  await live.work({ concurrency: 10 })
  const result = await group([0, 1, 2].map((key) => gate.s(key))).delay()
  await until(() => gates.size === 3)
  expect([await result.ready(), await result.waiting(), await result.completedCount(), await result.successful()]).toEqual([
    false,
    true,
    0,
    false,
  ])
  const order: unknown[] = []
  gates.get(2)?.()
  for await (const { index, result: member } of result) {
    order.push([index, await member.get()])
    if (index === 2) expect([await result.completedCount(), await result.info()]).toEqual([1, { current: 1, total: 3 }])
    gates.get(index === 2 ? 0 : 1)?.()
  }
  expect(order).toEqual([
    [2, 2],
    [0, 0],
    [1, 1],
  ])
  expect([await result.ready(), await result.waiting(), await result.completedCount(), await result.state()]).toEqual([
    true,
    false,
    3,
    'SUCCESS',
  ])
})

test('the first member that fails ends the wait; with propagate: false its error stands in its place', async () => {
  await using live = new LiveApp()
  const { add, boom, gate, gates } = tasksOf(live)
  await live.work({ concurrency: 10 })
  const result = await group(add.s(1, 1), boom.s(), gate.s(1)).delay()
  await expect(result.get(deadline)).rejects.toThrow('boom')
  expect([await result.failed(), await result.state(), await result.ready()]).toEqual([true, 'FAILURE', false])
  expect(await result.traceback()).toContain('boom')
  await until(() => gates.size === 1)
  gates.get(1)?.()
  expect(await result.get({ ...deadline, propagate: false })).toEqual([2, expect.any(TaskFailure), 1])
  expect(await result.ready()).toBe(true)
})

test('completedCount() counts members, also where one is a group', async () => {
  await using live = new LiveApp()
  const { add, gate, gates } = tasksOf(live)
  await live.work({ concurrency: 10 })
  const result = await group(add.s(1, 1), chain(add.s(1, 1), group(add.s(1), gate.si(1)))).delay()
  await until(() => gates.size === 1)
  await until(async () => (await result.completedCount()) === 1)
  gates.get(1)?.()
  await result.get(deadline)
  expect([await result.completedCount(), result.results.length]).toEqual([2, 2])
})

test('a wait for a group has a deadline and names the group', async () => {
  await using live = new LiveApp()
  const { add } = tasksOf(live)
  const result = await group(add.s(1, 1), add.s(2, 2)).delay()
  await expect(result.get({ timeout: 0.05 })).rejects.toThrow(TimeoutError)
  await expect(result.get({ timeout: 0.05 })).rejects.toThrow(result.id)
  expect([await result.state(), await result.exists()]).toEqual(['PENDING', true])
})

test('a group is saved, restored under its id by any app of the same backend, and forgotten', async () => {
  await using live = new LiveApp({ backend: 'memory://shared-groups' })
  await using other = new LiveApp({ backend: 'memory://shared-groups' })
  const { add } = tasksOf(live)
  await live.work()
  const result = await group(add.s(1, 1), chain(add.s(1, 1), group(add.s(1), add.s(2)))).delay()
  await result.save()
  const restored = await other.app.restoreGroup(result.id)
  expect(await restored?.get(deadline)).toEqual([2, [3, 4]])
  expect(restored?.asTuple()).toEqual(result.asTuple())
  await result.forget()
  expect(await other.app.restoreGroup(result.id)).toBeUndefined()
  expect(await result.completedCount()).toBe(0)
})

test('the handle of a workflow is data and back: parents, members, members of members', async () => {
  await using live = new LiveApp()
  const { add, sum } = tasksOf(live)
  await live.work()
  const result = await chain(add.s(1, 1), group(add.s(1), add.s(2)), sum.s()).delay()
  const copy = live.app.resultFromTuple(JSON.parse(JSON.stringify(result.asTuple())))
  expect(await copy.get(deadline)).toBe(7)
  expect(await copy.parent?.get(deadline)).toEqual([3, 4])
  expect(await copy.parent?.parent?.get(deadline)).toBe(2)
  expect(() => live.app.resultFromTuple(['x'])).toThrow('expected a result tuple')
})

test('revoking a group revokes every task of it', async () => {
  await using live = new LiveApp()
  const { add } = tasksOf(live)
  const result = await group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3))).delay()
  await result.revoke()
  await live.work()
  await until(() => result.ready())
  expect(await result.state()).toBe('REVOKED')
})

test('a revoked member of a chord fails the chord', async () => {
  await using live = new LiveApp()
  const { add, sum } = tasksOf(live)
  const result = await chord(group(add.s(1, 1), add.s(2, 2)), sum.s()).delay()
  const [, second] = await (result.parent?.children() ?? [])
  await second?.revoke()
  await live.work()
  await expect(result.get(deadline)).rejects.toThrow(/Dependency .* raised TaskRevokedError/)
})

test('events of a group count its members', async () => {
  await using live = new LiveApp()
  const { add } = tasksOf(live)
  await live.work()
  const result = await group(add.s(1, 1), add.s(2, 2)).delay()
  const events: unknown[] = []
  for await (const event of result.events()) events.push(event)
  expect(events).toEqual([
    { state: 'PROGRESS', meta: { current: 1, total: 2 } },
    { state: 'SUCCESS', meta: { current: 2, total: 2 } },
  ])
})

test('a group is awaited inside of a task only when that is asked for', async () => {
  await using live = new LiveApp()
  const { add } = tasksOf(live)
  const inside = live.app.task('inside', async (allowed: boolean) => {
    const sent: EnqueuedGroup<[number, number]> = group(add.s(1, 1), add.s(2, 2)).delay()
    return sent.get({ timeout: 20, allowInsideTask: allowed })
  })
  await live.work({ concurrency: 10 })
  expect(await inside.delay(true).get(deadline)).toEqual([2, 4])
  await expect(inside.delay(false).get(deadline)).rejects.toThrow(/get\(\)/)
})

test('saving a group needs a backend that keeps groups', async () => {
  await using live = new LiveApp({ backend: 'disabled://' })
  const { add } = tasksOf(live)
  const result = await group(add.s(1, 1), add.s(2, 2)).delay()
  await expect(result.save()).rejects.toThrow()
  await expect(live.app.restoreGroup('x')).rejects.toThrow()
})
