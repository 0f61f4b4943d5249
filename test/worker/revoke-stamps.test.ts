/** Celery's revoke_by_stamped_headers, from a broadcast. */
import { expect, test } from 'vitest'
import { chain, chord, group, TaskRevokedError } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

test('tasks with a revoked stamp do not start; one of the values of a stamp is enough', async () => {
  await using live = new LiveApp()
  const one = live.app.task('one', () => 1)
  await live.work()
  await live.app.control.revokeByStampedHeaders({ tenant: ['a', 'b'], job: '7' }, { limit: 1 })
  const revoked = [{ tenant: 'a' }, { tenant: ['x', 'b'] }, { job: 7, tenant: 'free' }]
  for (const stamps of revoked) await expect(one.applyAsync([], { stamps }).get({ timeout: 20 })).rejects.toBeInstanceOf(TaskRevokedError)
  for (const stamps of [{ tenant: 'c' }, { job: 8 }, { other: 'a' }])
    expect(await one.applyAsync([], { stamps }).get({ timeout: 20 })).toBe(1)
})

test('with terminate, running tasks with the stamp are stopped, and others go on', async () => {
  await using live = new LiveApp()
  let runs = 0
  const wait = live.app.task('wait', { bind: true }, (self) => {
    runs++
    return new Promise<string>((resolve) => self.signal.addEventListener('abort', () => resolve('stopped')))
  })
  await live.work({ concurrency: 2 })
  const [stopped, other] = [wait.applyAsync([], { stamps: { tenant: 'a' } }), wait.applyAsync([], { stamps: { tenant: 'b' } })]
  await until(() => runs === 2)
  await live.app.control.revokeByStampedHeaders({ tenant: 'a' }, { terminate: true, limit: 1 })
  expect(await stopped.get({ timeout: 20 })).toBe('stopped')
  expect(await (await other).ready()).toBe(false)
})

test('a revoked member ends its chord with the reason, and the tasks that follow in its chain are revoked with it', async () => {
  await using live = new LiveApp()
  const add = live.app.task('add', (x: number, y: number) => x + y)
  const sum = live.app.task('sum', (list: number[]) => list.length)
  await live.work()
  await live.app.control.revokeByStampedHeaders({ tenant: 'a' }, { limit: 1 })
  const body = await chord(group(add.s(1, 1), add.s(2, 2).stamp({ tenant: 'a' })), sum.s()).delay()
  await expect(body.get({ timeout: 20 })).rejects.toMatchObject({
    excType: 'ChordError',
    message: expect.stringContaining("TaskRevokedError('revoked')"),
  })
  const last = await chain(add.s(1, 1), add.s(2).stamp({ tenant: 'a' }), add.s(3), add.s(4)).delay()
  await expect(last.get({ timeout: 20 })).rejects.toBeInstanceOf(TaskRevokedError)
})
