/**
 * The changes of the clocks of these zones in ten years, against an oracle that looks at each minute: what the clocks of the zone show (Intl says), whether they
 * have shown it before, and what they would show had they not just been put forward.
 */
import { expect, test } from 'vitest'
import { CrontabTimetable, crontabData } from '../../dist/beat/crontab.js'
import { TimeZone } from '../../dist/internal/time-zone.js'
import { takesCell } from '../harness/depth.js'
import { changesOf, zones } from './zones.js'

const minuteMs = 60_000
const windowMs = 5 * 60 * minuteMs

interface Case {
  readonly expression: string
  readonly repeated?: 'first' | 'both'
  /** What the policy is for the case: said here, and not taken from the code. */
  readonly twice: boolean
  readonly matches: (hour: number, minute: number) => boolean
}

const cases: readonly Case[] = [
  { expression: '*/15 * * * *', twice: true, matches: (_, minute) => minute % 15 === 0 },
  { expression: '0 * * * *', twice: true, matches: (_, minute) => minute === 0 },
  { expression: '0 * * * *', repeated: 'first', twice: false, matches: (_, minute) => minute === 0 },
  { expression: '30 2 * * *', twice: false, matches: (hour, minute) => hour === 2 && minute === 30 },
  { expression: '30 1 * * *', twice: false, matches: (hour, minute) => hour === 1 && minute === 30 },
  { expression: '30 1 * * *', repeated: 'both', twice: true, matches: (hour, minute) => hour === 1 && minute === 30 },
  { expression: '0 0 * * *', twice: false, matches: (hour, minute) => hour === 0 && minute === 0 },
  { expression: '10,50 0-3 * * *', twice: false, matches: (hour, minute) => hour <= 3 && (minute === 10 || minute === 50) },
  { expression: '*/7 22-4/2 * * *', twice: false, matches: (hour, minute) => [22, 0, 2, 4].includes(hour) && minute % 7 === 0 },
]

interface Minute {
  readonly atMs: number
  readonly wall: number
}

function minutesAround(change: number, format: Intl.DateTimeFormat): readonly Minute[] {
  const minutes: Minute[] = []
  for (let atMs = change - windowMs; atMs <= change + windowMs; atMs += minuteMs) {
    const part: Record<string, number> = {}
    for (const { type, value } of format.formatToParts(atMs)) part[type] = Number(value)
    minutes.push({ atMs, wall: Date.UTC(part.year ?? 0, (part.month ?? 0) - 1, part.day, part.hour, part.minute) })
  }
  return minutes
}

function oracle(minutes: readonly Minute[], change: number, { twice, matches }: Case): readonly number[] {
  const shown = (wall: number): boolean => matches(new Date(wall).getUTCHours(), new Date(wall).getUTCMinutes())
  const seen = new Set<number>()
  const last = minutes.findLast(({ atMs }) => atMs < change)
  const first = minutes.find(({ atMs }) => atMs >= change)
  // How far the clocks jump beyond the minute that passes anyway.
  const jump = last === undefined || first === undefined ? 0 : first.wall - last.wall - minuteMs
  return minutes.flatMap(({ atMs, wall }) => {
    const isNew = !seen.has(wall)
    seen.add(wall)
    const unchanged = wall - jump
    const wasSkipped = jump > 0 && atMs >= change && atMs < change + jump && shown(unchanged)
    return (shown(wall) && (isNew || twice)) || wasSkipped ? [atMs] : []
  })
}

test('around changes of the clocks, in 32 zones over ten years, crontabs do what the policy says', { timeout: 60_000 }, () => {
  let changes = 0
  for (const name of zones) {
    const zone = new TimeZone(name)
    const format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    })
    const timetables = cases.map(
      ({ expression, repeated }) => new CrontabTimetable(crontabData(expression, repeated === undefined ? {} : { repeated }), zone),
    )
    for (const change of changesOf(zone)) {
      changes += 1
      // The next year has the same rule in nearly every zone: a third of them finds what breaks, and all are in the full run.
      if (!takesCell(changes, 0, 3)) continue
      const minutes = minutesAround(change, format)
      for (const [index, each] of cases.entries()) {
        const due: number[] = []
        let next = timetables[index]?.next(change - windowMs - 1)
        while (next !== undefined && next <= change + windowMs) {
          due.push(next)
          next = timetables[index]?.next(next)
        }
        expect(due, `${each.expression} ${each.repeated ?? ''} in ${name} at ${new Date(change).toISOString()}`).toEqual(
          oracle(minutes, change, each),
        )
      }
    }
  }
  expect(changes).toBeGreaterThan(350)
})
