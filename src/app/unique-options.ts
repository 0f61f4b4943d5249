import type { ApplyOptions } from '../canvas/sig.js'
import { OptionInvalidError } from '../errors.js'
import { toMs } from '../internal/duration.js'
import { fields, type Kind, kind, oneOf, secondsAbove0, text } from '../internal/option-kinds.js'
import type { Arguments } from './arguments.js'
import { keyOf } from './limit-key.js'

type UniqueOption = NonNullable<ApplyOptions['unique']>

export interface Unique {
  readonly key: string
  /** Undefined: `uniqueTtl`. */
  readonly ttlMs: number | undefined
  readonly onConflict: 'ignore' | 'replace' | 'debounce' | 'throttle'
  /** The call waits for so long before it may run. */
  readonly delayMs: number
}

const words = 'a key, or an object with key, ttl or onConflict'
const kinds = { key: text, ttl: secondsAbove0, onConflict: oneOf('ignore', 'replace', 'debounce', 'throttle') }

export const unique: Kind<UniqueOption, ReturnType<typeof read>> = kind(words, (value, option) =>
  value === '' || (typeof value !== 'string' && typeof value !== 'object') ? undefined : read(value, option),
)

function read(value: unknown, option: string) {
  const { key, ttl, onConflict = 'ignore' } = typeof value === 'string' ? { key: value } : fields(value, option, words, kinds)
  if (key === undefined) throw new OptionInvalidError(`${option}.key`, text.expected, key)
  if (ttl === undefined && (onConflict === 'debounce' || onConflict === 'throttle'))
    throw new OptionInvalidError(`${option}.ttl`, `given with onConflict "${onConflict}": it is the time in which one task runs`, ttl)
  return { key, ttl, onConflict } as const
}

/** Throws OptionInvalidError: for what is none, for a key that the call has no value for, and for a call that is to wait for two things. */
export function uniqueOf(options: ApplyOptions, call: Arguments, params: readonly string[], nowMs: number): Unique {
  const { key: template, ttl, onConflict } = unique.parse(options.unique, 'unique')
  const { key, missing } = keyOf(template, call, params)
  if (missing !== undefined)
    throw new OptionInvalidError('unique.key', `made of arguments that the call has; it has no ${missing}`, template)
  const ttlMs = ttl === undefined ? undefined : ttl * 1000
  const { eta, countdown } = options
  if (onConflict === 'debounce' && (eta !== undefined || countdown !== undefined))
    throw new OptionInvalidError(
      eta === undefined ? 'countdown' : 'eta',
      'left out with unique.onConflict "debounce": the task waits for ttl',
      eta ?? countdown,
    )
  const waitMs =
    onConflict === 'debounce'
      ? (ttlMs ?? 0)
      : eta !== undefined
        ? eta.getTime() - nowMs
        : countdown !== undefined
          ? toMs(countdown, 'countdown')
          : 0
  return { key, ttlMs, onConflict, delayMs: Math.max(0, waitMs) }
}
