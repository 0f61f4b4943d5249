/** Compressors of message bodies (kombu/compression.py), with a limit on what a body may grow to. */
import zlib from 'node:zlib'
import { DecodeError, NotSupportedError, OptionInvalidError, TooLargeError } from '../errors.js'
import type { Message } from '../protocol/message.js'

export interface Compressor {
  /** What the header `compression` says. */
  readonly mimeType: string
  compress(data: Uint8Array): Uint8Array
  /** Throws DecodeError for damaged data and TooLargeError for what would be over `maxBytes`. */
  decompress(data: Uint8Array, maxBytes: number): Uint8Array
}

/** The most that a body may grow to, in bytes, if nothing else is said. */
export const defaultMaxBytes = 16 * 1024 * 1024
/** Nor may it grow by more than this factor, beyond a first MiB. Deflate cannot reach it; a brotli or zstd bomb does with a few bytes. */
const maxRatio = 1100
const freeBytes = 1024 * 1024

// Celery calls it gzip, but it is a zlib stream (RFC 1950), not a gzip file: Python refuses one.
const deflate = compressor('application/x-gzip', zlib.deflateSync, zlib.inflateSync)
const brotli = compressor('application/x-brotli', zlib.brotliCompressSync, zlib.brotliDecompressSync)

type Compress = (data: Uint8Array) => Buffer
type Decompress = (data: Uint8Array, options: { maxOutputLength: number }) => Buffer

/** Names of Celery and MIME types. Throws OptionInvalidError for an unknown one, NotSupportedError for one that Node cannot do. */
export function compressorFor(name: string): Compressor {
  switch (name.toLowerCase()) {
    case 'gzip':
    case 'zlib':
    case 'application/x-gzip':
      return deflate
    case 'brotli':
    case 'application/x-brotli':
      return brotli
    case 'zstd':
    case 'zstandard':
    case 'application/zstd':
      return zstd()
    case 'bzip2':
    case 'bzip':
    case 'application/x-bz2':
      throw new NotSupportedError('bzip2 compression', 'Node has no bzip2. Use gzip, brotli or zstd')
    case 'lzma':
    case 'xz':
    case 'application/x-lzma':
      throw new NotSupportedError('lzma compression', 'Node has no lzma. Use gzip, brotli or zstd')
    default:
      throw new OptionInvalidError('compression', 'gzip, zlib, brotli or zstd', name)
  }
}

function zstd(): Compressor {
  // Node has it since 22.15, and its types are newer than those we build with.
  const { zstdCompressSync, zstdDecompressSync } = zlib as unknown as { zstdCompressSync?: Compress; zstdDecompressSync?: Decompress }
  if (zstdCompressSync === undefined || zstdDecompressSync === undefined) {
    throw new NotSupportedError('zstd compression', `Node ${process.versions.node} has no zstd, Node 22.15 has. Use gzip or brotli`)
  }
  return compressor('application/zstd', zstdCompressSync, zstdDecompressSync)
}

function compressor(mimeType: string, compress: Compress, decompress: Decompress): Compressor {
  return {
    mimeType,
    compress,
    decompress(data, maxBytes) {
      const limit = allowed(data.byteLength, maxBytes)
      try {
        return decompress(data, { maxOutputLength: limit })
      } catch (cause) {
        if (isCode(cause, 'ERR_BUFFER_TOO_LARGE')) throw new TooLargeError('a decompressed body', limit + 1, limit)
        throw new DecodeError(`the body is not ${mimeType} data, or is damaged`, { cause })
      }
    },
  }
}

const allowed = (compressedBytes: number, maxBytes: number): number => Math.min(maxBytes, Math.max(freeBytes, compressedBytes * maxRatio))

const isCode = (error: unknown, code: string): boolean => error instanceof Error && 'code' in error && error.code === code

/** The message with its body compressed; as it is where compression would make a body that no reader accepts. Throws as `compressorFor`. */
export function compressMessage(message: Message, name: string): Message {
  const { mimeType, compress } = compressorFor(name)
  const data = typeof message.body === 'string' ? Buffer.from(message.body) : message.body
  const body = compress(data)
  if (data.byteLength > allowed(body.byteLength, Number.POSITIVE_INFINITY)) return message
  return { ...message, body, headers: { ...message.headers, compression: mimeType } }
}
