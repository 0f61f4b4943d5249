/**
 * Frames on the pipe between a worker and its children:
 *
 *     u32 total | u32 headLength | head: JSON, headLength bytes | body: the rest, untouched
 *
 * Both numbers are big-endian; `total` counts all bytes after itself. The body is never parsed on the way.
 */
import { DecodeError, TooLargeError } from '../errors.js'
import { fromHeadText, toHeadText } from '../protocol/head-text.js'

/** Room for a message body of 16 MB and a large result; a frame over it is an error of the sender, not data. */
const defaultMaxFrameBytes = 256 * 1024 * 1024

export interface Frame {
  /** What `JSON.parse` made of the head: the reader knows its shape, for both ends are the same version of this package. */
  readonly head: unknown
  /** A view into the bytes that were read: valid for as long as it is held. Empty when the frame had no body. */
  readonly body: Buffer
}

const noBody = Buffer.alloc(0)

/** `foreign` is as in `toHeadText`. @throws TooLargeError when the frame is over `maxBytes`, EncodeError for a head that is no data. */
export function encodeFrame(
  head: unknown,
  body: string | Uint8Array = noBody,
  { maxBytes = defaultMaxFrameBytes, foreign = head }: { readonly maxBytes?: number; readonly foreign?: unknown } = {},
): Buffer {
  const headText = toHeadText(head, 'head', foreign)
  const headLength = Buffer.byteLength(headText)
  const bodyLength = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
  const total = 4 + headLength + bodyLength
  if (total > maxBytes) throw new TooLargeError('a frame between worker and child', total, maxBytes)
  const frame = Buffer.allocUnsafe(4 + total)
  frame.writeUInt32BE(total, 0)
  frame.writeUInt32BE(headLength, 4)
  frame.write(headText, 8)
  if (typeof body === 'string') frame.write(body, 8 + headLength)
  else frame.set(body, 8 + headLength)
  return frame
}

/** Takes bytes as they come and gives whole frames, in order. After it threw, the channel cannot be read any further. */
export class FrameDecoder {
  #chunks: Buffer[] = []
  #buffered = 0

  constructor(readonly maxBytes: number = defaultMaxFrameBytes) {}

  /** @throws DecodeError, TooLargeError for bytes that no encoder wrote. */
  push(chunk: Buffer, onFrame: (frame: Frame) => void): void {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    while (this.#buffered >= 4) {
      const total = this.#peekTotal()
      if (total < 4) throw new DecodeError(`a frame between worker and child claims ${total} bytes, less than its own head needs`)
      if (total > this.maxBytes) throw new TooLargeError('a frame between worker and child', total, this.maxBytes)
      if (this.#buffered < 4 + total) return
      onFrame(parseFrame(this.#take(4 + total)))
    }
  }

  /** Chunks are joined only once a frame is whole, so that a large body is not copied again for every chunk of it. */
  #peekTotal(): number {
    const first = this.#chunks[0] ?? noBody
    if (first.length >= 4) return first.readUInt32BE(0)
    return this.#join().readUInt32BE(0)
  }

  #take(length: number): Buffer {
    const joined = (this.#chunks[0] ?? noBody).length >= length ? (this.#chunks[0] ?? noBody) : this.#join()
    const rest = joined.subarray(length)
    if (rest.length > 0) this.#chunks[0] = rest
    else this.#chunks.shift()
    this.#buffered -= length
    return joined.subarray(0, length)
  }

  #join(): Buffer {
    const joined = Buffer.concat(this.#chunks, this.#buffered)
    this.#chunks = [joined]
    return joined
  }
}

function parseFrame(frame: Buffer): Frame {
  const headLength = frame.readUInt32BE(4)
  if (headLength > frame.length - 8)
    throw new DecodeError(`a frame between worker and child claims a head of ${headLength} bytes in a frame of ${frame.length}`)
  let head: unknown
  try {
    head = fromHeadText(frame.toString('utf8', 8, 8 + headLength))
  } catch (cause) {
    throw new DecodeError('the head of a frame between worker and child is not JSON', { cause })
  }
  return { head, body: frame.subarray(8 + headLength) }
}
