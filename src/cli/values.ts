/** Reads the values of flags. Throws UsageError that names the flag. */
import { systemClock } from '../internal/clock.js'
import { type Duration, parseDuration } from '../internal/duration.js'
import { decodeJson } from '../serializers/json.js'
import { UsageError } from './usage-error.js'

/** JSON where the text is JSON, the text itself otherwise: `5` is a number, `hello` and `a:b` are text. */
export function jsonOrText(text: string): unknown {
  try {
    JSON.parse(text)
  } catch {
    return text
  }
  // As in messages: no digit of a large integer is lost.
  return decodeJson(text)
}

export function jsonArray(text: string): unknown[] {
  const value = jsonOrText(text)
  if (Array.isArray(value)) return value
  throw new UsageError(`expected --args to be a JSON array such as '[1, "two"]', got: ${text}`)
}

export const jsonObject = (text: string): Record<string, unknown> => jsonObjectOf(text, '--kwargs')

export function jsonObjectOf(text: string, flag: string): Record<string, unknown> {
  const value = jsonOrText(text)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw new UsageError(`expected ${flag} to be a JSON object such as '{"x": 1}', got: ${text}`)
}

/** Seconds, or text with a unit. */
export function durationText(text: string, flag: string): Duration {
  const seconds = asDuration(text)
  if (seconds === undefined) throw new UsageError(`expected ${flag} to be a number of seconds, or text such as 10s or 5m, got: ${text}`)
  return seconds
}

export function dateText(text: string, flag: string): Date {
  const date = asDate(text)
  if (date === undefined) throw new UsageError(`expected ${flag} to be a time such as 2030-01-31T12:00:00Z, got: ${text}`)
  return date
}

export function durationOrDate(text: string, flag: string): Duration | Date {
  const value = asDuration(text) ?? asDate(text)
  if (value === undefined)
    throw new UsageError(`expected ${flag} to be seconds, text such as 10s, or a time such as 2030-01-31T12:00:00Z, got: ${text}`)
  return value
}

/** A time, or one that is so long ago. */
export function timeOrAgo(text: string, flag: string): Date {
  const seconds = asDuration(text)
  const date = seconds === undefined ? asDate(text) : new Date(systemClock.now() - seconds * 1000)
  if (date === undefined)
    throw new UsageError(`expected ${flag} to be a time such as 2030-01-31T12:00:00Z, or text such as 2h, got: ${text}`)
  return date
}

export function count(text: string, flag: string, most: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value <= most) return value
  throw new UsageError(`expected ${flag} to be a whole number from 0 to ${most}, got: ${text}`)
}

/** Names separated by commas. */
export function nameList(text: string): string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

function asDuration(text: string): number | undefined {
  return parseDuration(/^\d+(\.\d+)?$/.test(text) ? Number(text) : text)
}

function asDate(text: string): Date | undefined {
  // Date.parse also reads `5 maybe`: a date starts with its year.
  const date = new Date(/^\d{4}-\d\d-\d\d/.test(text) ? text : Number.NaN)
  return Number.isNaN(date.getTime()) ? undefined : date
}
