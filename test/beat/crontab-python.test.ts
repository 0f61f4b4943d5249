/** Random crontabs (10 000 of them in a full run), zones and times, each asked of real Celery: half of the times are around a change of the clocks. */

import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CrontabTimetable, crontabData } from '../../dist/beat/crontab.js'
import { RelativeTimetable } from '../../dist/beat/interval.js'
import { TimeZone } from '../../dist/internal/time-zone.js'
import { rounds } from '../harness/depth.js'
import { runPython, withoutPython } from '../python.js'
import { changesOf, zones } from './zones.js'

const script = fileURLToPath(new URL('schedules.py', import.meta.url))
const hourMs = 3_600_000
const dayMs = 24 * hourMs

const months = ['jan', 'February', 'MAR', 'apr', 'may', 'june', 'jul', 'aug', 'sept', 'oct', 'nov', 'dec']
const weekdays = ['sun', 'Monday', 'tue', 'WED', 'thu', 'fri', 'saturday']

function field(least: number, most: number, names: readonly string[] = []): fc.Arbitrary<string> {
  const number = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: least, max: most }).map(String) },
    ...(names.length === 0 ? [] : [{ weight: 2, arbitrary: fc.constantFrom(...names) }]),
  )
  const step = fc.integer({ min: 1, max: most + 2 })
  const part = fc.oneof(
    number,
    fc.tuple(number, number).map(([from, to]) => `${from}-${to}`),
    fc.tuple(number, number, step).map(([from, to, by]) => `${from}-${to}/${by}`),
    step.map((by) => `*/${by}`),
  )
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant('*') },
    { weight: 4, arbitrary: fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(',')) },
  )
}

const expression = fc
  .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12, months), field(0, 6, weekdays))
  .map((fields) => fields.join(' '))

const changes = new Map(zones.map((name) => [name, changesOf(new TimeZone(name))]))

const moment = fc
  .record({
    zone: fc.constantFrom(...zones),
    index: fc.nat(),
    distance: fc.integer({ min: -26 * 3600, max: 26 * 3600 }),
    far: fc.integer({ min: Date.UTC(2015, 0, 1) / 1000, max: Date.UTC(2024, 0, 1) / 1000 }),
    near: fc.boolean(),
  })
  .map(({ zone, index, distance, far, near }) => {
    const known = changes.get(zone) ?? []
    const change = known[index % Math.max(1, known.length)]
    return { zone, after: near && change !== undefined ? change + distance * 1000 : far * 1000 }
  })

/**
 * Celery counts from the wall time of the last run, and so it runs a time a second time, or not at all, when that run lies within a change itself. Right after
 * a change that skips time, it takes what is first by the clock on the wall, skipped or not; here it is what comes first. (Antarctica/Troll skips two hours,
 * Pacific/Chatham no whole one.)
 */
function isWithinChange(zoneName: string, after: number, theirs: unknown): boolean {
  const zone = new TimeZone(zoneName)
  const next = typeof theirs === 'number' ? zone.changeAfter(after, theirs + 1) : undefined
  if (next !== undefined && typeof theirs === 'number' && theirs - next < 2 * hourMs) return true
  const jump = Math.abs(zone.offsetAt(after) - zone.offsetAt(after - 3 * hourMs))
  return jump > 0 && zone.changeAfter(after - jump - 1, after + 1) !== undefined
}

const count = rounds(2_500, 10_000)

test.skipIf(withoutPython())(`${count} random crontabs are due when they are in real Celery`, { timeout: 120_000 }, () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const cases = fc.sample(fc.tuple(expression, moment), { numRuns: count, seed })
  const answers = runPython(
    script,
    cases.map(([text, when]) => ({ kind: 'crontab', expression: text, ...when })),
  ) as (number | { error: string })[]
  const wrong: unknown[] = []
  let within = 0
  let refused = 0
  for (const [index, [text, { zone, after }]] of cases.entries()) {
    const theirs = answers[index]
    let ours: number | undefined | 'refused'
    try {
      ours = new CrontabTimetable(crontabData(text, { repeated: 'first' }), new TimeZone(zone)).next(after)
    } catch {
      ours = 'refused'
    }
    if (typeof theirs === 'object') refused += 1
    if (typeof theirs === 'object' ? ours === 'refused' || ours === undefined : ours === theirs) continue
    if (isWithinChange(zone, after, theirs)) within += 1
    else
      wrong.push({
        text,
        zone,
        after: new Date(after).toISOString(),
        ours: ours === 'refused' || ours === undefined ? ours : new Date(ours).toISOString(),
        theirs: typeof theirs === 'number' ? new Date(theirs).toISOString() : theirs,
      })
  }
  expect(wrong.slice(0, 10), `seed ${seed}: ${wrong.length} differ`).toEqual([])
  // Few, or the exception above hides something.
  expect(within).toBeLessThan(count / 40)
  expect(refused).toBeLessThan(count / 5)
})

test.skipIf(withoutPython())('relative intervals are due when they are in real Celery', { timeout: 60_000 }, () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const length = fc.oneof(
    fc.integer({ min: 1, max: 59 }).map((count) => count * 1000),
    fc.integer({ min: 1, max: 59 }).map((count) => count * 60_000),
    fc.integer({ min: 1, max: 23 }).map((count) => count * hourMs),
    fc.integer({ min: 1, max: 10 }).map((count) => count * dayMs),
    fc.integer({ min: 60, max: 400_000 }).map((seconds) => seconds * 1000),
  )
  const cases = fc.sample(fc.tuple(length, moment), { numRuns: rounds(1_000, 3_000), seed })
  const answers = runPython(
    script,
    cases.map(([every, when]) => ({ kind: 'interval', every, ...when })),
  ) as number[]
  let atChange = 0
  const wrong = cases.flatMap(([every, { zone, after }], index) => {
    const ours = new RelativeTimetable(every, new TimeZone(zone)).next(after)
    const theirs = answers[index] ?? 0
    // One in tens of thousands falls near a change, where wall time has no one answer.
    const isAtChange =
      ours !== theirs &&
      new TimeZone(zone).changeAfter(Math.min(ours, theirs) - 3 * hourMs, Math.max(ours, theirs) + 3 * hourMs) !== undefined
    if (isAtChange) atChange += 1
    return ours === theirs || isAtChange
      ? []
      : [
          {
            every: every / 1000,
            zone,
            after: new Date(after).toISOString(),
            ours: new Date(ours).toISOString(),
            theirs: new Date(theirs).toISOString(),
          },
        ]
  })
  expect(wrong.slice(0, 10), `seed ${seed}: ${wrong.length} differ`).toEqual([])
  expect(atChange).toBeLessThan(5)
})
