import type { Schedule, ScheduleData } from '../canvas/schedules.js'
import { OptionInvalidError } from '../errors.js'
import { scheduleOf } from './schedule.js'
import type { Timetable } from './timetable.js'

/** Once, at this time. One that is past when beat first sees it runs at once. */
export function at(time: Date): Schedule {
  return scheduleOf(atData(time))
}

/** Throws OptionInvalidError. */
function atData(time: Date): Extract<ScheduleData, { kind: 'at' }> {
  const atMs = time instanceof Date ? time.getTime() : Number.NaN
  if (Number.isNaN(atMs)) throw new OptionInvalidError('at', 'a valid Date, such as new Date("2030-01-31T12:00:00Z")', time)
  return { kind: 'at', atMs }
}

export class OnceTimetable implements Timetable {
  readonly #atMs: number

  constructor(atMs: number) {
    this.#atMs = atMs
  }

  next(afterMs: number): number | undefined {
    return afterMs < this.#atMs ? this.#atMs : undefined
  }
}
