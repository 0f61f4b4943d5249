/** What a result backend keeps of a task, as data and as the JSON that Python reads (celery/backends/base.py). */
import { DecodeError, show } from '../errors.js'
import { decodeJson, encodeJson } from '../serializers/json.js'
import { JsonText } from './json-text.js'
import { isName } from './name.js'
import { isRecord, setOwn } from './plain.js'

/** States of a task (celery/states.py); a task may store names of its own, such as PROGRESS. */
export type State = 'PENDING' | 'RECEIVED' | 'STARTED' | 'PROGRESS' | 'SUCCESS' | 'FAILURE' | 'RETRY' | 'REVOKED' | (string & {})

/** A handle of a result as data: `[[id, parent], children]`, where children is null for one task (celery/result.py as_tuple). */
export type ResultTuple = readonly [readonly [id: string, parent: ResultTuple | null], readonly ResultTuple[] | null]

/** The ids of all tasks and groups that a tuple names. */
export function idsIn([[id, parent], children]: ResultTuple): readonly string[] {
  return [id, ...(parent === null ? [] : idsIn(parent)), ...(children ?? []).flatMap(idsIn)]
}

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

/** The end of a task as it is to lie in a database: under which key (the task's id on SQLite), which text, and for how many seconds (0: for ever). */
export interface PlacedEnd {
  readonly key: string
  readonly text: string
  readonly seconds: number
}

/** SUCCESS, FAILURE and REVOKED: the task has ended. */
export function isReady(status: State): boolean {
  return status === 'SUCCESS' || status === 'FAILURE' || status === 'REVOKED'
}

/** A meta as JSON, its keys in Python's order. Throws EncodeError with a path that starts at `result`, `args`, `kwargs` or `stamps`. */
export function encodeMeta(meta: ResultMeta): string {
  const { status, result, traceback, children, dateDone } = meta
  // What nearly every meta has is written without asking a serializer.
  let text =
    `{"status":${JSON.stringify(status)},"result":${result instanceof JsonText ? result.text : encodeJson(result, 'result')}` +
    `,"traceback":${traceback === null ? 'null' : JSON.stringify(traceback)}` +
    `,"children":${children?.length === 0 ? '[]' : JSON.stringify(children)},"date_done":${JSON.stringify(dateDone)}`
  if (meta.groupId !== undefined) text += `,"group_id":${JSON.stringify(meta.groupId)}`
  if (meta.parentId !== undefined) text += `,"parent_id":${JSON.stringify(meta.parentId)}`
  if (meta.name !== undefined) text += extended(meta)
  return `${text},"task_id":${JSON.stringify(meta.taskId)}}`
}

// With result_extended Python writes all of these, null where it does not know.
function extended(meta: ResultMeta): string {
  let text =
    `,"name":${JSON.stringify(meta.name)},"args":${encodeJson(meta.args, 'args')},"kwargs":${encodeJson(meta.kwargs, 'kwargs')}` +
    `,"worker":${JSON.stringify(meta.worker ?? null)},"retries":${meta.retries ?? null},"queue":${JSON.stringify(meta.queue ?? null)}`
  const names = meta.stampedHeaders ?? []
  if (names.length === 0) return text
  text += `,"stamped_headers":${JSON.stringify(names)}`
  for (const name of names) {
    // A stamp with the name of a key of the meta would take its place.
    if (metaKeys.has(name) || !Object.hasOwn(meta.stamps ?? {}, name)) continue
    text += `,${JSON.stringify(name)}:${encodeJson(meta.stamps?.[name], `stamps.${name}`)}`
  }
  return text
}

const metaKeys: ReadonlySet<string> = new Set(
  'status result traceback children date_done group_id parent_id name args kwargs worker retries queue stamped_headers task_id'.split(' '),
)

/**
 * Reads a stored meta. `status`, `task_id` and the key `result` are required; other keys that are missing or of a wrong kind count as absent.
 * Throws DecodeError.
 */
export function decodeMeta(text: string | Uint8Array): ResultMeta {
  const value = decodeJson(text)
  if (!isRecord(value)) throw new DecodeError(`expected a stored result to be an object, got: ${show(value)}`)
  const { status, task_id: taskId } = value
  if (!isName(status)) throw new DecodeError(`expected status of a stored result to be the name of a state, got: ${show(status)}`)
  if (!isName(taskId)) throw new DecodeError(`expected task_id of a stored result to be text of 1 to 255 bytes, got: ${show(taskId)}`)
  if (!Object.hasOwn(value, 'result')) throw new DecodeError(`expected the stored result of task ${taskId} to have the key "result"`)
  const stampedHeaders = names(value.stamped_headers)
  return {
    taskId,
    status,
    result: value.result,
    traceback: string(value.traceback) ?? null,
    children: tuples(value.children),
    dateDone: string(value.date_done) ?? null,
    ...present('groupId', string(value.group_id)),
    ...present('parentId', string(value.parent_id)),
    ...present('name', string(value.name)),
    ...present('args', value.args ?? undefined),
    ...present('kwargs', value.kwargs ?? undefined),
    ...present('worker', string(value.worker)),
    ...present('retries', typeof value.retries === 'number' ? value.retries : undefined),
    ...present('queue', string(value.queue)),
    ...present('stampedHeaders', stampedHeaders),
    ...present('stamps', stampedHeaders && stamps(value, stampedHeaders)),
  }
}

const string = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

function present<Key extends string, Value>(key: Key, value: Value | undefined): { readonly [K in Key]?: Value } {
  // One key, with the name and the type that the parameters say.
  return value === undefined ? {} : ({ [key]: value } as { readonly [K in Key]?: Value })
}

function names(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.every((element) => typeof element === 'string') ? value : undefined
}

function stamps(meta: Readonly<Record<string, unknown>>, names: readonly string[]): Readonly<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const name of names) if (Object.hasOwn(meta, name) && !metaKeys.has(name)) setOwn(found, name, meta[name])
  return found
}

function tuples(value: unknown): readonly ResultTuple[] | null {
  return Array.isArray(value) ? value.filter(isResultTuple) : null
}

/** `[[id, parent], children]` all the way down. Depth is bounded by the JSON reader. */
export function isResultTuple(value: unknown): value is ResultTuple {
  if (!Array.isArray(value) || value.length !== 2) return false
  const [handle, children] = value as unknown[]
  if (!Array.isArray(handle) || handle.length !== 2 || !isName(handle[0])) return false
  if (handle[1] !== null && !isResultTuple(handle[1])) return false
  return children === null || (Array.isArray(children) && children.every(isResultTuple))
}
