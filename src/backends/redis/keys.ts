/** Names of Celery's result keys (celery/backends/base.py), and of ours beside them. */
import { DecodeError } from '../../errors.js'
import { decodeMeta, type ResultMeta } from '../../protocol/result.js'
import { storedText } from './stored-text.js'

export interface ChordKeys {
  readonly parts: string
  readonly growth: string
  readonly size: string
  readonly counted: string
  readonly claim: string
  readonly ours: string
}

export class ResultKeys {
  readonly #prefix: string
  readonly #task: string

  /** `globalKeyprefix` stands before all names; an underscore follows it unless it ends in one of `: _ - .` itself, as in Celery. */
  constructor(globalKeyprefix: string) {
    this.#prefix = globalKeyprefix === '' || /[:_.-]$/.test(globalKeyprefix) ? globalKeyprefix : `${globalKeyprefix}_`
    this.#task = `${this.#prefix}celery-task-meta-`
  }

  /** Where a task's meta is kept, and the channel on which each new one is published. */
  task(taskId: string): string {
    return this.#task + taskId
  }

  /** The task of a key or channel that `task` made. */
  taskId(key: string): string {
    return key.slice(this.#task.length)
  }

  group(groupId: string): string {
    return `${this.#prefix}celery-taskset-meta-${groupId}`
  }

  /** What belongs to a chord, beside its group's own key (chord-scripts.ts). */
  chord(groupId: string): ChordKeys {
    const key = this.group(groupId)
    return {
      parts: `${key}.j`,
      growth: `${key}.t`,
      size: `${key}.s`,
      counted: `${key}.d`,
      claim: `${key}.c`,
      ours: `${key}.celeriac`,
    }
  }

  /** A sorted set of revoked tasks, by when each is forgotten (ms since the epoch, by the server's clock). */
  get revoked(): string {
    return `${this.#prefix}celeriac.revoked`
  }

  /** Throws DecodeError, which names the key. */
  decode(taskId: string, bytes: Buffer): ResultMeta {
    let meta: ResultMeta
    try {
      meta = decodeMeta(storedText(bytes))
    } catch (cause) {
      throw this.#unreadable(taskId, cause instanceof Error ? cause.message : String(cause), cause)
    }
    if (meta.taskId !== taskId) throw this.#unreadable(taskId, `it is the result of task ${meta.taskId}`)
    return meta
  }

  #unreadable(taskId: string, reason: string, cause?: unknown): DecodeError {
    return new DecodeError(
      `the value of the Redis key ${JSON.stringify(this.task(taskId))} is not a result that can be read: ${reason}. ` +
        'Python peers must write results as JSON (result_serializer = "json").',
      { cause },
    )
  }
}
