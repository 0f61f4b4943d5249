/** A wall clock that is set, and a process that was suspended: no burst, and no loss beyond the rule for what was missed. */
import { expect, test } from 'vitest'
import { crontab } from '../../dist/index.js'
import { Rig, startMs } from './rig.js'

const beatSchedule = {
  interval: { task: 'interval', schedule: 10 },
  cron: { task: 'cron', schedule: crontab('*/5 * * * *') },
  skipped: { task: 'skipped', schedule: crontab('*/5 * * * *'), misfire: 'skip' as const },
}

test('a clock that is put forward by a day makes each entry run once, and go on', async () => {
  await using rig = new Rig()
  await using _beat = await rig.app({ beatSchedule }).beat().start()
  await rig.pass(15)
  expect(rig.sent).toHaveLength(1)
  rig.clock.step(86_400_000 + 90_000)
  await rig.pass(2)
  expect(rig.sent.map(({ entry }) => entry).sort()).toEqual(['cron', 'interval', 'interval'])
  await rig.pass(20)
  expect(rig.sent.filter(({ entry }) => entry === 'interval')).toHaveLength(4)
  expect(new Set(rig.sent.map(({ id }) => id)).size).toBe(rig.sent.length)
})

test('a clock that is put back by a minute stops no interval, and runs no crontab time twice', async () => {
  await using rig = new Rig()
  await using _beat = await rig.app({ beatSchedule }).beat().start()
  await rig.pass(301)
  expect(rig.sent.filter(({ entry }) => entry === 'cron')).toHaveLength(1)
  rig.clock.step(-60_000)
  await rig.pass(45)
  expect(rig.sent.filter(({ entry }) => entry === 'interval').length).toBeGreaterThanOrEqual(30 + 4)
  await rig.pass(30)
  expect(rig.sent.filter(({ entry }) => entry === 'cron')).toHaveLength(1)
  expect(rig.log.join('\n')).toContain('the clock was put back by 60 s')
})

test('a clock that was wrong by a day and is set right loses no day', async () => {
  await using rig = new Rig()
  await using _beat = await rig.app({ beatSchedule }).beat().start()
  rig.clock.step(86_400_000)
  await rig.pass(310)
  rig.clock.step(-86_400_000)
  const before = rig.sent.length
  await rig.pass(305)
  const after = rig.sent.slice(before).map(({ entry }) => entry)
  expect(after.filter((entry) => entry === 'cron')).toHaveLength(1)
  expect(after.filter((entry) => entry === 'interval').length).toBeGreaterThanOrEqual(29)
  // The instants of the wrong day and of the right one have ids of their own.
  expect(new Set(rig.sent.map(({ id }) => id)).size).toBe(rig.sent.length)
})

test('a clock that was put back while no beat ran stops nothing either', async () => {
  await using rig = new Rig()
  const beat = await rig.app({ beatSchedule }).beat().start()
  await rig.pass(301)
  await beat.stop()
  rig.clock.step(-86_400_000)
  await using _again = await rig.app({ beatSchedule }).beat().start()
  const before = rig.sent.length
  await rig.pass(305)
  const after = rig.sent.slice(before).map(({ entry }) => entry)
  expect([after.filter((entry) => entry === 'cron').length, after.filter((entry) => entry === 'interval').length]).toEqual([1, 30])
})

test('an interval that has not started yet waits for its start, whoever leads and whatever the clock does', async () => {
  await using rig = new Rig()
  const later = { interval: { task: 'interval', schedule: 10, startAt: new Date(startMs + 600_000) } }
  await (await rig.app({ beatSchedule: later }).beat().start()).stop()
  await using _beat = await rig.app({ beatSchedule: later }).beat().start()
  await rig.pass(60)
  rig.clock.step(-30_000)
  await rig.pass(90)
  expect(rig.sent).toEqual([])
  await rig.pass(500)
  expect(rig.times('interval')).toEqual([600, 610, 620])
})

test('a clock that is put back far brings nothing before its start', async () => {
  await using rig = new Rig()
  const later = { cron: { task: 'cron', schedule: crontab('*/5 * * * *'), startAt: new Date(startMs + 7_200_000) } }
  await using _beat = await rig.app({ beatSchedule: later }).beat().start()
  await rig.pass(10)
  rig.clock.step(-2 * 3_600_000)
  await rig.pass(900)
  expect(rig.sent).toEqual([])
})

test('times that were found by a clock that was wrong are found again, also by the next beat', async () => {
  await using rig = new Rig()
  rig.clock.step(86_400_000)
  const beat = await rig.app({ beatSchedule }).beat().start()
  await rig.pass(1)
  await beat.stop()
  rig.clock.step(-86_400_000)
  await using _again = await rig.app({ beatSchedule }).beat().start()
  await rig.pass(301)
  expect(rig.times('cron')).toEqual([300])
  expect(rig.times('interval')).toHaveLength(30)
})
