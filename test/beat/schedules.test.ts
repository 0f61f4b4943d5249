import { expect, test } from 'vitest'
import { at } from '../../dist/beat/at.js'
import { CrontabTimetable, crontab, crontabData } from '../../dist/beat/crontab.js'
import { every } from '../../dist/beat/interval.js'
import { dataOf } from '../../dist/beat/schedule.js'
import { solar } from '../../dist/beat/solar.js'
import { catchUp, nextInstants } from '../../dist/beat/timetable.js'
import { ownTimetable, Timetables } from '../../dist/beat/timetables.js'
import type { Schedule } from '../../dist/canvas/schedules.js'
import { TimeZone } from '../../dist/internal/time-zone.js'

const timetables = new Timetables('UTC')

function next(schedule: Schedule, after: string, count = 1): string[] {
  const data = dataOf(schedule)
  const timetable = data === undefined ? undefined : timetables.of(data)
  if (timetable === undefined) throw new Error('not a schedule of ours')
  return nextInstants(timetable, Date.parse(after), count).map((ms) => new Date(ms).toISOString())
}

test.each([
  [crontab('*/15 * * * *'), '2024-01-01T10:07:30Z', '2024-01-01T10:15:00.000Z'],
  [crontab('0 9 * * mon'), '2024-01-03T10:00:00Z', '2024-01-08T09:00:00.000Z'],
  [crontab({ minute: 0, hour: 0, dayOfMonth: 31 }), '2024-01-31T00:00:00Z', '2024-03-31T00:00:00.000Z'],
  [crontab('0 0 29 feb *'), '2024-02-29T00:00:00Z', '2028-02-29T00:00:00.000Z'],
  // Day of month AND day of week, as Celery has it.
  [crontab('0 0 13 * fri'), '2024-01-01T00:00:00Z', '2024-09-13T00:00:00.000Z'],
  [crontab('0 0 29 2 mon'), '2024-01-01T00:00:00Z', '2044-02-29T00:00:00.000Z'],
  [crontab({ hour: [6, 18], minute: 5 }), '2024-01-01T06:05:00Z', '2024-01-01T18:05:00.000Z'],
  [crontab('*/20 * * * * *'), '2024-01-01T10:07:30Z', '2024-01-01T10:07:40.000Z'],
  [crontab({ second: 30, minute: 7 }), '2024-01-01T10:07:30Z', '2024-01-01T11:07:30.000Z'],
  [crontab('0 3 * * *', { timezone: 'Europe/Berlin' }), '2024-07-01T00:00:00Z', '2024-07-01T01:00:00.000Z'],
  [every(30), '2024-01-01T10:07:30Z', '2024-01-01T10:08:00.000Z'],
  [every('1h', { relative: true }), '2024-01-01T10:07:30Z', '2024-01-01T11:00:00.000Z'],
  [at(new Date('2090-01-01T00:00:00Z')), '2024-01-01T10:07:30Z', '2090-01-01T00:00:00.000Z'],
] as const)('%o after %s is %s', (schedule, after, expected) => {
  expect(next(schedule, after)).toEqual([expected])
})

test('a schedule may have an end', () => {
  expect(next(at(new Date('2020-01-01T00:00:00Z')), '2024-01-01T00:00:00Z')).toEqual([])
})

test('events of the sun in London on an equinox', () => {
  const times = [
    'dawn_astronomical 04:08:45',
    'dawn_nautical 04:49:41',
    'dawn_civil 05:29:01',
    'sunrise 06:02:16',
    'solar_noon 12:07:47',
    'sunset 18:14:18',
    'dusk_civil 18:47:40',
    'dusk_nautical 19:27:09',
    'dusk_astronomical 20:08:21',
  ]
  for (const text of times) {
    const [event = '', time] = text.split(' ')
    // The names stand in the list above.
    const [found = ''] = next(solar(event as 'sunrise', 51.5, -0.12), '2024-03-20T00:00:00Z')
    expect(Math.abs(Date.parse(found) - Date.parse(`2024-03-20T${time}Z`)), text).toBeLessThan(2_000)
  }
})

test('the sun does not rise in the polar night: the next sunrise is weeks away, and each comes once', () => {
  const [first = '', second = ''] = next(solar('sunrise', 69.65, 18.96), '2023-11-28T12:00:00Z', 2)
  expect(first.slice(0, 7)).toBe('2024-01')
  expect(Date.parse(second) - Date.parse(first)).toBeGreaterThan(23 * 3_600_000)
})

test.each([
  ['61 * * * *', 'expected the minute of crontab to be 0 to 59, such as "*/15" or "0,30", got: "61"'],
  ['* 24 * * *', 'expected the hour of crontab to be 0 to 23, such as "9-17" or "*/4", got: "24"'],
  ['* * 0 * *', 'expected the day of month of crontab to be 1 to 31, such as "1,15" or "1-7", got: "0"'],
  ['* * * 13 *', 'expected the month of crontab to be 1 to 12 or names, such as "*/3" or "jan-mar", got: "13"'],
  [
    '* * * * 7',
    'expected the day of week of crontab to be 0 (Sunday) to 6 (Saturday) or names, such as "mon-fri" or "0,6"; there is no 7, got: "7"',
  ],
  ['* * * * blursday', 'day of week of crontab'],
  ['1,,2 * * * *', 'minute of crontab'],
  ['5/10 * * * *', 'minute of crontab'],
  ['*/0 * * * *', 'minute of crontab'],
  ['-5 * * * *', 'minute of crontab'],
  ['* * *', 'expected crontab to be five fields "minute hour day-of-month month day-of-week"'],
  ['0 0 30 feb *', 'expected the day of month of crontab to be a day that is in one of its months (feb), such as "1", got: "30"'],
])('%s is refused with the field, its range and an example', (expression, message) => {
  expect(() => crontab(expression)).toThrow(message)
})

test('other schedules are refused in words, too', () => {
  // What a program in JavaScript may write.
  const wrong = (value: unknown): never => value as never
  expect(() => crontab('* * * * *', { timezone: 'Mars/Olympus' })).toThrow(
    'expected crontab.timezone to be an IANA time zone such as "Europe/Berlin", got: "Mars/Olympus"',
  )
  expect(() => crontab(wrong({ minutes: 5 }))).toThrow('Did you mean "minute"?')
  expect(() => every(0)).toThrow('expected every to be a duration of 0.1 s or more')
  expect(() => solar(wrong('sunrize'), 0, 0)).toThrow('did you mean sunrise?')
  expect(() => solar('sunrise', 91, 0)).toThrow('the latitude of solar')
  expect(() => at(new Date('never'))).toThrow('expected at to be a valid Date')
  expect(() => ownTimetable({ next: (after) => after }, 'mine').next(0)).toThrow('a later Date, or null')
})

test('what was missed is found at the cost of what is wanted, however long ago it began', () => {
  const minutely = new CrontabTimetable(crontabData('* * * * *', {}), new TimeZone('UTC'))
  const due = Date.UTC(1980, 0, 1)
  const now = Date.UTC(2026, 0, 1) + 30_000
  expect(catchUp(minutely, due, now, 2)).toEqual([Date.UTC(2026, 0, 1) - 60_000, Date.UTC(2026, 0, 1)])
  const secondly = timetables.of({ kind: 'interval', everyMs: 1_000, relative: false })
  expect(secondly === undefined ? [] : catchUp(secondly, due + 7, now, 3).map((ms) => ms % 1000)).toEqual([7, 7, 7])
  expect(catchUp(minutely, now + 1, now, 3)).toEqual([])
  expect(catchUp(minutely, Date.UTC(2026, 0, 1), now, 3)).toEqual([Date.UTC(2026, 0, 1)])
})
