/** Times on the wire: Python's isoformat, with microseconds and the offset. */
import { DecodeError, EncodeError } from '../errors.js'

// Python's datetime.min and datetime.max: no peer can read a time outside.
const earliestMs = -62_135_596_800_000
const latestMs = 253_402_300_799_999

/**
 * Writes a time as Python's isoformat does: `2026-11-22T16:46:37.620000+00:00`. Always 6 digits and an offset, which Python 3.9 needs too.
 * `timezone` is an IANA name; the instant is the same in all of them. Throws EncodeError outside the years 1 to 9999.
 */
export function toIso(ms: number, timezone = 'UTC'): string {
  if (!(ms >= earliestMs && ms <= latestMs)) throw new EncodeError('time', `is outside the years 1 to 9999: ${ms}`)
  if (timezone === 'UTC') return `${new Date(ms).toISOString().slice(0, 23)}000+00:00`
  const offset = offsetMinutes(ms, timezone)
  const local = new Date(Math.min(latestMs, Math.max(earliestMs, ms + offset * 60_000))).toISOString().slice(0, 23)
  const minutes = Math.abs(offset)
  return `${local}000${offset < 0 ? '-' : '+'}${two(Math.trunc(minutes / 60))}:${two(minutes % 60)}`
}

/** `GMT+05:30` in Intl's longOffset style; plain `GMT` is 0. Offsets of seconds (before 1900) are cut to minutes. */
function offsetMinutes(ms: number, timezone: string): number {
  const parts = new Intl.DateTimeFormat('en-US', { timeZone: timezone, timeZoneName: 'longOffset' }).formatToParts(ms)
  const name = parts.find((part) => part.type === 'timeZoneName')?.value ?? 'GMT'
  const match = /^GMT([+-])(\d\d):(\d\d)/.exec(name)
  if (match === null) return 0
  const minutes = Number(match[2]) * 60 + Number(match[3])
  return match[1] === '-' ? -minutes : minutes
}

const two = (number: number): string => String(number).padStart(2, '0')

// 2024-01-02, 2024-01-02T03:04, 2024-01-02T03:04:05.678901+00:00 and the same without dashes and colons; dateutil's isoparse reads them all.
const extended =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?)?)?$/i
const compact = /^(\d{4})(\d\d)(\d\d)(?:[T ](\d\d)(?:(\d\d)(?:(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?)?)?$/i

/**
 * Reads an ISO 8601 time, in ms since the epoch; microseconds are cut. Without an offset it is UTC, as Celery has it.
 * Throws DecodeError for anything else: epoch numbers, RFC 2822, times that do not exist.
 */
export function parseIso(text: string): number {
  const ms = text.length > 64 ? undefined : readIso(text)
  if (ms === undefined)
    throw new DecodeError(`expected an ISO 8601 time such as 2026-11-22T16:46:37.620000+00:00, got: ${JSON.stringify(text.slice(0, 64))}`)
  return ms
}

function readIso(text: string): number | undefined {
  const match = extended.exec(text) ?? compact.exec(text)
  if (match === null) return undefined
  const [, year = '', month = '', day = '', hour = '0', minute = '0', second = '0', fraction = '', zone = 'Z'] = match
  const midnight = dayMs(Number(year), Number(month), Number(day))
  const milliseconds = Number(fraction.slice(0, 3).padEnd(3, '0'))
  const time = ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1000 + milliseconds
  const offset = offsetMs(zone)
  if (midnight === undefined || offset === undefined) return undefined
  if (Number(minute) > 59 || Number(second) > 59) return undefined
  // 24:00:00 is the midnight that ends the day.
  if (Number(hour) > 23 && !(Number(hour) === 24 && time === 86_400_000 && /^0*$/.test(fraction))) return undefined
  const ms = midnight + time - offset
  return ms >= earliestMs && ms <= latestMs ? ms : undefined
}

function dayMs(year: number, month: number, day: number): number | undefined {
  const date = new Date(0)
  // Not Date.UTC, which takes the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(year, month - 1, day)
  return date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? date.getTime() : undefined
}

function offsetMs(zone: string): number | undefined {
  if (zone === 'Z' || zone === 'z') return 0
  // Seconds: the local times of old, and those of a program's own time zones.
  const [, hours = '', minutes = '0', seconds = '0'] = /^.(\d\d):?(\d\d)?:?(.*)$/.exec(zone) ?? []
  if (Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) >= 60) return undefined
  const ms = (Number(hours) * 60 + Number(minutes)) * 60_000 + Math.trunc(Number(seconds) * 1000)
  return zone.startsWith('-') ? -ms : ms
}
