/** A message of ours as one of AMQP, and back (celery-wire: "AMQP specifics"). */
import { isUtf8 } from 'node:buffer'
import { EncodeError } from '../../errors.js'
import type { AmqpMessage, PublishProperties } from '../../internal/amqp/amqplib.js'
import { type Message, type MessageProperties, ReadMessage } from '../../protocol/message.js'
import { isRecord } from '../../protocol/plain.js'
import type { Destination } from '../../protocol/topology.js'

/** Ours: how often a run of the message ended abnormally, as far as the broker does not count. It stands in every message that we put back by hand. */
export const deliveriesHeader = 'x-celeriac-deliveries'
/** Ours: what a dead letter is about. */
export const deadHeader = 'x-celeriac-dead'

/** Written by the broker or by us about a delivery: no task sees them, and none is published again (the broker would take a new message for one on a round trip). */
const aboutDelivery =
  /^(x-celeriac-(deliveries|dead)|x-delivery-count|x-acquired-count|x-death|x-(first|last)-death-(exchange|queue|reason)|x-opt-rabbitmq-.*)$/

export interface Incoming {
  readonly message: Message
  readonly redelivered: boolean
  readonly deliveries: number
}

/** What is published of a message. */
export interface Outgoing {
  readonly content: Buffer
  readonly properties: PublishProperties
}

/** Throws EncodeError when a header is not data. */
export function writeMessage({ body, contentType, contentEncoding, headers, properties }: Message): Outgoing {
  const { correlationId, replyTo, deliveryMode = 2, priority } = properties
  return {
    // A copy: it may be written a moment later.
    content: typeof body === 'string' ? Buffer.from(body, 'utf8') : Buffer.from(body),
    properties: {
      contentType,
      contentEncoding,
      headers: writeHeaders(headers),
      deliveryMode,
      // `expiration` is left out: the broker would drop an expired task without a word. The header `expires` lets its worker tell the end.
      ...(priority === undefined ? {} : { priority: Math.max(0, Math.min(255, Math.trunc(priority) || 0)) }),
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(replyTo === undefined ? {} : { replyTo }),
    },
  }
}

export function readMessage(raw: AmqpMessage): Incoming {
  const { content, fields, properties } = raw
  const { contentType = 'application/data', contentEncoding = 'utf-8' } = properties
  const given = properties.headers ?? noHeaders
  const headers = readHeaders(given)
  const isText = isUtf8Name(contentEncoding) && typeof headers.compression !== 'string' && isUtf8(content)
  const deliveries = deliveriesOf(raw)
  return {
    message: new ReadMessage(
      isText ? content.toString('utf8') : new Uint8Array(content),
      contentType,
      contentEncoding,
      headers,
      readProperties(properties),
    ),
    redelivered: fields.redelivered || deliveries > 0 || given[deliveriesHeader] !== undefined,
    deliveries,
  }
}

const noHeaders: Readonly<Record<string, unknown>> = {}

function isUtf8Name(encoding: string): boolean {
  return encoding === 'utf-8' || /^utf-?8$/i.test(encoding)
}

function readProperties({ correlationId, replyTo, deliveryMode, priority, expiration }: AmqpMessage['properties']): MessageProperties {
  const read: { -readonly [K in keyof MessageProperties]: MessageProperties[K] } = {}
  if (correlationId !== undefined) read.correlationId = correlationId
  if (replyTo !== undefined) read.replyTo = replyTo
  if (deliveryMode !== undefined) read.deliveryMode = deliveryMode
  if (priority !== undefined) read.priority = priority
  if (expiration !== undefined) read.expiration = expiration
  return read
}

/** How often a run of it ended abnormally: as the broker counts, and as we do where it does not. */
export function deliveriesOf({ properties: { headers } }: AmqpMessage): number {
  return headers === undefined ? 0 : countOf(headers[deliveriesHeader]) + countOf(headers['x-delivery-count'])
}

/** The message as it came, to be published again: nothing of it is lost but what the broker said about its delivery. */
export function again(raw: AmqpMessage, more: Readonly<Record<string, unknown>>): Outgoing {
  // `userId` must be that of who publishes, and the broker checks it.
  const { userId: _, ...properties } = raw.properties as AmqpMessage['properties'] & { readonly userId?: unknown } // the library gives all that AMQP has
  const headers: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(raw.properties.headers ?? {})) if (!aboutDelivery.test(name)) headers[name] = value
  return { content: raw.content, properties: { ...defined(properties), headers: { ...headers, ...more } } }
}

/** Where a message that was delayed by the broker was sent to in the first place: its routing key begins with the bits of the wait. */
export function sentTo(raw: AmqpMessage, queue: string): Destination {
  const { exchange, routingKey } = raw.fields
  const delayed = /^(?:[01]\.){28}(.*)$/s.exec(routingKey)?.[1]
  if (delayed === undefined) return { exchange, routingKey }
  return delayed === ownDelayKey(queue) ? { exchange: '', routingKey: queue } : { exchange, routingKey: delayed }
}

/** The routing key behind the bits for a queue that is delayed for by itself, whatever exchange it has. */
export function ownDelayKey(queue: string): string {
  return `celeriac.${queue}`
}

function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}

/** As they are, where nothing in them is ours, the broker's, or the library's: most messages. */
function readHeaders(given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let isPlain = Object.getPrototypeOf(given) === Object.prototype
  for (const name in given) {
    const value = given[name]
    if (name.startsWith('x-') || (typeof value === 'object' && value !== null && !isSimple(value))) isPlain = false
  }
  if (isPlain) return given
  const headers: Record<string, unknown> = {}
  for (const name of Object.keys(given)) if (!aboutDelivery.test(name)) headers[name] = plain(given[name])
  return headers
}

/** A list of no more than texts, numbers and nulls, or an empty object: what Celery writes. */
function isSimple(value: object): boolean {
  if (Array.isArray(value)) return value.every((item) => typeof item !== 'object' || item === null)
  for (const _ in value) return false
  return isRecord(value)
}

/** Of the library's own forms: bytes and times have no place in headers that are data. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8')
  if (Array.isArray(value)) return value.map(plain)
  if (!isRecord(value)) return value
  if (Object.hasOwn(value, '!')) return value.value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]))
}

function writeHeaders(headers: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const written: Record<string, unknown> = {}
  for (const name of Object.keys(headers)) written[name] = writable(headers[name], name)
  return written
}

/** A copy: what the sender changes later does not change the message. */
function writable(value: unknown, path: string): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return value
    case 'number':
      if (!Number.isFinite(value)) throw new EncodeError(`headers.${path}`, `cannot be written: ${value}`)
      return value
    case 'object':
      if (value === null) return null
      if (Array.isArray(value)) return value.map((item, index) => writable(item, `${path}[${index}]`))
      if (isRecord(value) && !Object.hasOwn(value, '!'))
        return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, writable(item, `${path}.${name}`)]))
      break
  }
  throw new EncodeError(`headers.${path}`, 'cannot be written: it is not data')
}

function defined<T extends object>(given: T): Partial<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<T> // some of its own fields
}
