/** How a worker speaks of its tasks: the same words in every line. */
import { show } from '../errors.js'
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
export function seconds(ms: number): string {
  return `${Number((ms / 1000).toFixed(6))}s`
}
