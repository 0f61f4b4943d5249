/** How a worker speaks of its tasks: the same words in every line. */
import { show } from '../errors.js'
import { type Logger, logs } from '../internal/logger.js'
import type { Outcome } from '../pool.js'
import type { RemoteErrorData } from '../protocol/remote-error.js'
import type { ActiveTask } from './active-task.js'

export function label({ head }: ActiveTask): string {
  return `${head.shadow ?? head.task}[${head.id}]`
}

export function fields({ head, delivery }: ActiveTask): Record<string, unknown> {
  return { task: head.task, task_id: head.id, queue: delivery.queue, retries: head.retries }
}

export function briefly({ excType, excMessage }: RemoteErrorData): string {
  return `${excType}(${excMessage.map((part) => show(part)).join(', ')})`
}

/** With at most six digits, as short as it is exact enough. */
function seconds(ms: number): string {
  return `${Number((ms / 1000).toFixed(6))}s`
}

export function tellSuccess(log: Logger, task: ActiveTask, { runtimeMs, repr }: Outcome & { status: 'success' }): void {
  if (logs(log, 'info'))
    log.info(
      { ...fields(task), run_ms: runtimeMs },
      `Task ${label(task)} succeeded in ${seconds(runtimeMs)}: ${repr.replaceAll('\n', '\\n')}`,
    )
}

export function logFailure(log: Logger, task: ActiveTask, { error: failure, expected }: Outcome & { status: 'failure' }): void {
  const { excType: type, excMessage: message, traceback: stack } = failure
  const error = { type, message, stack }
  if (expected) log.info({ ...fields(task), error }, `Task ${label(task)} raised expected: ${briefly(failure)}`)
  else
    log.error({ ...fields(task), error }, `Task ${label(task)} raised unexpected: ${briefly(failure)}${stack === null ? '' : `\n${stack}`}`)
}

export function logRevoked(log: Logger, task: ActiveTask, reason: string): void {
  log.info(fields(task), `Discarding ${reason} task: ${label(task)}`)
}
