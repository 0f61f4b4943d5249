/** How an exchange finds the queues of a message (AMQP 0-9-1), for the transports that route by themselves. Pure functions. */
import { BrokerFullError, NameInvalidError, NotSupportedError, show } from '../errors.js'
import type { Destination, Exchange, ExchangeType, Queue, Topology } from './topology.js'

/** The exchange types that `routes` knows. */
export const routedExchangeTypes: readonly ExchangeType[] = ['direct', 'topic', 'fanout']

/** Whether a binding with `bindingKey` takes a message with `routingKey`. */
export function routes(type: ExchangeType, bindingKey: string, routingKey: string): boolean {
  switch (type) {
    case 'direct':
      return bindingKey === routingKey
    case 'fanout':
      return true
    case 'topic':
      return matchesTopic(bindingKey, routingKey)
    case 'headers':
      return false
    default:
      return type satisfies never
  }
}

/**
 * Words between dots: `*` stands for one word, `#` for any number. No regular expression, since both keys come from the wire: after a mismatch only the
 * last `#` takes one word more, so the worst case is the product of the lengths.
 */
export function matchesTopic(bindingKey: string, routingKey: string): boolean {
  const pattern = bindingKey === '' ? [] : bindingKey.split('.')
  const words = routingKey === '' ? [] : routingKey.split('.')
  let at = 0
  let word = 0
  let lastHash = -1
  let wordAfterHash = 0
  while (word < words.length) {
    const expected = pattern[at]
    if (expected === '#') {
      lastHash = at
      wordAfterHash = word
      at += 1
    } else if (expected !== undefined && (expected === '*' || expected === words[word])) {
      at += 1
      word += 1
    } else if (lastHash !== -1) {
      at = lastHash + 1
      wordAfterHash += 1
      word = wordAfterHash
    } else return false
  }
  while (pattern[at] === '#') at += 1
  return at === pattern.length
}

/** Whether a message that no queue takes is an error of the sender: on the default and on direct exchanges it names one; the others are for whoever listens. */
export function mustRoute(to: Destination, type: ExchangeType): boolean {
  return to.exchange === '' || type === 'direct'
}

/** What two declarations of one queue must agree on, as text that compares and reads well. Bindings may be added later. */
export function queueDefinition(queue: Queue): string {
  const { durable, exclusive, autoDelete } = queue
  const names = Object.keys(queue.arguments).sort()
  return JSON.stringify({
    durable,
    exclusive,
    autoDelete,
    arguments: Object.fromEntries(names.map((name) => [name, queue.arguments[name]])),
  })
}

/** The same for an exchange. */
export function exchangeDefinition({ type, durable, autoDelete }: Exchange): string {
  return JSON.stringify({ type, durable, autoDelete })
}

/** RabbitMQ's arguments of a queue that these transports keep to; other names are stored and mean nothing here. */
export interface QueueLimits {
  /** `x-max-priority`: higher priorities count as this one. */
  readonly maxPriority: number
  /** `x-message-ttl`: a message that waits longer goes away. */
  readonly messageTtlMs: number | undefined
  /** `x-expires`: a queue without consumers for this long goes away. */
  readonly expiresMs: number | undefined
  /** `x-max-length`: messages that may wait. */
  readonly maxLength: number
  /** `x-max-length-bytes`: how large their bodies may be together. */
  readonly maxBytes: number
  /** `x-overflow`: of what is too much the sender is told (`reject-publish`); else those that would be delivered next go away. */
  readonly refusesOverflow: boolean
}

export function queueLimits(queueArguments: Readonly<Record<string, unknown>>): QueueLimits {
  return {
    maxPriority: wholeNumber(queueArguments['x-max-priority']) ?? 255,
    messageTtlMs: wholeNumber(queueArguments['x-message-ttl']),
    expiresMs: wholeNumber(queueArguments['x-expires']),
    maxLength: wholeNumber(queueArguments['x-max-length']) ?? Number.POSITIVE_INFINITY,
    maxBytes: wholeNumber(queueArguments['x-max-length-bytes']) ?? Number.POSITIVE_INFINITY,
    refusesOverflow: /^reject-publish/.test(String(queueArguments['x-overflow'])),
  }
}

/** What waits in a queue, or is added to it. */
export interface QueueLoad {
  readonly messages: number
  /** Of their bodies. */
  readonly bytes: number
}

export function isLimited({ maxLength, maxBytes }: QueueLimits): boolean {
  return maxLength !== Number.POSITIVE_INFINITY || maxBytes !== Number.POSITIVE_INFINITY
}

export function isOver({ maxLength, maxBytes }: QueueLimits, { messages, bytes }: QueueLoad): boolean {
  return messages > maxLength || bytes > maxBytes
}

/** Throws BrokerFullError when a queue that refuses what is too much has no room for one more. */
export function refuseOverflow(queue: string, limits: QueueLimits, load: QueueLoad, body: string | Uint8Array): void {
  if (!isOver(limits, { messages: load.messages + 1, bytes: load.bytes + bodyBytes(body) })) return
  throw new BrokerFullError(`the message was not published: the queue ${show(queue)} is full (${load.messages} messages wait in it)`)
}

export function bodyBytes(body: string | Uint8Array): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
}

/** A message's priority as these transports order it: 0 to the queue's highest. */
export function effectivePriority(priority: number | undefined, { maxPriority }: QueueLimits): number {
  if (priority === undefined || !Number.isFinite(priority)) return 0
  return Math.max(0, Math.min(maxPriority, Math.trunc(priority)))
}

/**
 * When a message goes away undelivered by the limit of its queue; undefined: never. Its own `expiration` does not count here (as in kombu's virtual
 * transports): a task that expired is delivered, so that a worker can tell its caller (REVOKED).
 */
export function messageExpiryMs({ messageTtlMs }: QueueLimits, availableMs: number): number | undefined {
  return messageTtlMs === undefined ? undefined : availableMs + messageTtlMs
}

function wholeNumber(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** Refuses names and exchange types that cannot be declared, before anything is. `types` are those that the broker has. */
export function checkTopology({ exchanges, queues }: Topology, types: readonly ExchangeType[] = routedExchangeTypes): void {
  for (const { name, type } of exchanges) {
    checkName('exchange', name)
    if (!types.includes(type))
      throw new NotSupportedError(`the exchange type ${show(type)}`, `this broker has ${types.join(', ')} exchanges`)
  }
  for (const { name } of queues) checkName('queue', name)
}

function checkName(kind: string, name: string): void {
  if (name.length === 0 || name.length > 255 || hasControlCharacter(name)) throw new NameInvalidError(kind, name)
}

function hasControlCharacter(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
