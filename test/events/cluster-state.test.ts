import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ClusterState } from '../../dist/events/cluster-state.js'
import type { ClusterEvent } from '../../dist/protocol/events.js'

let clock = 0
const event = (type: string, more: Record<string, unknown> = {}): ClusterEvent => ({
  type,
  hostname: 'w@h',
  pid: 7,
  utcoffset: 0,
  clock: ++clock,
  timestamp: 1000 + clock,
  ...more,
})

test('a worker is alive while its heartbeats come, for twice their interval', () => {
  let nowMs = 0
  const state = new ClusterState({ now: () => nowMs })
  state.take(
    event('worker-online', { freq: 2, active: 0, processed: 3, loadavg: [1, 2, 3], sw_ident: 'py-celery', sw_ver: '5.7', sw_sys: 'Linux' }),
  )
  expect(state.workers()).toEqual([
    {
      hostname: 'w@h',
      pid: 7,
      isAlive: true,
      freq: 2,
      active: 0,
      processed: 3,
      loadavg: [1, 2, 3],
      software: { ident: 'py-celery', version: '5.7', system: 'Linux' },
      heardAtMs: 0,
    },
  ])
  nowMs = 4_000
  expect(state.workers()[0]?.isAlive).toBe(true)
  nowMs = 4_001
  expect(state.workers()[0]?.isAlive).toBe(false)
  state.take(event('worker-heartbeat', { freq: 2, active: 5 }))
  expect(state.workers()[0]).toMatchObject({ isAlive: true, active: 5, processed: 3, software: { ident: 'py-celery' } })
  state.take(event('worker-offline', { freq: 2 }))
  expect(state.workers()[0]?.isAlive).toBe(false)
})

test('a task goes through its states, and keeps what each event told', () => {
  const state = new ClusterState()
  const of = (type: string, more: Record<string, unknown> = {}) => state.take(event(type, { uuid: 'a', ...more }))
  of('task-sent', { hostname: 'gen1@h', name: 'add', args: '(1, 2)', kwargs: '{}', queue: 'celery', retries: 0 })
  expect(state.task('a')).toMatchObject({ state: 'PENDING', name: 'add', queue: 'celery' })
  expect(state.task('a')?.worker).toBeUndefined()
  of('task-received', { name: 'add', args: '(1, 2)', kwargs: '{}', root_id: 'a', parent_id: null, retries: 0 })
  of('task-started')
  expect(state.task('a')).toMatchObject({ state: 'STARTED', worker: 'w@h', rootId: 'a' })
  of('task-succeeded', { result: '3', runtime: 0.5 })
  expect(state.task('a')).toMatchObject({ state: 'SUCCESS', result: '3', runtime: 0.5, args: '(1, 2)' })
  expect(Object.keys(state.task('a')?.times ?? {})).toEqual(['sent', 'received', 'started', 'succeeded'])
  expect(state.counts()).toEqual({ SUCCESS: 1 })
})

test('an event that comes late adds what was unknown, and undoes nothing', () => {
  const state = new ClusterState()
  state.take(event('task-succeeded', { uuid: 'a', result: '3' }))
  state.take(event('task-received', { uuid: 'a', name: 'add', args: '(1, 2)', hostname: 'other@h' }))
  expect(state.task('a')).toMatchObject({ state: 'SUCCESS', name: 'add', args: '(1, 2)', result: '3', worker: 'w@h' })
})

test('a retry begins anew', () => {
  const state = new ClusterState()
  for (const type of ['task-received', 'task-started', 'task-retried', 'task-received', 'task-started', 'task-failed'])
    state.take(event(type, { uuid: 'a', exception: 'ValueError()' }))
  expect(state.task('a')).toMatchObject({ state: 'FAILURE', exception: 'ValueError()' })
})

test('tasks are in the order of their logical clocks, the latest first, and can be chosen', () => {
  const state = new ClusterState()
  for (const [uuid, at, name] of [
    ['a', 5, 'x'],
    ['b', 9, 'y'],
    ['c', 7, 'x'],
  ] as const)
    state.take(event('task-received', { uuid, clock: at, name, timestamp: 1000 - at }))
  const ids = (options?: Parameters<typeof state.tasks>[0]) => state.tasks(options).map(({ uuid }) => uuid)
  expect(ids()).toEqual(['b', 'c', 'a'])
  expect(ids({ name: 'x' })).toEqual(['c', 'a'])
  expect(ids({ limit: 1 })).toEqual(['b'])
  expect(ids({ state: 'SUCCESS' })).toEqual([])
})

test('it holds no more than it may: those without news for longest go', () => {
  const state = new ClusterState({ maxTasks: 3, maxWorkers: 2 })
  for (const uuid of ['a', 'b', 'c', 'a', 'd']) state.take(event('task-received', { uuid }))
  expect(
    state
      .tasks()
      .map(({ uuid }) => uuid)
      .sort(),
  ).toEqual(['a', 'c', 'd'])
  for (const hostname of ['x@h', 'y@h', 'z@h']) state.take(event('worker-online', { hostname, freq: 2 }))
  expect(state.workers().map(({ hostname }) => hostname)).toEqual(['y@h', 'z@h'])
})

test('whatever fields events have, and in whatever order they come, it keeps its bounds and never throws', () => {
  const anyEvent = fc.record({
    type: fc.constantFrom(
      'task-sent',
      'task-received',
      'task-succeeded',
      'task-own',
      'task-',
      'worker-heartbeat',
      'worker-own',
      'own-event',
      'x',
    ),
    hostname: fc.string({ minLength: 1 }),
    uuid: fc.oneof(fc.constantFrom('a', 'b', 'c', 'd', '__proto__', ''), fc.anything()),
    clock: fc.oneof(fc.nat(), fc.constant(null)),
    timestamp: fc.double({ noNaN: true, noDefaultInfinity: true }),
    freq: fc.anything(),
    name: fc.anything(),
    args: fc.anything(),
    loadavg: fc.anything(),
    result: fc.anything(),
  })
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 30 }), (events) => {
      const state = new ClusterState({ maxTasks: 3, maxWorkers: 2 })
      for (const one of events) state.take({ ...one, pid: 1, utcoffset: 0 })
      expect(state.tasks().length).toBeLessThanOrEqual(3)
      expect(state.workers().length).toBeLessThanOrEqual(2)
      for (const task of state.tasks()) expect([typeof task.uuid, typeof task.clock]).toEqual(['string', 'number'])
    }),
    { numRuns: 200 },
  )
})
