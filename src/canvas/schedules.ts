import { OptionInvalidError } from '../errors.js'
import { type Duration, toMs } from '../internal/duration.js'
import type { ApplyOptions, Sig } from './sig.js'

/** When a task is due: made by `crontab`, `every` and `solar`. In this version schedules are data: nothing sends them yet. */
export type Schedule = { readonly '~schedule': true }

/** Entries by name: which call, when, with which options. */
export type BeatSchedule = Record<string, { task: Sig<never, unknown, true>; schedule: Schedule | Duration; options?: ApplyOptions }>

export interface CrontabFields {
  minute?: string | number
  hour?: string | number
  dayOfWeek?: string | number
  dayOfMonth?: string | number
  monthOfYear?: string | number
  timezone?: string
}

/** Five fields, `minute hour day-of-month month day-of-week`, as text or by name. */
export function crontab(expression: string, options?: { timezone?: string }): Schedule
export function crontab(fields: CrontabFields): Schedule
export function crontab(given: string | CrontabFields, options: { timezone?: string } = {}): Schedule {
  if (typeof given !== 'string') return schedule({ kind: 'crontab', ...given })
  const fields = given.trim().split(/\s+/)
  if (fields.length !== 5) throw new OptionInvalidError('crontab', 'five fields "minute hour day-of-month month day-of-week"', given)
  const [minute, hour, dayOfMonth, monthOfYear, dayOfWeek] = fields
  return schedule({ kind: 'crontab', minute, hour, dayOfMonth, monthOfYear, dayOfWeek, ...options })
}

/** Again and again after this time; `relative` rounds to whole units of it. */
export function every(interval: Duration, options: { relative?: boolean } = {}): Schedule {
  return schedule({ kind: 'interval', everyMs: toMs(interval, 'every'), ...options })
}

/** At an event of the sun, at a place on Earth. */
export function solar(event: 'dawn_civil' | 'sunrise' | 'solar_noon' | 'sunset' | 'dusk_civil', lat: number, lon: number): Schedule {
  return schedule({ kind: 'solar', event, lat, lon })
}

function schedule(data: Record<string, unknown>): Schedule {
  return Object.freeze({ '~schedule': true as const, ...data })
}

/** The process that sends what is due. */
export interface Beat extends AsyncDisposable {
  run(): Promise<void>
  start(): Promise<this>
  stop(): Promise<void>
}
