import type { CrontabFields, CrontabOptions, Schedule, ScheduleData } from '../canvas/schedules.js'
import { OptionInvalidError, OptionUnknownError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { TimeZone } from '../internal/time-zone.js'
import { fieldRules, fieldText, parseField } from './crontab-field.js'
import { scheduleOf } from './schedule.js'
import type { Timetable } from './timetable.js'

type CrontabData = Extract<ScheduleData, { kind: 'crontab' }>
type FieldName = keyof typeof fieldRules

/** The order of an expression. Seconds may be left out. */
const order: readonly FieldName[] = ['second', 'minute', 'hour', 'dayOfMonth', 'monthOfYear', 'dayOfWeek']
const dayMs = 86_400_000
/** The calendar repeats sooner; 29 February on a certain weekday may be 40 years away. */
const monthsAhead = 12 * 41

/**
 * Celery's crontab: five fields, `minute hour day-of-month month day-of-week`, as text or by name; six have the second in front. Day of month AND day of week
 * must match. Throws OptionInvalidError that names the field, its range and an example.
 *
 * @example
 * crontab('0 3 * * mon-fri', { timezone: 'Europe/Berlin' })
 * crontab({ minute: 0, hour: [6, 18] })
 */
export function crontab(expression: string, options?: CrontabOptions): Schedule
export function crontab(fields: CrontabFields & CrontabOptions): Schedule
export function crontab(given: string | (CrontabFields & CrontabOptions), options: CrontabOptions = {}): Schedule {
  return scheduleOf(typeof given === 'string' ? crontabData(given, options) : dataOfFields(given))
}

export function dataOfFields({ timezone, repeated, ...fields }: CrontabFields & CrontabOptions): CrontabData {
  for (const name of Object.keys(fields)) {
    if (!(name in fieldRules)) throw new OptionUnknownError(`crontab.${name}`, didYouMean(name, [...order, 'timezone', 'repeated']))
  }
  const texts = order.map((name) => fieldText(fields[name] ?? (name === 'second' ? 0 : '*'), fieldRules[name]))
  return crontabData((fields.second === undefined ? texts.slice(1) : texts).join(' '), {
    ...(timezone === undefined ? {} : { timezone }),
    ...(repeated === undefined ? {} : { repeated }),
  })
}

/** Throws OptionInvalidError. */
export function crontabData(expression: string, { timezone, repeated }: CrontabOptions): CrontabData {
  parseExpression(expression)
  if (timezone !== undefined) checkTimeZone(timezone)
  if (repeated !== undefined && repeated !== 'first' && repeated !== 'both')
    throw new OptionInvalidError('crontab.repeated', '"first" or "both"', repeated)
  return {
    kind: 'crontab',
    expression: expression.trim().replaceAll(/\s+/g, ' '),
    ...(timezone === undefined ? {} : { timezone }),
    ...(repeated === undefined ? {} : { repeated }),
  }
}

function checkTimeZone(timezone: string): void {
  try {
    new TimeZone(timezone)
  } catch {
    throw new OptionInvalidError('crontab.timezone', 'an IANA time zone such as "Europe/Berlin"', timezone)
  }
}

type Fields = Readonly<Record<FieldName, readonly number[]>>

function parseExpression(expression: string): Fields {
  const texts = typeof expression === 'string' ? expression.trim().split(/\s+/) : []
  if (texts.length === 5) texts.unshift('0')
  if (texts.length !== 6) {
    throw new OptionInvalidError(
      'crontab',
      'five fields "minute hour day-of-month month day-of-week", or six with the second in front, such as "0 3 * * mon-fri"',
      expression,
    )
  }
  // Each of the six has its text.
  const fields = Object.fromEntries(order.map((name, index) => [name, parseField(texts[index] ?? '', fieldRules[name])])) as Fields
  const comes = fields.monthOfYear.some((month) => fields.dayOfMonth.some((day) => day <= daysOfLeapYear(month)))
  if (!comes)
    throw new OptionInvalidError('the day of month of crontab', `a day that is in one of its months (${texts[4]}), such as "1"`, texts[3])
  return fields
}

function daysOfLeapYear(month: number): number {
  return new Date(Date.UTC(2024, month, 0)).getUTCDate()
}

/**
 * The instants at which the clocks of a zone show a time that matches. A time that is left out when clocks are put forward is due when it would have been, had
 * they not been changed; one that comes twice when they are put back is due once or twice, see CrontabOptions.
 */
export class CrontabTimetable implements Timetable {
  readonly #fields: Fields
  readonly #zone: TimeZone
  readonly #both: boolean

  constructor({ expression, repeated }: CrontabData, zone: TimeZone) {
    this.#fields = parseExpression(expression)
    this.#zone = zone
    this.#both = repeated === undefined ? this.#fields.hour.length === 24 : repeated === 'both'
  }

  next(afterMs: number): number | undefined {
    const zone = this.#zone
    const offset = zone.offsetAt(afterMs)
    if (zone.offsetAt(afterMs - dayMs) !== offset) return this.#nextNearChange(afterMs)
    const wall = this.#nextWall(afterMs + offset)
    if (wall === undefined) return undefined
    const ms = wall - offset
    const isNear = ms <= afterMs + dayMs
    // A change that is more than a day away cannot bring a time before this one.
    if (zone.changeAfter(afterMs, isNear ? ms + 1 : afterMs + dayMs) !== undefined) return this.#nextNearChange(afterMs)
    return isNear ? ms : zone.instantsOf(wall).ms
  }

  /** Around a change, later wall times may come earlier: looks at all that may be the next. */
  #nextNearChange(afterMs: number): number | undefined {
    const offsets = [-dayMs, 0, dayMs].map((distance) => this.#zone.offsetAt(afterMs + distance))
    const most = Math.max(...offsets)
    let best: number | undefined
    for (let wall = this.#nextWall(afterMs + Math.min(...offsets) - 1); wall !== undefined; wall = this.#nextWall(wall)) {
      if (best !== undefined && wall - most >= best) return best
      const instants = this.#zone.instantsOf(wall)
      const second = instants.kind === 'twice' && this.#both ? [instants.secondMs] : []
      for (const ms of [instants.ms, ...second]) if (ms > afterMs && (best === undefined || ms < best)) best = ms
    }
    return best
  }

  /** The next wall time that matches. */
  #nextWall(afterWallMs: number): number | undefined {
    const from = Math.floor(afterWallMs / 1000) + 1
    const day = Math.floor(from / 86_400)
    const time = this.#isDay(day) ? this.#nextTime(from - day * 86_400) : undefined
    if (time !== undefined) return (day * 86_400 + time) * 1000
    const next = this.#nextDay(day + 1)
    return next === undefined ? undefined : (next * 86_400 + (this.#nextTime(0) ?? 0)) * 1000
  }

  /** The first second of the day that matches, from this one on. */
  #nextTime(from: number): number | undefined {
    const { hour: hours, minute: minutes, second: seconds } = this.#fields
    const hour = Math.floor(from / 3600)
    const minute = Math.floor((from % 3600) / 60)
    for (const h of hours) {
      if (h < hour) continue
      for (const m of minutes) {
        if (h === hour && m < minute) continue
        for (const s of seconds) {
          const time = h * 3600 + m * 60 + s
          if (time >= from) return time
        }
      }
    }
    return undefined
  }

  #isDay(day: number): boolean {
    const date = new Date(day * dayMs)
    const { dayOfMonth, monthOfYear, dayOfWeek } = this.#fields
    return monthOfYear.includes(date.getUTCMonth() + 1) && dayOfMonth.includes(date.getUTCDate()) && dayOfWeek.includes(date.getUTCDay())
  }

  #nextDay(from: number): number | undefined {
    const { dayOfMonth, monthOfYear, dayOfWeek } = this.#fields
    const start = new Date(from * dayMs)
    for (let ahead = 0; ahead <= monthsAhead; ahead++) {
      const first = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + ahead, 1))
      if (!monthOfYear.includes(first.getUTCMonth() + 1)) continue
      const firstDay = first.getTime() / dayMs
      const length = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate()
      for (const date of dayOfMonth) {
        const day = firstDay + date - 1
        // The epoch was a Thursday.
        if (date <= length && day >= from && dayOfWeek.includes((((day + 4) % 7) + 7) % 7)) return day
      }
    }
    return undefined
  }
}
