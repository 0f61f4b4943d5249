import { toMs } from '../internal/duration.js'
import type { TaskRequest } from '../pool.js'
import type { Message } from '../protocol/message.js'
import type { TaskHead } from '../protocol/task-head.js'
import type { AppCore } from './core.js'
import type { RunInfo } from './run-info.js'
import type { TaskDefinition } from './task.js'

/** Where a message came from. */
export interface Origin {
  readonly queue: string
  readonly redelivered: boolean
  /** Node name of the worker. */
  readonly worker: string
}

/** What a pool runs: the message's body as it came, and beside it what its head says. */
export function requestOf(
  core: AppCore,
  message: Message,
  head: TaskHead,
  task: TaskDefinition | undefined,
  { queue, redelivered, worker }: Origin,
): TaskRequest {
  const timeLimitMs = limitMs(head.timeLimit, task?.options.timeLimit, core.config.taskTimeLimit)
  const softTimeLimitMs = limitMs(head.softTimeLimit, task?.options.softTimeLimit, core.config.taskSoftTimeLimit)
  const info: RunInfo = {
    id: head.id,
    rootId: head.rootId,
    parentId: head.parentId,
    retries: head.retries,
    queue,
    redelivered,
    priority: message.properties.priority ?? null,
    headers: head.customHeaders,
    group: head.group,
    groupIndex: head.groupIndex ?? undefined,
    replacedTaskNesting: head.replacedTaskNesting === 0 ? undefined : head.replacedTaskNesting,
    stamps: head.stampedHeaders === null ? undefined : head.stamps,
    etaMs: head.etaMs ?? undefined,
    expiresMs: head.expiresMs,
    softTimeLimitMs,
    timeLimitMs,
    worker,
  }
  return {
    id: head.id,
    task: head.task,
    body: message.body,
    contentType: message.contentType,
    contentEncoding: message.contentEncoding,
    context: info as unknown as TaskRequest['context'], // plain data, read back by execute
    compression: head.compression ?? undefined,
    softTimeLimitMs: softTimeLimitMs ?? undefined,
    timeLimitMs: timeLimitMs ?? undefined,
  }
}

/** The call's limit, else the task's, else the config's; in ms. */
function limitMs(ofCall: number | null, ofTask: TaskDefinition['options']['timeLimit'], ofConfig: number | null): number | null {
  if (ofCall !== null) return ofCall * 1000
  if (ofTask !== undefined) return toMs(ofTask, 'timeLimit')
  return ofConfig === null ? null : ofConfig * 1000
}
