import { OptionInvalidError } from '../errors.js'

/** Numbers are seconds everywhere, as in Celery; strings carry their unit: `10s`, `1.5h`, `250ms`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const form = /^(-?\d+(?:\.\d+)?)(ms|s|m|h|d)$/

/** In milliseconds (fractions stay). `name` is the option that an error names. Throws OptionInvalidError; negative durations are allowed, as in Celery. */
export function toMs(duration: Duration, name: string): number {
  if (typeof duration === 'number') {
    if (Number.isFinite(duration)) return duration * 1000
  } else if (typeof duration === 'string') {
    const match = form.exec(duration)
    // The pattern has exactly these units.
    if (match !== null) return Number(match[1]) * unitMs[match[2] as keyof typeof unitMs]
  }
  throw new OptionInvalidError(name, 'a number of seconds or text with a unit such as "10s", "5m", "250ms"', duration)
}
