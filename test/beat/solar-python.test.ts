/** Celery asks PyEphem, and so do these tests: events of the sun all over the Earth, all over the year. */

import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SolarTimetable } from '../../dist/beat/solar.js'
import { needs } from '../../scripts/needs.mjs'
import { rounds } from '../harness/depth.js'
import { runPython, withoutPython } from '../python.js'

const script = fileURLToPath(new URL('schedules.py', import.meta.url))
const skipped = withoutPython() || (needs.ephem?.find() === undefined ? 'there is no PyEphem: run node scripts/install.mjs --test' : false)

const events = [
  'dawn_astronomical',
  'dawn_nautical',
  'dawn_civil',
  'sunrise',
  'solar_noon',
  'sunset',
  'dusk_civil',
  'dusk_nautical',
  'dusk_astronomical',
] as const

const question = fc.record({
  kind: fc.constant('solar'),
  event: fc.constantFrom(...events),
  lat: fc.integer({ min: -6500, max: 6500 }).map((hundredths) => hundredths / 100),
  lon: fc.integer({ min: -18_000, max: 18_000 }).map((hundredths) => hundredths / 100),
  after: fc.integer({ min: Date.UTC(2015, 0, 1) / 1000, max: Date.UTC(2030, 0, 1) / 1000 }).map((seconds) => seconds * 1000),
})

/**
 * Two models of the sun agree to a fraction of a second where it moves through the horizon, and to some seconds where it grazes it; there, once in a long while, one
 * sees an event on a day on which the other sees none.
 */
test.skipIf(skipped)('random events of the sun come when they do in real Celery', { timeout: 120_000 }, () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const cases = fc.sample(question, { numRuns: rounds(500, 2_000), seed })
  const answers = runPython(script, cases) as number[]
  const distances = cases.map((each, index) => {
    const theirs = answers[index] ?? 0
    const ours = new SolarTimetable({ ...each, kind: 'solar' }).next(each.after) ?? 0
    return { ...each, ours: new Date(ours).toISOString(), theirs: new Date(theirs).toISOString(), seconds: Math.abs(ours - theirs) / 1000 }
  })
  // What comes within 2 s counts as the event that was, so that none is met twice.
  const apart = distances.filter(({ after, theirs }) => Date.parse(theirs) - after > 5_000)
  const far = apart.filter(({ lat, seconds }) => seconds > (Math.abs(lat) <= 45 ? 1.5 : 60))
  expect(
    far.filter(({ lat }) => Math.abs(lat) <= 45),
    `seed ${seed}`,
  ).toEqual([])
  expect(far.length, `seed ${seed}: ${JSON.stringify(far)}`).toBeLessThanOrEqual(2)
  expect(apart.filter(({ seconds }) => seconds > 1.5).length, `seed ${seed}`).toBeLessThan(20)
})
