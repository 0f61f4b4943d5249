import type { Schedule, ScheduleData } from '../canvas/schedules.js'
import { OptionInvalidError } from '../errors.js'
import { type Duration, toMs } from '../internal/duration.js'
import type { TimeZone } from '../internal/time-zone.js'
import { scheduleOf } from './schedule.js'
import type { Timetable } from './timetable.js'

type IntervalData = Extract<ScheduleData, { kind: 'interval' }>

const minuteMs = 60_000
const hourMs = 3_600_000
const dayMs = 86_400_000

/**
 * Again and again after this time, counted from when beat first saw the entry; not shorter than 100 ms. `relative`: at full units of it, as Celery has it – days
 * at midnight, hours at the full hour, minutes at the full minute, by the clocks of the app's time zone.
 */
export function every(interval: Duration, { relative = false }: { relative?: boolean } = {}): Schedule {
  return scheduleOf(intervalData(interval, relative))
}

/** Throws OptionInvalidError. */
export function intervalData(interval: Duration, relative: boolean): IntervalData {
  const everyMs = toMs(interval, 'every')
  if (everyMs < 100) throw new OptionInvalidError('every', 'a duration of 0.1 s or more, such as 30 or "5m"', interval)
  if (typeof relative !== 'boolean') throw new OptionInvalidError('every.relative', 'true or false', relative)
  return { kind: 'interval', everyMs: Math.round(everyMs), relative }
}

export class IntervalTimetable implements Timetable {
  readonly everyMs: number

  constructor(everyMs: number) {
    this.everyMs = everyMs
  }

  next(afterMs: number): number {
    return afterMs + this.everyMs
  }

  catchUp(dueMs: number, nowMs: number, most: number): number[] {
    const count = Math.floor((nowMs - dueMs) / this.everyMs)
    const from = Math.max(0, count - most + 1)
    return Array.from({ length: Math.max(0, count - from + 1) }, (_, index) => dueMs + (from + index) * this.everyMs)
  }
}

export class RelativeTimetable implements Timetable {
  readonly #everyMs: number
  readonly #zone: TimeZone

  constructor(everyMs: number, zone: TimeZone) {
    this.#everyMs = everyMs
    this.#zone = zone
  }

  next(afterMs: number): number {
    return this.#everyMs >= dayMs ? this.#nextMidnight(afterMs) : this.#nextUnit(afterMs)
  }

  /** Days are those of the calendar, whatever the clocks did. */
  #nextMidnight(afterMs: number): number {
    const wall = this.#zone.wallOf(afterMs) + this.#everyMs
    const instants = this.#zone.instantsOf(Math.floor(wall / dayMs) * dayMs)
    return instants.kind === 'twice' && instants.ms <= afterMs ? instants.secondMs : instants.ms
  }

  #nextUnit(afterMs: number): number {
    const endMs = afterMs + this.#everyMs
    const unit = this.#everyMs >= hourMs ? hourMs : this.#everyMs >= minuteMs ? minuteMs : 1_000
    const wall = this.#zone.wallOf(endMs)
    const rounded = endMs - (wall - Math.floor(wall / unit) * unit)
    return rounded > afterMs ? rounded : endMs
  }
}
