import { OptionInvalidError } from '../errors.js'
import { parseDuration } from '../internal/duration.js'
import { bool, type Kind, kind, nullable, oneOf, seconds, secondsAbove0, text, wholeNumber } from '../internal/option-kinds.js'
import { name } from './config-kinds.js'
import { concurrency, rateLimit } from './limit-options.js'
import type { ErrorClass, TaskOptions } from './task.js'

const errorClasses = kind<ErrorClass[], ErrorClass[]>('a list of error classes', (value) =>
  Array.isArray(value) && value.every((item) => typeof item === 'function') ? value : undefined,
)
/** Given without the list around it. */
const isErrorClass = (value: unknown): boolean => value === Error || (typeof value === 'function' && value.prototype instanceof Error)
const functionOr = <T>(inner: Kind<T, unknown>): Kind<unknown, unknown> =>
  kind(`${inner.expected}, or a function`, (value, option) => (typeof value === 'function' ? value : inner.parse(value, option)))

/** What each option of a task may be. A wrong one is told where the task is defined, not by the worker that first runs it. */
const kinds: { readonly [K in keyof TaskOptions]?: Kind<never, unknown> | Kind<unknown, unknown> } = {
  queue: name,
  routingKey: name,
  priority: wholeNumber(0, 255),
  serializer: text,
  compression: oneOf('gzip', 'zlib', 'brotli', 'zstd'),
  expires: seconds,
  maxRetries: nullable(wholeNumber(0)),
  defaultRetryDelay: seconds,
  autoretryFor: kind(`${errorClasses.expected}, or a function`, (value, option) =>
    typeof value === 'function' && !isErrorClass(value) ? value : errorClasses.parse(value, option),
  ),
  dontAutoretryFor: errorClasses,
  retryBackoff: functionOr(
    kind('true, false or a duration above 0', (value) => (typeof value === 'boolean' ? value : parseDuration(value) || undefined)),
  ),
  retryBackoffMax: seconds,
  retryJitter: bool,
  rateLimit,
  timeLimit: secondsAbove0,
  softTimeLimit: secondsAbove0,
  acksLate: bool,
  acksOnFailureOrTimeout: bool,
  rejectOnWorkerLost: bool,
  trackStarted: bool,
  ignoreResult: bool,
  sendEvents: bool,
  storeErrorsEvenIfIgnored: bool,
  throws: errorClasses,
  pool: oneOf('async', 'threads', 'prefork'),
  concurrency,
  description: text,
}

/** Throws OptionInvalidError for a value of the wrong kind, and for a soft time limit over the hard one. */
export function checkTaskOptions(task: string, options: TaskOptions): void {
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue
    kinds[option as keyof TaskOptions]?.parse(value, `${option} of task ${task}`) // unknown names were refused before
  }
  checkLimits(options, ` of task ${task}`)
}

/** As Celery, a soft limit over the hard one is refused, which would never be reached. 0 is none of its own. Throws OptionInvalidError. */
export function checkLimits({ timeLimit, softTimeLimit }: Pick<TaskOptions, 'timeLimit' | 'softTimeLimit'>, where = ''): void {
  if (timeLimit !== undefined) seconds.parse(timeLimit, `timeLimit${where}`)
  if (softTimeLimit !== undefined) seconds.parse(softTimeLimit, `softTimeLimit${where}`)
  if (timeLimit === undefined || softTimeLimit === undefined) return
  const hard = seconds.parse(timeLimit, `timeLimit${where}`)
  if (hard > 0 && seconds.parse(softTimeLimit, `softTimeLimit${where}`) > hard)
    throw new OptionInvalidError(`softTimeLimit${where}`, `at most timeLimit (${hard} s)`, softTimeLimit)
}
