import { OptionInvalidError } from '../errors.js'

/** A span of time: a number of SECONDS, as everywhere in Celery, or a number with its unit, such as `'1.5s'`, `'10m'`, `'1d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const form = /^(-?\d+(?:\.\d+)?)(ms|s|m|h|d)$/

/** In milliseconds (fractions stay). `name` is the option that an error names. Throws OptionInvalidError; negative durations are allowed, as in Celery. */
export function toMs(duration: Duration, name: string): number {
  const ms = milliseconds(duration)
  if (ms === undefined) throw new OptionInvalidError(name, 'a number of seconds or text with a unit such as "10s", "5m", "250ms"', duration)
  return ms
}

/** In seconds; otherwise as `toMs`. */
export function toSeconds(duration: Duration, name: string): number {
  return toMs(duration, name) / 1000
}

/** The duration in seconds; undefined when the value is not a duration that is 0 or longer and finite. */
export function parseDuration(value: unknown): number | undefined {
  const ms = milliseconds(value)
  return ms === undefined || ms < 0 ? undefined : ms / 1000
}

/** Seconds in the largest unit that says them without a fraction: 86400 is `1d`, 0.25 is `250ms`. */
export function formatDuration(seconds: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const count = (seconds * 1000) / unitMs[unit]
    if (count >= 1 && Number.isInteger(count)) return `${count}${unit}`
  }
  return seconds === 0 ? '0s' : `${seconds * 1000}ms`
}

function milliseconds(value: unknown): number | undefined {
  const ms = typeof value === 'number' ? value * 1000 : typeof value === 'string' ? msOfText(value) : undefined
  return Number.isFinite(ms) ? ms : undefined
}

function msOfText(text: string): number | undefined {
  const match = form.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * unitMs[match[2] as keyof typeof unitMs] // the pattern allows these units only
}
