/** Protocol 1, which Celery 3 wrote and `task_protocol=1` still writes: everything is in the body. It is turned into protocol 2 at the door. */
import { EncodeError, InvalidMessageError, show } from '../errors.js'
import type { Serializer } from '../serializer.js'
import type { Message } from './message.js'
import { isRecord, setOwn } from './plain.js'
import { repr, reprArgs } from './repr.js'
import { encodeBody, type TaskBodyInput } from './task-body.js'

/**
 * The same task as a message of protocol 2, its body written again by `serializer`. For messages that `isProtocol2` denies, with their decoded body.
 * Throws InvalidMessageError when it is neither protocol.
 */
export function upgradeProtocol1(message: Message, body: unknown, serializer: Serializer): Message {
  if (!isRecord(body) || body.task === undefined) {
    throw new InvalidMessageError(`unknown protocol: the message has no header "task", and its body is no protocol 1 task: ${show(body)}`)
  }
  const args = body.args ?? []
  const kwargs = body.kwargs ?? {}
  if (!Array.isArray(args)) throw new InvalidMessageError(`expected args of a protocol 1 task to be an array, got: ${show(args)}`)
  if (!isRecord(kwargs)) throw new InvalidMessageError(`expected kwargs of a protocol 1 task to be an object, got: ${show(kwargs)}`)
  const headers: Record<string, unknown> = {
    lang: body.lang ?? 'py',
    task: body.task,
    id: body.id,
    shadow: body.shadow ?? null,
    eta: body.eta ?? null,
    expires: body.expires ?? null,
    group: body.group ?? body.taskset ?? null,
    group_index: body.group_index ?? null,
    retries: body.retries ?? 0,
    timelimit: body.timelimit ?? [null, null],
    root_id: body.root_id ?? null,
    parent_id: body.parent_id ?? null,
    argsrepr: body.argsrepr ?? reprArgs(args),
    kwargsrepr: body.kwargsrepr ?? repr(kwargs),
    origin: body.origin ?? null,
  }
  const sent = isRecord(message.headers) ? message.headers : {}
  // The new body is not compressed.
  for (const key of Object.keys(sent)) if (key !== 'compression') setOwn(headers, key, sent[key])
  // Their shape is checked where the body is read: decodeBody.
  const embed = { callbacks: links(body.callbacks), errbacks: links(body.errbacks), chain: null, chord: body.chord ?? null }
  return {
    body: rewritten({ args, kwargs, embed }, serializer),
    contentType: serializer.contentType,
    contentEncoding: serializer.contentEncoding,
    headers,
    properties: message.properties,
  }
}

/** A body that was read may hold what is not written: NaN. */
function rewritten(body: TaskBodyInput, serializer: Serializer): string | Uint8Array {
  try {
    return encodeBody(body, serializer)
  } catch (cause) {
    if (!(cause instanceof EncodeError)) throw cause
    throw new InvalidMessageError(`a protocol 1 task cannot be written as protocol 2: ${cause.message}`, { cause })
  }
}

function links(value: unknown): readonly unknown[] | null {
  if (value === null || value === undefined) return null
  return Array.isArray(value) ? value : [value]
}
