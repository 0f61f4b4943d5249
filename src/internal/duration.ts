import { OptionInvalidError } from '../errors.js'

/** A span of time: a number of SECONDS, as everywhere in Celery, or a number with its unit, such as `'1.5s'`, `'10m'`, `'1d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const secondsOf = { ms: 0.001, s: 1, m: 60, h: 3_600, d: 86_400 } as const

/** The duration in seconds; undefined when the value is not a duration that is 0 or longer and finite. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined
  if (typeof value !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value)
  if (match === null) return undefined
  const unit = match[2] as keyof typeof secondsOf // the pattern allows these only
  const seconds = Number(match[1]) * secondsOf[unit]
  return Number.isFinite(seconds) ? seconds : undefined
}

/** Seconds in the largest unit that says them without a fraction: 86400 is `1d`, 0.25 is `250ms`. */
export function formatDuration(seconds: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (seconds >= secondsOf[unit] && Number.isInteger(seconds / secondsOf[unit])) return `${seconds / secondsOf[unit]}${unit}`
  }
  return seconds === 0 ? '0s' : `${seconds * 1000}ms`
}

/** The duration in milliseconds. Throws OptionInvalidError that names `option`, for what is not a duration of 0 or longer. */
export function toMs(duration: Duration, option: string): number {
  const seconds = parseDuration(duration)
  if (seconds === undefined)
    throw new OptionInvalidError(option, 'a number of seconds, 0 or more, or text with a unit such as "10s", "5m", "250ms"', duration)
  return seconds * 1000
}
