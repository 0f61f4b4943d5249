import type { Message } from '../protocol/message.js'
import type { TaskHead } from '../protocol/task-head.js'

/** Where a message came from. */
export interface Origin {
  readonly queue: string
  readonly redelivered: boolean
  /** Node name of the worker. */
  readonly worker: string
}

/** In ms. */
export interface RunLimits {
  readonly timeLimitMs: number | null
  readonly softTimeLimitMs: number | null
}

/**
 * What a pool is told of a message beside its body: plain data, as which it crosses to another process. A class, as all that lives as long as a message: see
 * decision 40.
 */
export class RunInfo {
  readonly id: string
  readonly rootId: string
  readonly parentId: string | null
  readonly retries: number
  readonly queue: string
  readonly redelivered: boolean
  readonly priority: number | null
  readonly headers: Readonly<Record<string, unknown>>
  readonly group: string | null
  /** Left out where there is nothing to say: most tasks are no part of anything. */
  readonly groupIndex?: number | undefined
  readonly replacedTaskNesting?: number | undefined
  readonly stamps?: Readonly<Record<string, unknown>> | undefined
  readonly etaMs?: number | undefined
  readonly expiresMs: number | null
  readonly softTimeLimitMs: number | null
  readonly timeLimitMs: number | null
  readonly worker: string

  constructor(message: Message, head: TaskHead, { softTimeLimitMs, timeLimitMs }: RunLimits, { queue, redelivered, worker }: Origin) {
    this.id = head.id
    this.rootId = head.rootId
    this.parentId = head.parentId
    this.retries = head.retries
    this.queue = queue
    this.redelivered = redelivered
    this.priority = message.properties.priority ?? null
    this.headers = head.customHeaders
    this.group = head.group
    this.groupIndex = head.groupIndex ?? undefined
    this.replacedTaskNesting = head.replacedTaskNesting === 0 ? undefined : head.replacedTaskNesting
    this.stamps = head.stampedHeaders === null ? undefined : head.stamps
    this.etaMs = head.etaMs ?? undefined
    this.expiresMs = head.expiresMs
    this.softTimeLimitMs = softTimeLimitMs
    this.timeLimitMs = timeLimitMs
    this.worker = worker
  }
}
