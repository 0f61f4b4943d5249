import type { OwnSchedule, ScheduleData } from '../canvas/schedules.js'
import { OptionInvalidError } from '../errors.js'
import { formatDuration } from '../internal/duration.js'
import { TimeZone } from '../internal/time-zone.js'
import { OnceTimetable } from './at.js'
import { CrontabTimetable } from './crontab.js'
import { IntervalTimetable, RelativeTimetable } from './interval.js'
import { SolarTimetable } from './solar.js'
import type { Timetable } from './timetable.js'

/** Makes timetables; a zone is looked up once for all entries. */
export class Timetables {
  readonly #appZone: string
  readonly #zones = new Map<string, TimeZone>()

  constructor(timezone: string) {
    this.#appZone = timezone
  }

  /** Undefined for schedules of a program's own: only it has their code. */
  of(data: ScheduleData): Timetable | undefined {
    switch (data.kind) {
      case 'crontab':
        return new CrontabTimetable(data, this.zone(data.timezone))
      case 'interval':
        return data.relative ? new RelativeTimetable(data.everyMs, this.zone(undefined)) : new IntervalTimetable(data.everyMs)
      case 'solar':
        return new SolarTimetable(data)
      case 'at':
        return new OnceTimetable(data.atMs)
      case 'own':
        return undefined
      default:
        return data satisfies never
    }
  }

  /** The zone in which times of an entry are shown. */
  zoneOf(data: ScheduleData): TimeZone {
    return this.zone(data.kind === 'crontab' ? data.timezone : undefined)
  }

  zone(name: string | undefined): TimeZone {
    const wanted = name ?? this.#appZone
    let zone = this.#zones.get(wanted)
    if (zone === undefined) {
      zone = new TimeZone(wanted)
      this.#zones.set(wanted, zone)
    }
    return zone
  }
}

/** A schedule of the program's own as a timetable. What it answers is checked: a time that is not later would make beat run without end. */
export function ownTimetable(schedule: OwnSchedule, entry: string): Timetable {
  return {
    next(afterMs) {
      const next = schedule.next(new Date(afterMs))
      if (next === null || next === undefined) return undefined
      const ms = next instanceof Date ? next.getTime() : Number.NaN
      if (!(ms > afterMs))
        throw new OptionInvalidError(
          `what schedule.next(${new Date(afterMs).toISOString()}) of ${entry} gives`,
          'a later Date, or null',
          next,
        )
      return ms
    },
  }
}

/** For people: `crontab 0 3 * * mon-fri (Europe/Berlin)`. */
export function describeSchedule(data: ScheduleData): string {
  switch (data.kind) {
    case 'crontab':
      return `crontab ${data.expression}${data.timezone === undefined ? '' : ` (${data.timezone})`}`
    case 'interval':
      return `every ${formatDuration(data.everyMs / 1000)}${data.relative ? ', relative' : ''}`
    case 'solar':
      return `${data.event} at ${data.lat}, ${data.lon}`
    case 'at':
      return `at ${new Date(data.atMs).toISOString()}`
    case 'own':
      return data.says
    default:
      return data satisfies never
  }
}
