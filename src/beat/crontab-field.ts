/** One field of a crontab, as Celery reads it (celery/schedules.py, crontab_parser): to the numbers that it stands for. */
import type { CrontabField } from '../canvas/schedules.js'
import { OptionInvalidError } from '../errors.js'

export interface FieldRule {
  readonly label: string
  readonly least: number
  readonly most: number
  /** Completes "expected the minute of crontab to be …". */
  readonly expected: string
}

export const fieldRules = {
  second: { label: 'second', least: 0, most: 59, expected: '0 to 59, such as "0" or "*/10"' },
  minute: { label: 'minute', least: 0, most: 59, expected: '0 to 59, such as "*/15" or "0,30"' },
  hour: { label: 'hour', least: 0, most: 23, expected: '0 to 23, such as "9-17" or "*/4"' },
  dayOfMonth: { label: 'day of month', least: 1, most: 31, expected: '1 to 31, such as "1,15" or "1-7"' },
  monthOfYear: { label: 'month', least: 1, most: 12, expected: '1 to 12 or names, such as "*/3" or "jan-mar"' },
  dayOfWeek: {
    label: 'day of week',
    least: 0,
    most: 6,
    expected: '0 (Sunday) to 6 (Saturday) or names, such as "mon-fri" or "0,6"; there is no 7',
  },
} as const satisfies Record<string, FieldRule>

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

/** As text without spaces. Throws OptionInvalidError for what is no field at all. */
export function fieldText(value: CrontabField, rule: FieldRule): string {
  if (typeof value === 'number' && Number.isInteger(value)) return String(value)
  if (Array.isArray(value) && value.length > 0 && value.every((item) => Number.isInteger(item))) return value.join(',')
  if (typeof value === 'string' && value.trim() !== '') return value.replaceAll(/\s+/g, '')
  throw wrong(rule, value)
}

/** Ascending, each once. Throws OptionInvalidError that names the field, its range and an example. */
export function parseField(text: string, rule: FieldRule): readonly number[] {
  // Most fields of most crontabs.
  if (text === '*') return numbers(rule.least, rule.most)
  const found = new Set(text.split(',').flatMap((part) => parsePart(part, rule)))
  return [...found].sort((a, b) => a - b)
}

function parsePart(part: string, rule: FieldRule): readonly number[] {
  const match = /^(?:(\*)|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/.exec(part)
  const [, star, from, to, stepText] = match ?? []
  const step = stepText === undefined ? 1 : Number(stepText)
  // Celery takes a step behind `*` and a range only: "5/10" may mean two things.
  if (match === null || step === 0 || (stepText !== undefined && star === undefined && to === undefined)) throw wrong(rule, part)
  return rangeOf(star, from, to, rule, part).filter((_, index) => index % step === 0)
}

function rangeOf(star: string | undefined, from: string | undefined, to: string | undefined, rule: FieldRule, part: string): number[] {
  const { least, most } = rule
  if (star !== undefined) return numbers(least, most)
  const first = numberOf(from ?? '', rule, part)
  if (to === undefined) return [first]
  const last = numberOf(to, rule, part)
  // Ranges go round: sat-mon, 22-4.
  return last < first ? [...numbers(first, most), ...numbers(least, last)] : numbers(first, last)
}

function numberOf(text: string, rule: FieldRule, part: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : named(text)
  if (number === undefined || number < rule.least || number > rule.most) throw wrong(rule, part)
  return number
}

/** By the first three letters. Celery looks for months first, in every field. */
function named(text: string): number | undefined {
  const start = text.slice(0, 3).toLowerCase()
  const month = months.indexOf(start)
  if (month >= 0) return month + 1
  const weekday = weekdays.indexOf(start)
  return weekday >= 0 ? weekday : undefined
}

function numbers(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

function wrong(rule: FieldRule, got: unknown): OptionInvalidError {
  return new OptionInvalidError(`the ${rule.label} of crontab`, rule.expected, got)
}
