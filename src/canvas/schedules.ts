/** When a periodic task is due, as data: types only. src/beat/ makes these and knows what they mean. */
import type { Duration } from '../internal/duration.js'
import type { ApplyOptions, Sig } from './sig.js'

/** Numbers, names (`mon`, `jan`), ranges (`mon-fri`, `22-4`), steps, lists: `'0,30'`, `[0, 30]`, `'*' + '/15'`. */
export type CrontabField = string | number | readonly number[]

/** Celery's fields. What is not given is `*`, seconds excepted, which are 0. Day of month AND day of week must match, as in Celery. */
export interface CrontabFields {
  second?: CrontabField
  minute?: CrontabField
  hour?: CrontabField
  /** 0 is Sunday, 6 is Saturday; there is no 7. */
  dayOfWeek?: CrontabField
  dayOfMonth?: CrontabField
  monthOfYear?: CrontabField
}

export interface CrontabOptions {
  /** IANA name of the zone whose clocks count. Default: the app's `timezone`. */
  timezone?: string
  /**
   * When clocks are put back, an hour comes twice. `first`: what is due in it runs once, the first time. `both`: it runs both times.
   * Default: `both` when every hour is asked for, so that "each five minutes" stays that; else `first`.
   */
  repeated?: 'first' | 'both'
}

export type SolarEvent =
  | 'dawn_astronomical'
  | 'dawn_nautical'
  | 'dawn_civil'
  | 'sunrise'
  | 'solar_noon'
  | 'sunset'
  | 'dusk_civil'
  | 'dusk_nautical'
  | 'dusk_astronomical'

/** A schedule as it is stored. */
export type ScheduleData =
  | ({ readonly kind: 'crontab'; readonly expression: string } & Readonly<CrontabOptions>)
  | { readonly kind: 'interval'; readonly everyMs: number; readonly relative: boolean }
  | { readonly kind: 'solar'; readonly event: SolarEvent; readonly lat: number; readonly lon: number }
  | { readonly kind: 'at'; readonly atMs: number }
  /** Code of the program's, which cannot be stored: what it says of itself. */
  | { readonly kind: 'own'; readonly says: string }

/** A schedule of the program's own: gives the first time after another one, or null when there is none. The same answer for the same question. */
export interface OwnSchedule {
  next(after: Date): Date | null
}

/** When a task is due: made by `crontab`, `every`, `solar` and `at`, or an object of the program's own. */
export type Schedule = { readonly '~schedule': true } | OwnSchedule

/** What a task is told that is made when it is due. */
export interface DueInfo {
  readonly entry: string
  /** When it is due, which is a little before now. */
  readonly dueAt: Date
}

/** What happens with times that were missed because no beat ran (or the process was suspended, or the clock was put forward). */
export type Misfire =
  /** One run for all of them. Celery's way, and the default. */
  | 'once'
  /** None, when the last one is missed by more than `misfireGrace`. */
  | 'skip'
  /** Each of them, the latest ones up to this number. */
  | { readonly all: number }

/** What happens when the run before has not ended: run beside it, leave this one out, run when it has ended (one waits at most), or revoke it. */
export type Overlap = 'allow' | 'skip' | 'queue-one' | 'cancel-previous'

export interface EntryOptions {
  /** Options of each call. */
  options?: ApplyOptions
  /** Default `once`. */
  misfire?: Misfire
  /** For `misfire: 'skip'`: how late a run may be. Default 60. */
  misfireGrace?: Duration
  /** Needs a result backend, unless it is `allow`, the default. */
  overlap?: Overlap
  /** Each run is later by a part of this, so that many entries of one time do not all start at once. Always the same part for the same time. */
  jitter?: Duration
  /** Not due before. */
  startAt?: Date
  /** Not due from here on. */
  endAt?: Date
  description?: string
}

/** A call, or a function that makes it when it is due. */
export type BeatCall = Sig<never, unknown, true> | ((due: DueInfo) => Sig<never, unknown, true> | Promise<Sig<never, unknown, true>>)

/** What is sent, when, and how. */
export interface BeatEntry extends EntryOptions {
  /** Or, as in Celery, the name of a task; then `args` and `kwargs` are its arguments. */
  task: BeatCall | string
  args?: unknown[]
  kwargs?: Record<string, unknown>
  schedule: Schedule | Duration
  /** For an interval: as `every(interval, { relative: true })`. */
  relative?: boolean
}

/** Entries by name. */
export type BeatSchedule = Record<string, BeatEntry>
