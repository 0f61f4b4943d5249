import type { ApplyOptions } from '../canvas/sig.js'
import { NotSupportedError, OptionInvalidError, OptionUnknownError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { checkLimits } from './task-options.js'
import { unique } from './unique-options.js'

const names: Readonly<Record<keyof ApplyOptions, true>> = {
  taskId: true,
  countdown: true,
  eta: true,
  expires: true,
  queue: true,
  exchange: true,
  routingKey: true,
  priority: true,
  serializer: true,
  compression: true,
  timeLimit: true,
  softTimeLimit: true,
  ignoreResult: true,
  headers: true,
  shadow: true,
  link: true,
  linkError: true,
  stamps: true,
  retry: true,
  signal: true,
  tx: true,
  unique: true,
  fairnessKey: true,
}

/** Throws for options that do not exist, contradict each other, or need what this version does not have: none is ever ignored. */
export function checkCallOptions(options: ApplyOptions): void {
  for (const name in options) if (!Object.hasOwn(names, name)) throw new OptionUnknownError(name, didYouMean(name, Object.keys(names)))
  if (options.tx !== undefined) throw new NotSupportedError('the option tx', 'it needs a PostgreSQL broker')
  if (options.unique !== undefined) unique.parse(options.unique, 'unique')
  if (options.fairnessKey !== undefined) throw new NotSupportedError('the option fairnessKey', 'this version has no fair queues')
  checkLimits(options)
}

/** Throws OptionInvalidError: a worker could not read a message with another one. */
export function checkPriority(priority: number): number {
  if (Number.isInteger(priority) && priority >= 0 && priority <= 255) return priority
  throw new OptionInvalidError('priority', 'a whole number from 0 to 255', priority)
}

/** In ms since the epoch. Throws OptionInvalidError. */
export function timeOf(date: Date, option: string): number {
  const ms = date instanceof Date ? date.getTime() : Number.NaN
  if (Number.isNaN(ms)) throw new OptionInvalidError(option, 'a valid Date', date)
  return ms
}
