/** What `rateLimit` and `concurrency` of a task or a queue may be, and what they mean. */
import { OptionInvalidError } from '../errors.js'
import { fields, isRecord, type Kind, kind, oneOf, text, wholeNumber } from '../internal/option-kinds.js'
import { parseRate } from './rate.js'

type Rate = `${number}/${'s' | 'm' | 'h'}`

/** On each worker, or of all workers together. */
export type LimitScope = 'worker' | 'cluster'

/** So many starts in a time. With a `key`, `{userId}` or `{0}` in it standing for an argument, each of its values has the limit to itself. Default scope: each worker. */
export type RateLimitOption = Rate | { readonly limit: Rate; readonly key?: string; readonly scope?: LimitScope }

/** So many at the same time. Default scope: all workers together. */
export type ConcurrencyOption = number | { readonly limit: number; readonly key?: string; readonly scope?: LimitScope }

export interface LimitOptions {
  readonly rateLimit?: RateLimitOption
  readonly concurrency?: ConcurrencyOption
}

export interface Limit {
  /** Starts a second, or so many at the same time. */
  readonly limit: number
  readonly key: string | undefined
  readonly scope: LimitScope
}

const rateWords = 'a rate such as "10/s", "5/m" or "1/h", or an object with limit, key or scope'
const scope = oneOf('worker', 'cluster')

const rateText = kind<Rate, Rate>(
  'a rate such as "10/s", "5/m" or "1/h"',
  (value) => (parseRate(value) === undefined ? undefined : (value as Rate)), // or what stands for one in Celery: a number, null
)
const rateFields = { limit: rateText, key: text, scope }

export const rateLimit: Kind<RateLimitOption, RateLimitOption> = kind(rateWords, (value, option) => {
  if (!isRecord(value)) return parseRate(value) === undefined ? undefined : (value as Rate) // as above
  const { limit, ...rest } = fields(value, option, rateWords, rateFields)
  if (limit === undefined) throw new OptionInvalidError(`${option}.limit`, rateText.expected, limit)
  return { limit, ...rest }
})

const concurrencyWords = 'a whole number above 0, or an object with limit, key or scope'
const count = wholeNumber(1)
const concurrencyFields = { limit: count, key: text, scope }

export const concurrency: Kind<ConcurrencyOption, ConcurrencyOption> = kind(concurrencyWords, (value, option) => {
  if (!isRecord(value)) return Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : undefined
  const { limit, ...rest } = fields(value, option, concurrencyWords, concurrencyFields)
  if (limit === undefined) throw new OptionInvalidError(`${option}.limit`, count.expected, limit)
  return { limit, ...rest }
})

/** A rate of 0 is no limit: undefined. */
export function rateOf({ rateLimit: option }: LimitOptions): Limit | undefined {
  if (option === undefined) return undefined
  const { limit, key, scope = 'worker' } = typeof option === 'object' && option !== null ? option : { limit: option, key: undefined }
  return { limit: parseRate(limit) ?? 0, key, scope }
}

export function slotsOf({ concurrency: option }: LimitOptions): Limit | undefined {
  if (option === undefined) return undefined
  const { limit, key, scope = 'cluster' } = typeof option === 'object' ? option : { limit: option, key: undefined }
  return { limit, key, scope }
}

/** The templates of keys in these options. */
export function templatesIn({ rateLimit: rate, concurrency: slots }: LimitOptions): readonly string[] {
  const keys = [typeof rate === 'object' && rate !== null ? rate.key : undefined, typeof slots === 'object' ? slots.key : undefined]
  return keys.filter((key) => key !== undefined)
}
