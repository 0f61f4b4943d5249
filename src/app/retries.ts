import { OptionInvalidError } from '../errors.js'
import { toMs } from '../internal/duration.js'
import type { TaskContext } from './context.js'
import type { TaskDefinition } from './task.js'

/** Celery's default for `max_retries`. */
export const defaultMaxRetries = 3
const defaultRetryDelaySeconds = 180
const defaultBackoffMaxSeconds = 600

/** Whether an error that a task threw is retried without asking (celery/app/autoretry.py). */
export function retriesByItself(task: TaskDefinition, error: unknown, ctx: TaskContext): boolean {
  const { autoretryFor, dontAutoretryFor = [] } = task.options
  if (autoretryFor === undefined || dontAutoretryFor.some((errorClass) => error instanceof errorClass)) return false
  if (typeof autoretryFor === 'function') {
    const answer: unknown = autoretryFor(error, ctx)
    // It would count as a yes, whatever comes of it.
    if (answer instanceof Promise) throw new OptionInvalidError('what autoretryFor gives', 'true or false, and not a promise', answer)
    return Boolean(answer)
  }
  return autoretryFor.some((errorClass) => error instanceof errorClass)
}

/**
 * How long to wait before the next run, in ms: the task's backoff if it has one, else its delay.
 * As Celery: factor * 2^retries, at most retryBackoffMax, and with jitter any whole number of seconds up to that; of milliseconds, where the factor is below a second.
 */
export function retryDelayMs(task: TaskDefinition, retries: number, error: unknown, random: () => number): number {
  const {
    retryBackoff = false,
    retryBackoffMax = defaultBackoffMaxSeconds,
    retryJitter = true,
    defaultRetryDelay = defaultRetryDelaySeconds,
  } = task.options
  if (retryBackoff === false) return toMs(defaultRetryDelay, 'defaultRetryDelay')
  if (typeof retryBackoff === 'function') return toMs(retryBackoff(retries, error), 'retryBackoff')
  const firstMs = retryBackoff === true ? 1_000 : toMs(retryBackoff, 'retryBackoff')
  const waitMs = Math.min(toMs(retryBackoffMax, 'retryBackoffMax'), firstMs * 2 ** retries)
  const unitMs = firstMs < 1_000 ? 1 : 1_000
  return retryJitter ? Math.floor(random() * (Math.floor(waitMs / unitMs) + 1)) * unitMs : waitMs
}
