import { toMs } from '../internal/duration.js'
import type { TaskRequest } from '../pool.js'
import type { Message } from '../protocol/message.js'
import type { TaskHead } from '../protocol/task-head.js'
import type { AppCore } from './core.js'
import { type Origin, RunInfo, type RunLimits } from './run-info.js'
import type { TaskDefinition } from './task.js'

/** What a pool runs: the message's body as it came, and beside it what its head says. */
export function requestOf(core: AppCore, message: Message, head: TaskHead, task: TaskDefinition | undefined, origin: Origin): TaskRequest {
  const limits = {
    timeLimitMs: limitMs(head.timeLimit, task?.options.timeLimit, core.config.taskTimeLimit),
    softTimeLimitMs: limitMs(head.softTimeLimit, task?.options.softTimeLimit, core.config.taskSoftTimeLimit),
  }
  return new Request(message, head, limits, new RunInfo(message, head, limits, origin))
}

/** A class, as all that lives as long as a message: see decision 40. */
class Request implements TaskRequest {
  readonly id: string
  readonly task: string
  readonly body: TaskRequest['body']
  readonly contentType: string
  readonly contentEncoding: string
  readonly compression: string | undefined
  readonly context: TaskRequest['context']
  readonly softTimeLimitMs: number | undefined
  readonly timeLimitMs: number | undefined

  constructor(message: Message, head: TaskHead, { softTimeLimitMs, timeLimitMs }: RunLimits, info: RunInfo) {
    this.id = head.id
    this.task = head.task
    this.body = message.body
    this.contentType = message.contentType
    this.contentEncoding = message.contentEncoding
    this.compression = head.compression ?? undefined
    this.context = info as unknown as TaskRequest['context'] // plain data, read back by execute
    this.softTimeLimitMs = softTimeLimitMs ?? undefined
    this.timeLimitMs = timeLimitMs ?? undefined
  }
}

/** The call's limit, else the task's, else the config's; in ms. */
function limitMs(ofCall: number | null, ofTask: TaskDefinition['options']['timeLimit'], ofConfig: number | null): number | null {
  if (ofCall !== null) return ofCall * 1000
  if (ofTask !== undefined) return toMs(ofTask, 'timeLimit')
  return ofConfig === null ? null : ofConfig * 1000
}
