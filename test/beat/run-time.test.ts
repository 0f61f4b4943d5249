/** Schedules that are changed while beat runs, and what becomes of changes at the next start. */
import { expect, test } from 'vitest'
import { at, crontab, every } from '../../dist/index.js'
import { Rig, startMs } from './rig.js'

test('entries are added, changed, paused, resumed, run and removed while beat runs', async () => {
  await using rig = new Rig()
  const app = rig.app()
  const add = app.task('add', (x: number, y: number) => x + y)
  await using _beat = await app.beat().start()
  const info = await app.schedule.add('new', { task: add.s(1, 2).set({ priority: 3 }), schedule: every(10), description: 'for tests' })
  expect(info).toMatchObject({ name: 'new', task: 'add', schedule: 'every 10s', source: 'stored', description: 'for tests' })
  await rig.pass(22)
  // Counted from when beat saw it, within a second.
  expect(rig.times('new')).toHaveLength(2)
  await app.schedule.pause('new')
  await rig.pass(30)
  expect(rig.times('new')).toHaveLength(2)
  expect(await app.schedule.get('new')).toMatchObject({ state: 'paused', dueAt: null })
  await app.schedule.resume('new')
  await rig.pass(5)
  // What fell into the pause is not made up for.
  expect(rig.times('new')).toHaveLength(2)
  await rig.pass(7)
  expect(rig.times('new')).toHaveLength(3)
  await app.schedule.update('new', { schedule: crontab('* * * * *') })
  await rig.pass(60)
  expect(rig.times('new').slice(3)).toEqual([120])
  const id = await app.schedule.run('new')
  expect(rig.sent.at(-1)).toMatchObject({ entry: 'new', id })
  expect(await app.schedule.get('new')).toMatchObject({ totalRunCount: 5, lastTaskId: id })
  expect((await app.schedule.history('new'))[0]).toMatchObject({ outcome: 'asked', taskId: id, dueAt: null })
  await app.schedule.remove('new')
  expect(await app.schedule.get('new')).toBeUndefined()
  const count = rig.sent.length
  await rig.pass(120)
  expect(rig.sent.length).toBe(count)
})

test('arguments and options of a stored entry are those that are sent, and can be changed by themselves', async () => {
  await using rig = new Rig()
  const app = rig.app()
  const calls: unknown[] = []
  app.use({
    publish: async ({ task, args, kwargs, headers }, next) => {
      calls.push({ task, args, kwargs, headers })
      await next()
    },
  })
  await using _beat = await app.beat().start()
  await app.schedule.add('a', {
    task: 'tasks.a',
    args: [1, { big: 9007199254740993n, when: new Date(0) }],
    kwargs: { k: 'ü' },
    options: { headers: { x: 1 } },
    schedule: 10,
  })
  await app.schedule.run('a')
  expect(calls.at(-1)).toEqual({
    task: 'tasks.a',
    args: [1, { big: 9007199254740993n, when: new Date(0) }],
    kwargs: { k: 'ü' },
    headers: { x: 1, celery_beat_task: true, periodic_task_name: 'a' },
  })
  await app.schedule.update('a', { args: [2] })
  await app.schedule.run('a')
  expect(calls.at(-1)).toMatchObject({ args: [2], kwargs: { k: 'ü' }, headers: { x: 1 } })
  await app.schedule.update('a', { options: { headers: { y: 2 } } })
  await app.schedule.run('a')
  expect(calls.at(-1)).toMatchObject({ args: [2], headers: { y: 2, periodic_task_name: 'a' } })
})

test('a name that is taken, an entry that is not there, and code that cannot be stored are refused in words', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { nightly: { task: 'report', schedule: crontab('0 3 * * *') } } })
  const add = app.task('add', (x: number, y: number) => x + y)
  await expect(app.schedule.add('nightly', { task: 'b', schedule: 5 })).rejects.toMatchObject({ code: 'ERR_SCHEDULE_CONFLICT' })
  await expect(app.schedule.pause('nigthly')).rejects.toThrow('there is no schedule entry "nigthly". Did you mean "nightly"?')
  await expect(app.schedule.remove('nightly')).rejects.toThrow("is the program's own")
  await expect(app.schedule.add('fn', { task: () => add.s(1, 2), schedule: 5 })).rejects.toThrow(
    'Functions and own schedules belong into beatSchedule',
  )
  await expect(app.schedule.add('own', { task: add.s(1, 2), schedule: { next: () => null } })).rejects.toThrow(
    'Functions and own schedules',
  )
  await expect(app.schedule.add('bad', { task: add.s(1, 2), schedule: every('5m'), misfireGrace: 5 })).rejects.toThrow(
    "left out: it belongs to misfire: 'skip'",
  )
  expect(await app.schedule.list()).toHaveLength(1)
})

test("the program's entries come and go with it; pauses and changes made at run time stay; remove takes a change back", async () => {
  await using rig = new Rig()
  const one = { task: 'one', schedule: 10 }
  const two = { task: 'two', schedule: 10 }
  const first = rig.app({ beatSchedule: { one, two, three: { task: 'three', schedule: 10 } } })
  const beat = await first.beat().start()
  await first.schedule.pause('two')
  await first.schedule.update('one', { schedule: every(20) })
  await first.schedule.add('mine', { task: 'mine', schedule: 15 })
  await rig.pass(41)
  await beat.stop()
  const second = rig.app({ beatSchedule: { one, two } })
  await using again = await second.beat().start()
  expect((await second.schedule.list()).map(({ name, state, source, schedule }) => [name, state, source, schedule])).toEqual([
    ['mine', 'waiting', 'stored', 'every 15s'],
    ['one', 'waiting', 'changed', 'every 20s'],
    ['two', 'paused', 'program', 'every 10s'],
  ])
  expect(rig.times('two')).toEqual([])
  const before = rig.times('one')
  expect(before).toHaveLength(2)
  await second.schedule.remove('one')
  await rig.pass(21)
  expect(rig.times('one').length - before.length).toBe(2)
  expect(again.isLeading).toBe(true)
  expect(await second.schedule.get('one')).toMatchObject({ source: 'program', schedule: 'every 10s', totalRunCount: 4 })
})

test('a program entry whose call has changed keeps its next time; one whose schedule has changed counts from then', async () => {
  await using rig = new Rig()
  const start = async (schedule: number, task: string) =>
    rig
      .app({ beatSchedule: { a: { task, schedule } } })
      .beat()
      .start()
  const first = await start(100, 'old')
  await rig.pass(60)
  await first.stop()
  const second = await start(100, 'new')
  await rig.pass(41)
  expect(rig.sent.map(({ task }) => task)).toEqual(['new'])
  expect(rig.times('a')).toEqual([100])
  await second.stop()
  const third = await start(30, 'new')
  await rig.pass(31)
  expect(rig.times('a').at(-1)).toBeGreaterThanOrEqual(131)
  await third.stop()
})

test('next shows the coming times up to the end, and history is bounded', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatHistory: 3, beatSchedule: { a: { task: 'a', schedule: 10, endAt: new Date(startMs + 75_000) } } })
  await using _beat = await app.beat().start()
  await rig.pass(51)
  expect(await app.schedule.next('a', 5)).toEqual([60_000, 70_000].map((ms) => new Date(startMs + ms)))
  expect((await app.schedule.history('a')).map(({ dueAt }) => (dueAt?.getTime() ?? 0) - startMs)).toEqual([50_000, 40_000, 30_000])
  await app.schedule.add('once', { task: 'b', schedule: at(new Date(startMs + 3_600_000)) })
  expect(await app.schedule.next('once')).toEqual([new Date(startMs + 3_600_000)])
})

test('changes made by many at once all count', async () => {
  await using rig = new Rig()
  const apps = Array.from({ length: 5 }, () => rig.app())
  await Promise.all(apps.map((app, index) => app.schedule.add(`entry-${index}`, { task: 'a', schedule: 10 })))
  await Promise.all(apps.map((app) => app.schedule.run('entry-0')))
  expect((await apps[0]?.schedule.get('entry-0'))?.totalRunCount).toBe(5)
  expect(await apps[0]?.schedule.list()).toHaveLength(5)
})

test('each rule of an entry can be changed by itself', async () => {
  await using rig = new Rig()
  const app = rig.app()
  const stored = async () => JSON.parse((await (await rig.store()).entries(0)).find(({ name }) => name === 'a')?.data ?? '').stored
  await app.schedule.add('a', { task: 'a', schedule: '1h', misfire: 'skip', misfireGrace: 5 })
  await app.schedule.update('a', { misfireGrace: '10m' })
  expect(await stored()).toMatchObject({ misfire: 'skip', misfireGraceMs: 600_000 })
  await app.schedule.update('a', { relative: true })
  expect(await app.schedule.get('a')).toMatchObject({ schedule: 'every 1h, relative' })
  await app.schedule.update('a', { misfire: { all: 2 } })
  await expect(app.schedule.update('a', { misfireGrace: 1 })).rejects.toThrow("left out: it belongs to misfire: 'skip'")
})

test('an entry of the name of one that was removed is another: its times are sent, also those that the first one had', async () => {
  await using rig = new Rig()
  const app = rig.app()
  await using _beat = await app.beat().start()
  const once = { task: 'a', schedule: at(new Date(startMs + 10_000)) }
  await app.schedule.add('once', once)
  await rig.pass(12)
  await app.schedule.remove('once')
  await app.schedule.add('once', once)
  await rig.pass(2)
  expect(rig.sent.filter(({ entry }) => entry === 'once')).toHaveLength(2)
  await app.schedule.update('once', { schedule: at(new Date(startMs)) })
  await rig.pass(2)
  expect(new Set(rig.sent.map(({ id }) => id)).size).toBe(3)
})

test('a time that comes once and falls into a pause is not made up for either', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { once: { task: 'a', schedule: at(new Date(startMs + 10_000)) } } })
  await using _beat = await app.beat().start()
  await app.schedule.pause('once')
  await rig.pass(20)
  expect(await app.schedule.resume('once')).toMatchObject({ state: 'over', dueAt: null })
  await rig.pass(10)
  expect(rig.sent).toEqual([])
})

test('a stored entry that nobody can read is left out and told, and can be removed', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { fine: { task: 'a', schedule: 10 } } })
  await using _beat = await app.beat().start()
  await app.schedule.add('mine', { task: 'b', schedule: 10 })
  await rig.pass(11)
  const store = await rig.store()
  const [mine] = (await store.entries(0)).filter(({ name }) => name === 'mine')
  await store.write({ entries: [{ name: 'mine', from: mine?.revision ?? 0, data: '"what?"' }] })
  await rig.pass(30)
  expect(rig.times('fine').length).toBe(4)
  expect(rig.times('mine').length).toBeLessThanOrEqual(2)
  expect((await app.schedule.list()).map(({ name }) => name)).toEqual(['fine'])
  expect(rig.log.join('\n')).toContain('the stored schedule entry "mine" cannot be read. Remove it: celeriac schedule remove')
  await expect(app.schedule.pause('mine')).rejects.toMatchObject({ code: 'ERR_DECODE' })
  await app.schedule.remove('mine')
  await app.schedule.add('mine', { task: 'b', schedule: 10 })
  expect(await app.schedule.list()).toHaveLength(2)
})

test('what a new version of the program says is shown before its beat leads', async () => {
  await using rig = new Rig()
  const program = (expression: string) => rig.app({ beatSchedule: { nightly: { task: 'a', schedule: crontab(expression) } } })
  await (await program('0 3 * * *').beat().start()).stop()
  const [entry] = await program('0 5 * * *').schedule.list({ next: 2 })
  expect(entry?.next.map((time) => time.toISOString())).toEqual(['2026-01-06T05:00:00.000Z', '2026-01-07T05:00:00.000Z'])
})

test('options of the sending hold for entries, too: of the program and stored', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { one: { task: 'a', schedule: 10, options: { unique: 'one', retry: false } } } })
  await app.schedule.add('two', { task: 'b', schedule: 10, options: { unique: { key: 'two', ttl: '1h' }, queue: 'mail' } })
  await app.schedule.update('two', { args: [1] })
  await using _beat = await app.beat().start()
  await rig.pass(31)
  // The first of each waits for a worker, so it is the one that there is.
  expect([rig.times('one'), rig.times('two')]).toEqual([[10], [10]])
  const ids = (await app.schedule.history('two')).map(({ taskId }) => taskId)
  expect(ids).toHaveLength(3)
  expect(new Set(ids).size).toBe(1)
  await app.schedule.update('two', { task: 'c' })
  await rig.pass(10)
  expect(rig.times('two')).toHaveLength(2)
  await expect(app.schedule.update('two', { options: { unique: '' } })).rejects.toThrow('expected unique to be a key')
})
