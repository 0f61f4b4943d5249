import type { JsonText } from './json-text.js'

/** States of a task (celery/states.py); a task may store names of its own, such as PROGRESS. */
export type State = 'PENDING' | 'RECEIVED' | 'STARTED' | 'PROGRESS' | 'SUCCESS' | 'FAILURE' | 'RETRY' | 'REVOKED' | (string & {})

/** A handle of a result as data: `[[id, parent], children]`, where children is null for one task (celery/result.py as_tuple). */
export type ResultTuple = readonly [readonly [id: string, parent: ResultTuple | null], readonly ResultTuple[] | null]

/** What a result backend stores of a task (celery-wire "Meta object"), in TypeScript's casing. */
export interface ResultMeta {
  readonly taskId: string
  readonly status: State
  /** The value; an error as `{exc_type, exc_message, exc_module}` in FAILURE, RETRY and REVOKED. `JsonText` when it is encoded already. */
  readonly result: unknown | JsonText
  readonly traceback: string | null
  readonly children: readonly ResultTuple[] | null
  /** ISO 8601 with its offset; null until the task is done. */
  readonly dateDone: string | null
  readonly groupId?: string
  readonly parentId?: string
  /** With `resultExtended` only, from here on. */
  readonly name?: string
  readonly args?: unknown
  readonly kwargs?: unknown
  readonly worker?: string
  readonly retries?: number
  readonly queue?: string
  readonly stampedHeaders?: readonly string[]
  readonly stamps?: Readonly<Record<string, unknown>>
}

/** SUCCESS, FAILURE and REVOKED: the task has ended. */
export function isReady(status: State): boolean {
  return status === 'SUCCESS' || status === 'FAILURE' || status === 'REVOKED'
}
