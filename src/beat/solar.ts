import { createRequire } from 'node:module'
import type * as Astronomy from 'astronomy-engine'
import type { Schedule, ScheduleData, SolarEvent } from '../canvas/schedules.js'
import { OptionInvalidError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { scheduleOf } from './schedule.js'
import type { Timetable } from './timetable.js'

type SolarData = Extract<ScheduleData, { kind: 'solar' }>

/** Celery's events: the altitude of the sun's centre for twilights, its upper limb at the horizon for sunrise and sunset. */
const events: Readonly<Record<SolarEvent, { readonly direction: 1 | -1 | 0; readonly altitude?: number }>> = {
  dawn_astronomical: { direction: 1, altitude: -18 },
  dawn_nautical: { direction: 1, altitude: -12 },
  dawn_civil: { direction: 1, altitude: -6 },
  sunrise: { direction: 1 },
  solar_noon: { direction: 0 },
  sunset: { direction: -1 },
  dusk_civil: { direction: -1, altitude: -6 },
  dusk_nautical: { direction: -1, altitude: -12 },
  dusk_astronomical: { direction: -1, altitude: -18 },
}

/** Near a pole an event may stay away for most of a year. */
const daysAhead = 366
/** What is found again within this time is the same event: a search ends a few ms sooner or later. */
const sameMs = 2_000

/**
 * At an event of the sun at a place on Earth: degrees, north and east are positive. In the polar day or night an event may not come for months: then it is due
 * when it comes again.
 */
export function solar(event: SolarEvent, lat: number, lon: number): Schedule {
  return scheduleOf(solarData(event, lat, lon))
}

/** Throws OptionInvalidError. */
function solarData(event: SolarEvent, lat: number, lon: number): SolarData {
  if (!Object.hasOwn(events, event)) {
    const near = typeof event === 'string' ? didYouMean(event, Object.keys(events)) : undefined
    const expected = `one of ${Object.keys(events).join(', ')}${near === undefined ? '' : ` (did you mean ${near}?)`}`
    throw new OptionInvalidError('the event of solar', expected, event)
  }
  if (!(lat >= -90 && lat <= 90)) throw new OptionInvalidError('the latitude of solar', 'a number from -90 to 90, such as 52.52', lat)
  if (!(lon >= -180 && lon <= 180)) throw new OptionInvalidError('the longitude of solar', 'a number from -180 to 180, such as 13.405', lon)
  return { kind: 'solar', event, lat, lon }
}

export class SolarTimetable implements Timetable {
  readonly #data: SolarData

  constructor(data: SolarData) {
    this.#data = data
  }

  next(afterMs: number): number | undefined {
    let from = afterMs
    for (;;) {
      const found = this.#search(from)
      if (found === undefined || found > afterMs + sameMs) return found
      from = found + 60_000
    }
  }

  #search(fromMs: number): number | undefined {
    const { event, lat, lon } = this.#data
    const { direction, altitude } = events[event]
    const { Body, Observer, SearchAltitude, SearchHourAngle, SearchRiseSet } = loadAstronomy()
    const observer = new Observer(lat, lon, 0)
    const from = new Date(fromMs)
    const time =
      direction === 0
        ? SearchHourAngle(Body.Sun, observer, 0, from, 1).time
        : altitude === undefined
          ? SearchRiseSet(Body.Sun, observer, direction, from, daysAhead)
          : SearchAltitude(Body.Sun, observer, direction, from, daysAhead, altitude)
    return time === null ? undefined : Math.round(time.date.getTime())
  }
}

const require = createRequire(import.meta.url)

/** When a sun is asked for: it is 400 kB, and every program that sends tasks imports this file. */
function loadAstronomy(): typeof Astronomy {
  // What the package gives is what its types say.
  return require('astronomy-engine') as typeof Astronomy
}
