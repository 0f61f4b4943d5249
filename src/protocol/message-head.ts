/** Everything of a message but its body as one JSON text: how the transports that keep messages themselves keep it. */
import { DecodeError } from '../errors.js'
import { fromHeadText, toHeadText } from './head-text.js'
import { type Message, type MessageProperties, ReadMessage } from './message.js'
import { isRecord } from './plain.js'
import type { Destination } from './topology.js'

type Head = readonly [
  contentType: string,
  contentEncoding: string,
  headers: Readonly<Record<string, unknown>>,
  properties: MessageProperties,
  exchange: string,
  routingKey: string,
]

export function encodeHead(message: Message, to: Destination): string {
  const { contentType, contentEncoding, headers, properties } = message
  // Those that a broker's driver has read may be of a class of its own.
  const head: Head = [contentType, contentEncoding, headers, { ...properties }, to.exchange, to.routingKey]
  return toHeadText(head, 'head')
}

/** Throws DecodeError when the store holds something else than was written. */
export function decodeHead(head: string, body: string | Uint8Array): { readonly message: Message; readonly to: Destination } {
  let parsed: unknown
  try {
    parsed = fromHeadText(head)
  } catch (cause) {
    throw new DecodeError('the stored headers of a message are damaged: they are no JSON', { cause })
  }
  if (!isHead(parsed)) throw new DecodeError('the stored headers of a message are damaged: they are no list of what a message has')
  const [contentType, contentEncoding, headers, properties, exchange, routingKey] = parsed
  return { message: new ReadMessage(body, contentType, contentEncoding, headers, properties), to: { exchange, routingKey } }
}

/** What steers the task is checked by whoever reads it; here only that the parts are there. */
function isHead(value: unknown): value is Head {
  if (!Array.isArray(value)) return false
  const [contentType, contentEncoding, headers, properties, exchange, routingKey]: unknown[] = value
  const texts = [contentType, contentEncoding, exchange, routingKey]
  return texts.every((text) => typeof text === 'string') && isRecord(headers) && isRecord(properties)
}

/** The task id of a message: its header (protocol 2), else its correlation id, else empty. */
export function taskIdOf(message: Message): string {
  const { id } = message.headers
  return typeof id === 'string' ? id : (message.properties.correlationId ?? '')
}
