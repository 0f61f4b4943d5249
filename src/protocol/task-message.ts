/** Task messages of protocol 2 as Python writes them (celery/app/amqp.py as_task_v2): the same headers, in the same order. */
import { OptionInvalidError } from '../errors.js'
import type { Serializer } from '../serializer.js'
import { encodeJson } from '../serializers/json.js'
import { JsonText } from './json-text.js'
import type { Message, MessageProperties } from './message.js'
import { setOwn } from './plain.js'
import { repr, reprArgs } from './repr.js'
import { encodeBody, type TaskBodyInput } from './task-body.js'
import { isBrokerHeader, isTaskHeader } from './task-headers.js'

/** One call of a task: all that Python writes. What is absent gets Celery's default. */
export interface TaskCall extends TaskBodyInput {
  readonly id: string
  readonly task: string
  readonly shadow?: string | null
  /** ISO 8601: `toIso(ms)`, or text that another message brought. */
  readonly etaIso?: string | null
  readonly expiresIso?: string | null
  /** Milliseconds that the broker may keep the message: written as text, never below "0". Set it where `expiresIso` is set. */
  readonly expirationMs?: number | null
  readonly retries?: number
  /** Seconds. */
  readonly timeLimit?: number | null
  /** Seconds. */
  readonly softTimeLimit?: number | null
  /** The first task of the workflow; the task itself by default. */
  readonly rootId?: string | null
  /** The task that sends this one. */
  readonly parentId?: string | null
  readonly group?: string | null
  readonly groupIndex?: number | null
  /** Shown in logs and events; Python's repr of the arguments by default (empty for `JsonText`). */
  readonly argsrepr?: string
  readonly kwargsrepr?: string
  /** The node that sends: `gen123@host`. */
  readonly origin?: string | null
  /** Null (the default): the task's definition in the worker decides. */
  readonly ignoreResult?: boolean | null
  readonly replacedTaskNesting?: number
  readonly stampedHeaders?: readonly string[] | null
  readonly stamps?: Readonly<Record<string, unknown>>
  /** Merged into the headers; a name of the protocol is refused with OptionInvalidError. */
  readonly customHeaders?: Readonly<Record<string, unknown>> | null
  /** celeriac's own headers: `limitKeysHeader`, `lockHeader`. */
  readonly ownHeaders?: Readonly<Record<string, unknown>> | undefined
  readonly priority?: number
  /** The caller's RPC queue. */
  readonly replyTo?: string
  /** 2 is persistent (the default), 1 transient. */
  readonly deliveryMode?: number
}

/** The message of a call; compress it afterwards, if at all. Throws EncodeError with the path of the value, OptionInvalidError for a reserved custom header. */
export function encodeTask(call: TaskCall, serializer: Serializer): Message {
  const properties: { -readonly [Key in keyof MessageProperties]: MessageProperties[Key] } = {
    correlationId: call.id,
    replyTo: call.replyTo ?? '',
    deliveryMode: call.deliveryMode ?? 2,
    priority: call.priority ?? 0,
  }
  if (call.expirationMs !== undefined && call.expirationMs !== null) properties.expiration = toExpiration(call.expirationMs)
  return {
    body: encodeBody(call, serializer),
    contentType: serializer.contentType,
    contentEncoding: serializer.contentEncoding,
    headers: encodeHeaders(call),
    properties,
  }
}

/** The `expiration` property: whole milliseconds, as text. */
function toExpiration(ms: number): string {
  return String(Math.max(0, Math.trunc(ms)))
}

function encodeHeaders(call: TaskCall): Record<string, unknown> {
  const headers: Record<string, unknown> = {
    lang: 'js',
    task: call.task,
    id: call.id,
    shadow: call.shadow ?? null,
    eta: call.etaIso ?? null,
    expires: call.expiresIso ?? null,
    group: call.group ?? null,
    group_index: call.groupIndex ?? null,
    retries: call.retries ?? 0,
    timelimit: [call.timeLimit ?? null, call.softTimeLimit ?? null],
    root_id: call.rootId ?? call.id,
    parent_id: call.parentId ?? null,
    argsrepr: call.argsrepr ?? (call.args instanceof JsonText ? '' : reprArgs(call.args)),
    kwargsrepr: call.kwargsrepr ?? (call.kwargs instanceof JsonText ? '' : repr(call.kwargs)),
    origin: call.origin ?? null,
    ignore_result: call.ignoreResult ?? null,
    replaced_task_nesting: call.replacedTaskNesting ?? 0,
    stamped_headers: call.stampedHeaders ?? null,
    stamps: call.stamps ?? {},
  }
  if (call.stamps !== undefined) checkData(call.stamps, 'stamps')
  const custom = call.customHeaders
  if (custom !== undefined && custom !== null) {
    for (const key of Object.keys(custom)) {
      if (isTaskHeader(key)) throw new OptionInvalidError(`headers.${key}`, 'a name that Celery does not use itself', custom[key])
      checkData(custom[key], `headers.${key}`)
      setOwn(headers, key, custom[key])
    }
  }
  if (call.ownHeaders !== undefined) Object.assign(headers, call.ownHeaders)
  return headers
}

/** Headers are data too, in whatever way the broker's driver writes them. Throws EncodeError with the path. */
const checkData = encodeJson

/** What changes when a message is sent again. */
export interface Resend {
  /** Protocol spelling: `{ retries: 1, eta: toIso(ms) }`. The others stay as they came. */
  readonly headers?: Readonly<Record<string, unknown>>
  readonly properties?: Partial<MessageProperties>
  /** A new body of the same content type, uncompressed. The bytes that came, by default. */
  readonly body?: string | Uint8Array
}

/** The same task again, for a retry or a requeue: same id, same bytes, only `changes` differ. What a broker wrote into the headers on the way is left out. */
export function resend(message: Message, changes: Resend): Message {
  const headers: Record<string, unknown> = {}
  for (const key of Object.keys(message.headers)) {
    if (isBrokerHeader(key) || (key === 'compression' && changes.body !== undefined)) continue
    setOwn(headers, key, message.headers[key])
  }
  for (const key of Object.keys(changes.headers ?? {})) setOwn(headers, key, changes.headers?.[key])
  return {
    body: changes.body ?? message.body,
    contentType: message.contentType,
    contentEncoding: message.contentEncoding,
    headers,
    properties: { ...message.properties, ...changes.properties },
  }
}
