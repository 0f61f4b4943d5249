/** The door for bodies from the wire. In this order: type, encoding, compression, size, decoding. A type that is not accepted is never looked at. */
import { DecodeError, NotSupportedError, OptionInvalidError, TooLargeError } from '../errors.js'
import type { Serializer } from '../serializer.js'
import { compressorFor } from './compression.js'

/** A body with what it says of itself: a `Message` with its header `compression`, or a `TaskRequest`. */
export interface Content {
  readonly body: string | Uint8Array
  readonly contentType: string
  readonly contentEncoding: string
  /** Name or MIME type of the compressor. */
  readonly compression?: string | null
}

/**
 * Decodes a body whose type is accepted. Throws TooLargeError over `maxBytes`, compressed or not, and DecodeError for what is damaged.
 * The shape of the value is the next door's business (`decodeBody`).
 */
export function decodeContent(content: Content, serializer: Serializer, maxBytes: number): unknown {
  if (!encodings.has(content.contentEncoding.toLowerCase())) {
    throw new DecodeError(`expected the content encoding to be utf-8 or binary, got: ${JSON.stringify(content.contentEncoding)}`)
  }
  return serializer.decode(withinLimit(decompressed(content, maxBytes), maxBytes))
}

const encodings: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii', 'binary'])

function decompressed({ body, compression }: Content, maxBytes: number): string | Uint8Array {
  if (compression === undefined || compression === null || compression === '') return body
  const data = withinLimit(typeof body === 'string' ? Buffer.from(body, 'latin1') : body, maxBytes)
  try {
    return compressorFor(compression).decompress(data, maxBytes)
  } catch (cause) {
    if (!(cause instanceof NotSupportedError || cause instanceof OptionInvalidError)) throw cause
    throw new DecodeError(`the body is compressed in a way that cannot be read: ${cause.message}`, { cause })
  }
}

function withinLimit<Body extends string | Uint8Array>(body: Body, maxBytes: number): Body {
  // A UTF-16 unit is at most 3 bytes: most texts need no counting.
  if (typeof body === 'string' && body.length * 3 <= maxBytes) return body
  const bytes = Buffer.byteLength(body)
  if (bytes > maxBytes) throw new TooLargeError('a message body', bytes, maxBytes)
  return body
}
