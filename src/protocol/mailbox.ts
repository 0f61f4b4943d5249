/** Broadcasts to workers (kombu/pidbox.py): the request that goes to everybody on the exchange `<namespace>.pidbox`. */
import { constants } from 'node:os'
import { InvalidMessageError, show } from '../errors.js'
import type { Serializer } from '../serializer.js'
import type { Message } from './message.js'
import { isName } from './name.js'
import { isRecord } from './plain.js'
import type { Destination, Exchange, Queue } from './topology.js'

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

/** A worker's own queue: each request comes to each of them. */
export const mailboxQueue = (name: string, namespace: string): Queue => privateQueue(name, pidboxExchange(namespace).name, '')

/** The exchange of all answers. */
export const replyExchange = (namespace: string): Exchange => ({
  name: `reply.${namespace}.pidbox`,
  type: 'direct',
  durable: false,
  autoDelete: false,
})

/** The queue of one who asks; `id` is also its routing key. */
export const replyQueue = (id: string, namespace: string): Queue =>
  privateQueue(`${id}.${replyExchange(namespace).name}`, replyExchange(namespace).name, id)

function privateQueue(name: string, exchange: string, routingKey: string): Queue {
  return { name, durable: false, exclusive: true, autoDelete: true, arguments: {}, bindings: [{ exchange, routingKey }] }
}

/** As a destination it means every worker of celeriac, and none of Python: no node has this name. For commands that Python does not have. */
export const ourWorkers = '*celeriac*'

/** Whether a request means this worker: by its name, else by the pattern, else as all others. Python's regular expressions are not run: they mean nobody here. */
export function isMeant({ destination, pattern, matcher }: Broadcast, hostname: string): boolean {
  if (destination !== null && destination.length > 0) return destination.includes(hostname) || destination.includes(ourWorkers)
  if (pattern === null || pattern === '' || matcher === null) return true
  return matcher === 'glob' && matchesGlob(pattern, hostname)
}

/** A shell pattern over the whole name: `*` any text, `?` one character, `[abc]` and `[!abc]` one of them or none of them. Costs at most the product of the lengths. */
export function matchesGlob(pattern: string, name: string): boolean {
  const parts = pattern.match(/\[!?\]?[^\]]*\]|[\s\S]/g) ?? []
  let ends = new Set([0])
  for (const part of parts) {
    const next = new Set<number>()
    // The first reaches all that the others do.
    if (part === '*') for (let end = Math.min(...ends); end <= name.length; end++) next.add(end)
    else
      for (const at of ends) {
        if (at < name.length && takesCharacter(part, name[at] ?? '')) next.add(at + 1)
      }
    ends = next
  }
  return ends.has(name.length)
}

function takesCharacter(part: string, character: string): boolean {
  if (part === '?') return true
  if (part.length === 1) return part === character
  const isNegated = part[1] === '!'
  const set = part.slice(isNegated ? 2 : 1, -1)
  let isIn = false
  for (let index = 0; index < set.length; index++) {
    const to = set[index + 1] === '-' && index + 2 < set.length ? set[index + 2] : undefined
    if (to === undefined) isIn ||= set[index] === character
    else {
      isIn ||= (set[index] ?? '') <= character && character <= to
      index += 2
    }
  }
  return isIn !== isNegated
}

/** An answer, for the queue that the request named. */
export function encodeReply(
  hostname: string,
  reply: unknown,
  serializer: Serializer,
  { ticket, clock }: { readonly ticket: string; readonly clock: number },
): Message {
  return {
    body: serializer.encode({ [hostname]: reply ?? null }, 'reply'),
    contentType: serializer.contentType,
    contentEncoding: serializer.contentEncoding,
    headers: { ticket, clock },
    properties: { deliveryMode: 1, priority: 0 },
  }
}

/** Who answered, and what. Throws InvalidMessageError. */
export function decodeReply(value: unknown): { readonly hostname: string; readonly reply: unknown } {
  if (!isRecord(value)) throw new InvalidMessageError(`expected an answer to be an object, got: ${show(value)}`)
  const [hostname, ...others] = Object.keys(value)
  if (hostname === undefined || others.length > 0)
    throw new InvalidMessageError('expected an answer to have one key: the name of its worker')
  return { hostname, reply: value[hostname] }
}

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

/** As a name of a worker, which it stands for. */
const longestPattern = 255

/** Checks a decoded request. Throws InvalidMessageError. */
export function decodeBroadcast(value: unknown): Broadcast {
  if (!isRecord(value)) throw new InvalidMessageError(`expected a broadcast to be an object, got: ${show(value)}`)
  const { method, ticket, destination, pattern, matcher, reply_to: reply } = value
  if (!isName(method)) throw invalid('method', 'a name', method)
  const args = value.arguments ?? {}
  if (!isRecord(args)) throw invalid('arguments', 'an object', args)
  if (!isAbsent(destination) && !isTexts(destination)) throw invalid('destination', 'an array of worker names', destination)
  if (!isAbsent(pattern) && (typeof pattern !== 'string' || pattern.length > longestPattern))
    throw invalid('pattern', `text of ${longestPattern} characters at most`, pattern)
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
  return { taskIds: ids, terminate: decodeFlag(args.terminate, 'terminate'), signal: decodeSignal(args.signal) }
}

/** Python's clients send 1 and 0 as well, Flower among them. Absent is false. Throws InvalidMessageError. */
export function decodeFlag(value: unknown, argument: string): boolean {
  if (isAbsent(value) || value === 0) return false
  if (value === 1) return true
  if (typeof value !== 'boolean') throw invalid(`arguments.${argument}`, 'true or false', value)
  return value
}

/** The name of a signal as Node has it: Python takes SIGTERM, TERM, term and 15; nothing is SIGTERM. Throws InvalidMessageError. */
export function decodeSignal(value: unknown): string {
  if (typeof value === 'number') {
    const named = Object.entries(constants.signals).find(([, number]) => number === value)
    if (named !== undefined) return named[0]
  }
  const signal = value ?? 'SIGTERM'
  if (typeof signal !== 'string' || !/^[A-Za-z0-9]{1,16}$/.test(signal))
    throw invalid('arguments.signal', 'the name or number of a signal', signal)
  const name = signal.toUpperCase()
  return name.startsWith('SIG') ? name : `SIG${name}`
}

const isAbsent = (value: unknown): value is null | undefined => value === null || value === undefined
const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((element) => typeof element === 'string')

const invalid = (where: string, expected: string, got: unknown): InvalidMessageError =>
  new InvalidMessageError(`expected ${where} of a broadcast to be ${expected}, got: ${show(got)}`)
