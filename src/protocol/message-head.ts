/** Everything of a message but its body as one JSON text: how the transports that keep messages themselves keep it. */
import { DecodeError } from '../errors.js'
import type { Message, MessageProperties } from './message.js'
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
  const head: Head = [message.contentType, message.contentEncoding, message.headers, message.properties, to.exchange, to.routingKey]
  return JSON.stringify(head)
}

/** Throws DecodeError when the store holds something else than was written. */
export function decodeHead(head: string, body: string | Uint8Array): { readonly message: Message; readonly to: Destination } {
  let parsed: Head
  try {
    // Written by encodeHead, into a store that only its own process or user can write.
    parsed = JSON.parse(head) as Head
  } catch (cause) {
    throw new DecodeError('the stored headers of a message are damaged', { cause })
  }
  const [contentType, contentEncoding, headers, properties, exchange, routingKey] = parsed
  return { message: { body, contentType, contentEncoding, headers, properties }, to: { exchange, routingKey } }
}

/** The task id of a message: its header (protocol 2), else its correlation id, else empty. */
export function taskIdOf(message: Message): string {
  const { id } = message.headers
  return typeof id === 'string' ? id : (message.properties.correlationId ?? '')
}
