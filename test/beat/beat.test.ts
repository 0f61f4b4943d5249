import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { firingId } from '../../dist/beat/due.js'
import { at, chain, chord, crontab, every, group } from '../../dist/index.js'
import { Rig, startMs } from './rig.js'

test('entries are sent when they are due, with the id of their instant and the header of django-celery-beat', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { minutely: { task: 'tasks.tick', args: [1], schedule: crontab('* * * * *') } } })
  const add = app.task('add', (x: number, y: number) => x + y)
  expect(app.addPeriodicTask(every(30), add.s(1, 2))).toBe('add(1, 2)')
  await using beat = await app.beat().start()
  expect(beat.isLeading).toBe(true)
  await rig.pass(121)
  expect(rig.times('add(1, 2)')).toEqual([30, 60, 90, 120])
  expect(rig.times('minutely')).toEqual([60, 120])
  const store = await rig.store()
  expect(rig.sent.filter(({ entry }) => entry === 'minutely').map(({ id }) => id)).toEqual(
    [60_000, 120_000].map((ms) => firingId(store.id, 'minutely', startMs + ms, 0)),
  )
  const info = await app.schedule.get('minutely')
  expect(info).toMatchObject({
    totalRunCount: 2,
    lastDueAt: new Date(startMs + 120_000),
    dueAt: new Date(startMs + 180_000),
    state: 'waiting',
  })
  const [last] = await app.schedule.history('minutely')
  expect(last).toEqual({
    entry: 'minutely',
    outcome: 'sent',
    taskId: info?.lastTaskId,
    note: null,
    dueAt: new Date(startMs + 120_000),
    at: new Date(startMs + 120_000),
  })
})

test('of several beats one sends; when it is gone, another does within a lease and a second', async () => {
  await using rig = new Rig()
  const beatSchedule = { tick: { task: 'tick', schedule: 10 } }
  const beats = await Promise.all([1, 2, 3].map(() => rig.app({ beatSchedule }).beat().start()))
  expect(beats.filter(({ isLeading }) => isLeading)).toHaveLength(1)
  await rig.pass(31)
  expect(rig.times('tick')).toEqual([10, 20, 30])
  // In order: the lead is given up, and nobody waits for its end.
  await beats.find(({ isLeading }) => isLeading)?.stop()
  await rig.pass(1)
  expect(beats.filter(({ isLeading }) => isLeading)).toHaveLength(1)
  await rig.pass(18)
  expect(rig.times('tick')).toEqual([10, 20, 30, 40, 50])
  for (const beat of beats) await beat.stop()
})

test('a beat whose clock is five seconds ahead and one whose clock is right do not both send', async () => {
  await using rig = new Rig()
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const options = { beatStore: `file://${folder}/schedules.json`, beatSchedule: { tick: { task: 'tick', schedule: crontab('* * * * *') } } }
  const ahead = rig.app(options)
  const right = rig.clock
  rig.core(ahead).clock = {
    now: () => right.now() + 5_000,
    monotonic: () => right.monotonic(),
    setTimer: (ms, callback) => right.setTimer(ms, callback),
  }
  const first = await ahead.beat().start()
  const second = await rig.app(options).beat().start()
  await rig.pass(57)
  expect(rig.times('tick')).toEqual([55])
  await first.stop()
  await rig.pass(65)
  expect(rig.times('tick')).toEqual([55, 120])
  await second.stop()
  rmSync(folder, { recursive: true })
})

test.each([
  ['once', 1, [10_800]],
  ['skip', 0, []],
  [{ all: 3 } as const, 3, [10_800, 10_800, 10_800]],
] as const)('after three hours without a beat, misfire %o sends %i of what was missed', async (misfire, _, times) => {
  await using rig = new Rig()
  const beatSchedule = { tick: { task: 'tick', schedule: crontab('5,20,35,50 * * * *'), misfire } }
  const first = await rig.app({ beatSchedule }).beat().start()
  await first.stop()
  rig.clock.step(10_800_000)
  const app = rig.app({ beatSchedule })
  const second = await app.beat().start()
  expect(rig.times('tick')).toEqual(times)
  expect(new Set(rig.sent.map(({ id }) => id)).size).toBe(times.length)
  // And goes on at its own times.
  await rig.pass(301)
  expect(rig.times('tick').slice(times.length)).toEqual([10_800 + 300])
  const outcomes = (await app.schedule.history('tick')).map(({ outcome }) => outcome)
  expect(await app.schedule.get('tick')).toMatchObject({ missedCount: 1 })
  expect(outcomes).toEqual(misfire === 'skip' ? ['sent', 'skipped'] : ['sent', ...times.map(() => 'sent')])
  await second.stop()
})

test('beatCronStartingDeadline leaves out crontab times that were missed by more, as in Celery', async () => {
  await using rig = new Rig()
  const options = {
    beatCronStartingDeadline: 120,
    beatSchedule: { tick: { task: 'tick', schedule: crontab('0 * * * *') }, often: { task: 'often', schedule: 600 } },
  }
  await (await rig.app(options).beat().start()).stop()
  rig.clock.step(3_600_000 + 300_000)
  const beat = await rig.app(options).beat().start()
  await rig.pass(1)
  expect(rig.times('tick')).toEqual([])
  expect(rig.times('often')).toHaveLength(1)
  await beat.stop()
})

test('a time that is not yet here, one that is past, a start and an end are kept to', async () => {
  await using rig = new Rig()
  const app = rig.app({
    beatSchedule: {
      later: { task: 'later', schedule: at(new Date(startMs + 45_000)) },
      past: { task: 'past', schedule: at(new Date(startMs - 45_000)) },
      decades: { task: 'decades', schedule: at(new Date('2090-01-01T00:00:00Z')) },
      between: { task: 'between', schedule: 10, startAt: new Date(startMs + 25_000), endAt: new Date(startMs + 45_000) },
      clock: { task: 'clock', schedule: crontab('* * * * *'), startAt: new Date(startMs + 61_000), endAt: new Date(startMs + 180_000) },
    },
  })
  await using beat = await app.beat().start()
  await rig.pass(300)
  expect(beat.isLeading).toBe(true)
  expect(rig.times('later')).toEqual([45])
  expect(rig.times('past')).toEqual([0])
  expect(rig.times('between')).toEqual([25, 35])
  expect(rig.times('clock')).toEqual([120])
  const states = Object.fromEntries((await app.schedule.list()).map(({ name, state }) => [name, state]))
  expect(states).toEqual({ later: 'over', past: 'over', decades: 'waiting', between: 'over', clock: 'over' })
})

test('jitter delays each run by a part of it that is always the same for the same instant', async () => {
  const runs: number[][] = []
  for (let round = 0; round < 2; round++) {
    await using rig = new Rig()
    await using _beat = await rig
      .app({ beatSchedule: { tick: { task: 'tick', schedule: 60, jitter: 30 } } })
      .beat()
      .start()
    await rig.pass(60 * 8)
    runs.push(rig.times('tick'))
  }
  expect(runs[0]).toEqual(runs[1])
  const delays = (runs[0] ?? []).map((time) => time % 60)
  expect(Math.max(...delays)).toBeLessThan(31)
  expect(new Set(delays).size).toBeGreaterThan(3)
})

test('calls are made when they are due, and one that cannot be made is noted and does not stop the others', async () => {
  await using rig = new Rig()
  const app = rig.app()
  const add = app.task('add', (x: number, y: number) => x + y)
  const asked: string[] = []
  app.addPeriodicTask(
    every(10),
    ({ entry, dueAt }) => {
      asked.push(`${entry} ${dueAt.toISOString()}`)
      return add.s(dueAt.getTime(), 1)
    },
    { name: 'made' },
  )
  app.addPeriodicTask(
    every(10),
    () => {
      throw new Error('no such thing')
    },
    { name: 'broken' },
  )
  await using _beat = await app.beat().start()
  await rig.pass(21)
  expect(rig.times('made')).toEqual([10, 20])
  expect(asked[0]).toBe(`made ${new Date(startMs + 10_000).toISOString()}`)
  expect((await app.schedule.history('broken')).map(({ outcome, note }) => [outcome, note])).toEqual([
    ['failed', 'no such thing'],
    ['failed', 'no such thing'],
  ])
})

test('a call that takes longer to be made than the lease lasts is sent once, and holds up no record of others', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { other: { task: 'other', schedule: 60 } } })
  const add = app.task('add', (x: number, y: number) => x + y)
  let made = 0
  const slow = async () => {
    made += 1
    await new Promise<void>((resolve) => rig.clock.setTimer(20_000, resolve))
    return add.s(1, 2)
  }
  app.addPeriodicTask(60, slow, { name: 'slow' })
  await using _beat = await app.beat().start()
  await using _second = await rig
    .app({ beatSchedule: { other: { task: 'other', schedule: 60 } } })
    .beat()
    .start()
  await rig.pass(150)
  expect([made, rig.times('slow').length, rig.times('other').length]).toEqual([2, 2, 2])
  expect(await app.schedule.get('slow')).toMatchObject({ totalRunCount: 2 })
  expect(await app.schedule.get('other')).toMatchObject({ totalRunCount: 2 })
  expect(rig.log.join('\n')).not.toContain('another beat leads now')
})

test('a call that is never made is given up and noted; the other entries go on', async () => {
  await using rig = new Rig()
  const app = rig.app({ beatSchedule: { other: { task: 'other', schedule: 10 } } })
  app.addPeriodicTask(60, () => new Promise<never>(() => {}), { name: 'never' })
  await using _beat = await app.beat().start()
  await rig.pass(119)
  const [run] = await app.schedule.history('never')
  expect(run).toMatchObject({ outcome: 'failed', note: 'the call of never was not made within 30 s' })
  expect(rig.times('other').at(-1)).toBeGreaterThanOrEqual(110)
})

test('a schedule of the program’s own decides by itself', async () => {
  await using rig = new Rig()
  const doubling = {
    next: (after: Date) => new Date(startMs + 2 ** Math.floor(Math.log2(Math.max(1, after.getTime() - startMs)) + 1)),
    toString: () => 'doubling',
  }
  const app = rig.app({ beatSchedule: { own: { task: 'own', schedule: doubling } } })
  await using _beat = await app.beat().start()
  await rig.pass(40)
  expect(rig.times('own').slice(-3)).toEqual([8.192, 16.384, 32.768])
  expect((await app.schedule.get('own'))?.schedule).toBe('doubling')
})

test('wrong entries are told before anything is sent', async () => {
  await using rig = new Rig()
  // What a program in JavaScript may write.
  const wrong = (entry: object): never => ({ bad: entry }) as never
  const start = (entry: object): Promise<unknown> =>
    rig
      .app({ beatSchedule: wrong(entry) })
      .beat()
      .start()
  await expect(start({ task: 'a', schedule: 0 })).rejects.toThrow('expected every to be a duration of 0.1 s or more')
  await expect(start({ task: 'a', schedule: {} })).rejects.toThrow('expected beatSchedule.bad.schedule to be crontab(...)')
  await expect(start({ task: 'a', schedul: 5 })).rejects.toThrow('Did you mean "schedule"?')
  await expect(start({ task: 5, schedule: 5 })).rejects.toThrow('expected beatSchedule.bad.task to be a signature')
  await expect(start({ task: 'a', schedule: 5, misfire: 'never' })).rejects.toThrow('"once", "skip" or { all: most }')
  await expect(start({ task: 'a', schedule: 5, overlap: 'never' })).rejects.toThrow('expected beatSchedule.bad.overlap to be "allow"')
  await expect(start({ task: 'a', schedule: 5, options: { taskId: 'mine' } })).rejects.toThrow('left out: each run has the id of its time')
  await expect(rig.app().beat({ scheduler: 'postgres' }).start()).rejects.toMatchObject({ code: 'ERR_NOT_SUPPORTED' })
  await expect(rig.app().beat({ scheduler: 'redis' }).start()).rejects.toThrow('neither beatStore nor broker nor backend is one')
})

test('workflows are sent when they are due, the program’s and stored ones', async () => {
  await using rig = new Rig()
  const app = rig.app()
  const add = app.task('add', (x: number, y: number) => x + y)
  const total = app.task('total', (numbers: number[]) => numbers.length)
  app.addPeriodicTask(every(10), chain(add.s(1, 2), add.s(3)), { name: 'chain' })
  app.addPeriodicTask(every(10), group(add.s(1, 1), add.s(2, 2)), { name: 'group' })
  await app.schedule.add('stored', { task: chord(group(add.s(1, 1), add.s(2, 2)), total.s()), schedule: 10 })
  await using _beat = await app.beat().start()
  await rig.pass(21)
  const failed = (await app.schedule.history()).filter(({ outcome }) => outcome !== 'sent')
  expect(failed).toEqual([])
  // The first message of a chain; each member of a group and of a chord's header.
  const counts = ['chain', 'group', 'stored'].map((entry) => rig.sent.filter((each) => each.entry === entry).length)
  expect(counts).toEqual([2, 4, 4])
  expect(new Set(rig.sent.map(({ id }) => id)).size).toBe(10)
})
