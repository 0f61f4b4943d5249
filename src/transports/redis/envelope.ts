/** kombu's envelope: the one JSON object that a message is on a list or channel (celery-wire: "Envelope"). */
import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { CeleriacError, DecodeError, TooLargeError } from '../../errors.js'
import { toHeadText } from '../../protocol/head-text.js'
import { type Message, type MessageProperties, ReadMessage } from '../../protocol/message.js'
import { isRecord } from '../../protocol/plain.js'
import type { Destination } from '../../protocol/topology.js'
import { decodeJson } from '../../serializers/json.js'

export interface Opened {
  readonly message: Message
  readonly to: Destination
  readonly redelivered: boolean
  /** How often its worker or lease was lost, as our sweeps have counted it. */
  readonly deliveries: number
}

/** Our own property: kombu carries it and reads nothing into it. */
const deliveriesKey = 'celeriac_deliveries'

/** Throws when a header is not data. */
export function writeEnvelope(message: Message, to: Destination): string {
  const { body, contentType, contentEncoding, headers, properties } = message
  const base64 = (
    typeof body === 'string' ? Buffer.from(body, 'utf8') : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  ).toString('base64')
  const expiration = properties.expiration === undefined ? '' : `, "expiration": ${JSON.stringify(properties.expiration)}`
  return (
    `{"body": "${base64}", "content-encoding": ${quote(contentEncoding)}, "content-type": ${quote(contentType)}, ` +
    `"headers": ${toHeadText(headers, 'headers')}, "properties": {"correlation_id": ${optional(properties.correlationId)}, ` +
    `"reply_to": ${optional(properties.replyTo)}, "delivery_mode": ${properties.deliveryMode ?? 2}${expiration}, ` +
    `"delivery_info": {"exchange": ${quote(to.exchange)}, "routing_key": ${quote(to.routingKey)}}, ` +
    `"priority": ${priorityNumber(properties.priority)}, "body_encoding": "base64", "delivery_tag": "${randomUUID()}"}}`
  )
}

/** Throws DecodeError with what is wrong. */
export function readEnvelope(raw: Buffer): Opened {
  const envelope = decodeJson(textOfEnvelope(raw))
  if (!isRecord(envelope)) throw new DecodeError('the message is no envelope: it is not a JSON object')
  const { headers, properties } = envelope
  if (!isRecord(properties)) throw new DecodeError('the message is no envelope: it has no object "properties"')
  if (!isRecord(headers)) throw new DecodeError('the message is no envelope: it has no object "headers"')
  const contentType = envelope['content-type']
  const contentEncoding = envelope['content-encoding']
  if (typeof contentType !== 'string') throw new DecodeError('the message is no envelope: it has no text "content-type"')
  if (typeof contentEncoding !== 'string') throw new DecodeError('the message is no envelope: it has no text "content-encoding"')
  const info = properties.delivery_info
  if (!isRecord(info)) throw new DecodeError('the message is no envelope: it has no object "properties.delivery_info"')
  const { exchange, routing_key: routingKey } = info
  if (typeof exchange !== 'string' || typeof routingKey !== 'string')
    throw new DecodeError('the message is no envelope: "properties.delivery_info" names no exchange and routing key')
  const bytes = bodyOf(envelope.body, properties.body_encoding)
  const isText = /^utf-?8$/i.test(contentEncoding) && typeof headers.compression !== 'string'
  const count = properties[deliveriesKey]
  return {
    message: new ReadMessage(
      isText ? bodyText(bytes) : plainBytes(bytes),
      contentType,
      contentEncoding,
      withoutLeftovers(headers),
      new Properties(properties),
    ),
    to: { exchange, routingKey },
    redelivered: info.redelivered === true,
    deliveries: typeof count === 'number' && Number.isSafeInteger(count) && count > 0 ? count : 0,
  }
}

/**
 * The envelope of a message that goes back to its list: kombu's marks of a redelivery, and our count. They are written behind what stands there, where they
 * win over what they repeat, and only when they are new; the rest stays as it came, byte for byte. Throws DecodeError for what is no envelope.
 */
export function markRedelivered(raw: Buffer, deliveries: number, before: Pick<Opened, 'redelivered' | 'deliveries'>): Buffer | string {
  if (before.redelivered && before.deliveries === deliveries) return raw
  const text = textOfEnvelope(raw)
  const top = objectEnds(text, 0, ['headers', 'properties'])
  const properties = top.get('properties')
  if (properties === undefined) throw new DecodeError('the message is no envelope: it has no object "properties"')
  const info = objectEnds(text, properties.start, ['delivery_info']).get('delivery_info')
  const inserts: { readonly at: number; readonly text: string }[] = [mark(properties, `"${deliveriesKey}": ${deliveries}`)]
  if (info !== undefined) inserts.push(mark(info, '"redelivered": true'))
  const headers = top.get('headers')
  if (headers !== undefined) inserts.push(mark(headers, '"redelivered": true'))
  let out = text
  for (const insert of inserts.sort((a, b) => b.at - a.at)) out = out.slice(0, insert.at) + insert.text + out.slice(insert.at)
  return out
}

/** Where the JSON value that begins at `from` ends (the index behind it). Strings and nesting are followed, nothing is checked. */
function endOfJson(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const character = text[at]
    if (character === '"') {
      at = endOfString(text, at)
      if (depth === 0) return at + 1
    } else if (character === '{' || character === '[') depth++
    else if (character === '}' || character === ']') {
      depth--
      if (depth === 0) return at + 1
      if (depth < 0) return at
    } else if (depth === 0 && character === ',') return at
  }
  throw new DecodeError('the JSON text ends too early')
}

interface Place {
  readonly start: number
  /** Of the closing brace. */
  readonly end: number
  readonly isEmpty: boolean
}

function mark({ end, isEmpty }: Place, text: string): { readonly at: number; readonly text: string } {
  return { at: end, text: isEmpty ? text : `, ${text}` }
}

/** Where the objects are that these keys of the object at `from` have. */
function objectEnds(text: string, from: number, keys: readonly string[]): ReadonlyMap<string, Place> {
  const found = new Map<string, Place>()
  let at = text.indexOf('{', from) + 1
  for (;;) {
    at = skipSpace(text, at)
    if (text[at] !== '"') return found
    const keyEnd = endOfString(text, at)
    const key = text.slice(at + 1, keyEnd)
    const start = skipSpace(text, skipSpace(text, keyEnd + 1) + 1)
    const end = endOfJson(text, start)
    if (keys.includes(key) && text[start] === '{') found.set(key, { start, end: end - 1, isEmpty: skipSpace(text, start + 1) === end - 1 })
    at = skipSpace(text, end)
    if (text[at] !== ',') return found
    at++
  }
}

function endOfString(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === '"') return at
  }
  throw new DecodeError('the JSON text ends in a string')
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\t' || text[at] === '\r') at++
  return at
}

function textOfEnvelope(raw: Buffer): string {
  const text = raw.toString('utf8')
  if (text.includes('\ufffd') && !isUtf8(raw)) throw new DecodeError('the message is no envelope: it is not UTF-8')
  return text
}

function bodyOf(body: unknown, encoding: unknown): Buffer {
  if (typeof body !== 'string') throw new DecodeError('the message is no envelope: it has no text "body"')
  // kombu takes a body without encoding literally.
  if (encoding === undefined || encoding === null || encoding === 'utf-8') return Buffer.from(body, 'utf8')
  if (encoding !== 'base64') throw new DecodeError(`the body encoding ${JSON.stringify(encoding)} is unknown`)
  const bytes = Buffer.from(body, 'base64')
  // Node skips what is no base64: then there is less than the length says.
  const padding = body.endsWith('==') ? 2 : body.endsWith('=') ? 1 : 0
  if (body.length % 4 !== 0 || bytes.length !== (body.length / 4) * 3 - padding) throw new DecodeError('the body is not valid base64')
  return bytes
}

/** Bytes that are no text, although their encoding says so, are left to whoever decodes the body: the headers say whose task it is that cannot run. */
function bodyText(bytes: Buffer): string | Uint8Array {
  const text = bytes.toString('utf8')
  return text.includes('\ufffd') && !isUtf8(bytes) ? plainBytes(bytes) : text
}

function plainBytes(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** kombu leaves a header behind when it restores a message; it is none of the task's. */
function withoutLeftovers(headers: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!Object.hasOwn(headers, 'redelivered')) return headers
  const { redelivered: _, ...rest } = headers
  return rest
}

/** A class, as all that lives as long as a message: see decision 40. What is missing is no property. */
class Properties implements MessageProperties {
  declare readonly correlationId?: string
  declare readonly replyTo?: string
  declare readonly deliveryMode?: number
  declare readonly priority?: number
  declare readonly expiration?: string

  constructor(properties: Readonly<Record<string, unknown>>) {
    const { correlation_id: correlationId, reply_to: replyTo, delivery_mode: deliveryMode, priority, expiration } = properties
    if (typeof correlationId === 'string' && correlationId !== '') this.correlationId = correlationId
    if (typeof replyTo === 'string' && replyTo !== '') this.replyTo = replyTo
    if (typeof deliveryMode === 'number') this.deliveryMode = deliveryMode
    // Every message has one here; 0 is also what Python writes for none, and what it takes a number below it for.
    if (typeof priority === 'number' && priority > 0) this.priority = priority
    if (typeof expiration === 'string') this.expiration = expiration
  }
}

function priorityNumber(priority: number | undefined): number {
  return priority === undefined || !Number.isFinite(priority) ? 0 : Math.trunc(priority)
}

function optional(text: string | undefined): string {
  return text === undefined ? '""' : quote(text)
}

// The same few names in every message.
function quote(text: string): string {
  return JSON.stringify(text)
}

/** In the words of the error that opening it gave. */
/** As `readEnvelope`, for what somebody else sent: what it is, or why it is none. */
export function openEnvelope(raw: Buffer): Opened | { readonly reason: string } {
  try {
    if (raw.length > largestEnvelope) throw new TooLargeError('the message', raw.length, largestEnvelope)
    return readEnvelope(raw)
  } catch (error) {
    return { reason: reasonOf(error) }
  }
}

export function reasonOf(error: unknown): string {
  return error instanceof CeleriacError || error instanceof Error ? error.message : String(error)
}

/** Larger envelopes are refused unread. */
const largestEnvelope = 96 * 1024 ** 2
