/** Schedules as objects that programs hold: the data, and a mark for the types. */
import type { OwnSchedule, Schedule, ScheduleData } from '../canvas/schedules.js'
import { OptionInvalidError } from '../errors.js'
import type { Duration } from '../internal/duration.js'

export function scheduleOf(data: ScheduleData): Schedule & ScheduleData {
  return Object.freeze({ '~schedule': true as const, ...data })
}

export function isOwnSchedule(value: unknown): value is OwnSchedule {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, 'next') === 'function'
}

/** The data of a schedule that `crontab`, `every`, `solar` or `at` made, by any copy of celeriac. */
export function dataOf(schedule: Schedule | Duration): ScheduleData | undefined {
  if (typeof schedule !== 'object' || schedule === null || !('~schedule' in schedule)) return undefined
  // Only the makers of schedules put the mark on what they have checked.
  const { '~schedule': _, ...data } = schedule as unknown as ScheduleData & { '~schedule': true }
  return data as ScheduleData
}

export function notASchedule(what: string, value: unknown): OptionInvalidError {
  return new OptionInvalidError(
    what,
    'crontab(...), every(...), solar(...), at(...), seconds, text such as "5m", or an object with next(after: Date): Date | null',
    value,
  )
}
