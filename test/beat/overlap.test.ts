import { expect, test } from 'vitest'
import type { AppCore } from '../../dist/app/core.js'
import type { Inbox } from '../../dist/backend.js'
import { isUnfinished } from '../../dist/beat/overlap.js'
import type { Celeriac } from '../../dist/index.js'
import type { ResultMeta } from '../../dist/protocol/result.js'
import { Rig } from './rig.js'

function meta(taskId: string, status: string): ResultMeta {
  return { taskId, status, result: null, traceback: null, children: [], dateDone: null }
}

async function store(rig: Rig, app: Celeriac, taskId: string, status: string): Promise<void> {
  const core = rig.core(app)
  await (await core.connections.backend()).store(meta(taskId, status), { expiresSeconds: null })
  // A worker takes the message, too.
  if (status !== 'STARTED') await (await core.connections.publisher()).purge('celery')
}

test('skip leaves out what comes while the run before has not ended', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { slow: { task: 'slow', schedule: 10, overlap: 'skip' } } })
  await using _beat = await app.beat().start()
  await rig.pass(31)
  expect(rig.times('slow')).toEqual([10])
  await store(rig, app, rig.sent[0]?.id ?? '', 'STARTED')
  await rig.pass(10)
  expect(rig.times('slow')).toEqual([10])
  await store(rig, app, rig.sent[0]?.id ?? '', 'SUCCESS')
  await rig.pass(10)
  expect(rig.times('slow')).toEqual([10, 50])
  const outcomes = (await app.schedule.history('slow')).map(({ outcome, note }) => [outcome, note])
  expect(outcomes).toEqual([['sent', null], ...[1, 2, 3].map(() => ['skipped', 'the run before has not ended']), ['sent', null]])
})

test('queue-one runs once when the run before has ended, whatever came meanwhile', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { slow: { task: 'slow', schedule: 10, overlap: 'queue-one' } } })
  const beat = await app.beat().start()
  await rig.pass(41)
  expect(rig.times('slow')).toEqual([10])
  await store(rig, app, rig.sent[0]?.id ?? '', 'FAILURE')
  await rig.pass(1)
  expect(rig.times('slow').length).toBe(2)
  // What waits outlives the beat that saw it.
  await rig.pass(10)
  await beat.stop()
  const other = rig.app({ beatSchedule: { slow: { task: 'slow', schedule: 10, overlap: 'queue-one' } } })
  await using _again = await other.beat().start()
  await store(rig, app, rig.sent[1]?.id ?? '', 'SUCCESS')
  await rig.pass(2)
  expect(rig.times('slow').length).toBe(3)
  expect(new Set(rig.sent.map(({ id }) => id)).size).toBe(3)
})

test('cancel-previous revokes the run before', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { slow: { task: 'slow', schedule: 10, overlap: 'cancel-previous' } } })
  await using _beat = await app.beat().start()
  await rig.pass(31)
  expect(rig.times('slow')).toEqual([10, 20, 30])
  const backend = await rig.core(app).connections.backend()
  const ids = rig.sent.map(({ id }) => id)
  expect([...(await backend.revoked(ids))].sort()).toEqual(ids.slice(0, 2).sort())
})

test('without results nobody can know whether a run has ended: that is told, not ignored', async () => {
  await using rig = new Rig()
  const app = rig.app({ resultBackend: 'disabled', beatSchedule: { slow: { task: 'slow', schedule: 10, overlap: 'skip' } } })
  await using _beat = await app.beat().start()
  await rig.pass(11)
  expect((await app.schedule.history('slow'))[0]).toMatchObject({ outcome: 'failed', note: expect.stringContaining('results are off') })
})

test('where results go to the process that sent the task, a run of another process counts as ended', async () => {
  await using rig = new Rig()
  const core = rig.core(rig.app())
  const inbox: Inbox = { name: 'mine', open: () => undefined, expect: () => {}, expects: (taskId) => taskId === 'mine' }
  const backend = { inbox, get: async () => undefined }
  const broker = { locate: async () => 'unknown' }
  const connections = { backend: async () => backend, publisher: async () => broker }
  // What is asked of an app here is this much.
  const asked = { config: core.config, clock: core.clock, connections } as unknown as AppCore
  expect(await isUnfinished(asked, 'mine', rig.clock.now())).toBe(true)
  expect(await isUnfinished(asked, 'theirs', rig.clock.now())).toBe(false)
})
