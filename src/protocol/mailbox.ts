/** Broadcasts to workers (kombu/pidbox.py): the request that goes to everybody on the exchange `<namespace>.pidbox`. */
import { InvalidMessageError, show } from '../errors.js'
import type { Serializer } from '../serializer.js'
import type { Message } from './message.js'
import { isName } from './name.js'
import { isRecord } from './plain.js'
import type { Destination, Exchange } from './topology.js'

export interface Broadcast {
  readonly method: string
  readonly arguments: Readonly<Record<string, unknown>>
  /** Names of the workers that are meant; null is all. */
  readonly destination: readonly string[] | null
  /** Workers whose name fits, when no destination is given. */
  readonly pattern: string | null
  readonly matcher: 'glob' | 'pcre' | null
  /** Both only when an answer is wanted. */
  readonly ticket?: string
  readonly replyTo?: Destination
}

/** The exchange of all broadcasts of a namespace (`controlExchange`), as Celery declares it. */
export const pidboxExchange = (namespace: string): Exchange => ({
  name: `${namespace}.pidbox`,
  type: 'fanout',
  durable: false,
  autoDelete: false,
})

/** Ids of tasks that must not start; `terminate` also ends those that run. */
export interface RevokeRequest {
  readonly taskIds: readonly string[]
  readonly terminate: boolean
  /** The name of the signal that ends the process: SIGTERM. */
  readonly signal: string
}

/** `clock` is the sender's logical clock; `expiresAtMs` is until when an answer is awaited. */
export function encodeBroadcast(
  broadcast: Broadcast,
  serializer: Serializer,
  { clock, expiresAtMs }: { clock: number; expiresAtMs?: number },
): Message {
  const { method, destination, pattern, matcher, ticket, replyTo } = broadcast
  const body: Record<string, unknown> = { method, arguments: broadcast.arguments, destination, pattern, matcher }
  if (ticket !== undefined) body.ticket = ticket
  if (replyTo !== undefined) body.reply_to = { exchange: replyTo.exchange, routing_key: replyTo.routingKey }
  return {
    body: serializer.encode(body, method),
    contentType: serializer.contentType,
    contentEncoding: serializer.contentEncoding,
    headers: { clock, expires: expiresAtMs === undefined ? 0 : expiresAtMs / 1000 },
    properties: { deliveryMode: 2, priority: 0 },
  }
}

/** Checks a decoded request. Throws InvalidMessageError. */
export function decodeBroadcast(value: unknown): Broadcast {
  if (!isRecord(value)) throw new InvalidMessageError(`expected a broadcast to be an object, got: ${show(value)}`)
  const { method, ticket, destination, pattern, matcher, reply_to: reply } = value
  if (!isName(method)) throw invalid('method', 'a name', method)
  const args = value.arguments ?? {}
  if (!isRecord(args)) throw invalid('arguments', 'an object', args)
  if (!isAbsent(destination) && !isTexts(destination)) throw invalid('destination', 'an array of worker names', destination)
  if (!isAbsent(pattern) && typeof pattern !== 'string') throw invalid('pattern', 'text', pattern)
  if (!isAbsent(matcher) && matcher !== 'glob' && matcher !== 'pcre') throw invalid('matcher', '"glob" or "pcre"', matcher)
  const request: Broadcast = {
    method,
    arguments: args,
    destination: destination ?? null,
    pattern: pattern ?? null,
    matcher: matcher ?? null,
    ...(typeof ticket === 'string' ? { ticket } : {}),
  }
  return isAbsent(reply) ? request : { ...request, replyTo: decodeReplyTo(reply) }
}

function decodeReplyTo(value: unknown): Destination {
  if (!isRecord(value) || typeof value.exchange !== 'string' || !isName(value.routing_key)) {
    throw invalid('reply_to', 'an object with exchange and routing_key', value)
  }
  return { exchange: value.exchange, routingKey: value.routing_key }
}

/** The arguments of the command `revoke`, in Celery's spelling. */
export function encodeRevoke({ taskIds, terminate, signal }: RevokeRequest): Readonly<Record<string, unknown>> {
  return { task_id: taskIds.length === 1 ? taskIds[0] : taskIds, terminate, signal }
}

/** Reads the arguments of `revoke`: one id or several. Throws InvalidMessageError. */
export function decodeRevoke(args: Readonly<Record<string, unknown>>): RevokeRequest {
  const ids = typeof args.task_id === 'string' ? [args.task_id] : args.task_id
  if (!Array.isArray(ids) || !ids.every(isName)) throw invalid('arguments.task_id', 'an id or an array of ids', args.task_id)
  return { taskIds: ids, ...decodeTermination(args) }
}

/** Stamps that tasks must not have to be started; `terminate` also ends those that run. */
export interface RevokeByStampsRequest extends Pick<RevokeRequest, 'terminate' | 'signal'> {
  /** Values by name: one of them is enough. */
  readonly stamps: ReadonlyMap<string, readonly unknown[]>
}

/** Reads the arguments of `revoke_by_stamped_headers`: an object of values, or texts such as `"name=value"`. Throws InvalidMessageError. */
export function decodeRevokeByStamps(args: Readonly<Record<string, unknown>>): RevokeByStampsRequest {
  const { headers } = args
  const stamps = new Map<string, readonly unknown[]>()
  const add = (name: string, values: readonly unknown[]): void => void stamps.set(name, [...(stamps.get(name) ?? []), ...values])
  if (isRecord(headers)) for (const [name, value] of Object.entries(headers)) add(name, Array.isArray(value) ? value : [value])
  else if (isTexts(headers))
    for (const text of headers) {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? []
      if (name === undefined) throw invalid('arguments.headers', 'texts such as "name=value"', text)
      add(name, [value])
    }
  else throw invalid('arguments.headers', 'an object of stamps', headers)
  return { stamps, ...decodeTermination(args) }
}

function decodeTermination(args: Readonly<Record<string, unknown>>): Pick<RevokeRequest, 'terminate' | 'signal'> {
  const terminate = args.terminate ?? false
  if (typeof terminate !== 'boolean') throw invalid('arguments.terminate', 'true or false', terminate)
  const signal = args.signal ?? 'SIGTERM'
  // Python takes SIGTERM, TERM and term.
  if (typeof signal !== 'string' || !/^[A-Za-z0-9]{1,16}$/.test(signal)) throw invalid('arguments.signal', 'the name of a signal', signal)
  const name = signal.toUpperCase()
  return { terminate, signal: name.startsWith('SIG') ? name : `SIG${name}` }
}

const isAbsent = (value: unknown): value is null | undefined => value === null || value === undefined
const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((element) => typeof element === 'string')

const invalid = (where: string, expected: string, got: unknown): InvalidMessageError =>
  new InvalidMessageError(`expected ${where} of a broadcast to be ${expected}, got: ${show(got)}`)
