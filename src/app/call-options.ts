import type { ApplyOptions } from '../canvas/sig.js'
import { NotSupportedError, OptionInvalidError } from '../errors.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import { bool, isRecord, text } from '../internal/option-kinds.js'
import { isName, isShortText } from '../protocol/name.js'
import { retryPolicy } from './config-routing.js'
import { checkName } from './registry.js'
import { checkLimits } from './task-options.js'
import { unique } from './unique-options.js'

const names: NamesOf<Required<ApplyOptions>> = {
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
  checkNames(options, names)
  if (options.tx !== undefined) throw new NotSupportedError('the option tx', 'it needs a PostgreSQL broker')
  if (options.unique !== undefined) unique.parse(options.unique, 'unique')
  if (options.fairnessKey !== undefined) throw new NotSupportedError('the option fairnessKey', 'this version has no fair queues')
  checkPlace(options)
  const { ignoreResult, serializer, compression, stamps } = options
  if (ignoreResult !== undefined) bool.parse(ignoreResult, 'ignoreResult')
  if (serializer !== undefined) text.parse(serializer, 'serializer')
  if (compression !== undefined) text.parse(compression, 'compression')
  if (stamps !== undefined && !isRecord(stamps)) throw new OptionInvalidError('stamps', 'an object', stamps)
  // A worker could not read a message with another one.
  if (options.shadow !== undefined && !isName(options.shadow))
    throw new OptionInvalidError('shadow', '1 to 255 printable characters', options.shadow)
  if (options.headers !== undefined && !isRecord(options.headers)) throw new OptionInvalidError('headers', 'an object', options.headers)
  if (options.retry !== undefined && typeof options.retry !== 'boolean') retryPolicy.parse(options.retry, 'retry')
  checkLimits(options)
}

/** Null is no name: it would lead to the default queue, past the task's own and its route. */
function checkPlace({ queue, exchange, routingKey, priority }: ApplyOptions): void {
  if (queue !== undefined) checkName('queue', queue)
  if (exchange !== undefined && exchange !== '') checkName('exchange', exchange)
  if (routingKey !== undefined && !(typeof routingKey === 'string' && isShortText(routingKey)))
    throw new OptionInvalidError('routingKey', 'text of up to 255 printable characters', routingKey)
  if (priority !== undefined) checkPriority(priority)
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

/** Options of a call over those of its signature: what is given wins, but stamps that the signature has stay, as in Celery. */
export function withCallOptions(own: ApplyOptions, given: ApplyOptions): ApplyOptions {
  const merged: ApplyOptions = { ...own, ...withoutUndefined(given) }
  if (own.stamps !== undefined && given.stamps !== undefined) merged.stamps = { ...given.stamps, ...own.stamps }
  return merged
}

/** An option that is undefined was not given. */
export function withoutUndefined(options: { [K in keyof ApplyOptions]: ApplyOptions[K] | undefined }): ApplyOptions {
  // Filtered just here: no value is undefined any more.
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as ApplyOptions
}
