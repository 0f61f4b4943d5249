import { DecodeError } from '../../errors.js'
import { compressorFor, defaultMaxBytes } from '../../serializers/compression.js'

/** Celery 5.7 compresses what it stores where `result_compression` says so, and puts this and the MIME type of the compressor before it. No JSON begins so. */
const mark = Buffer.from('\0celery-compressed\0')

/** The text of a value, whoever wrote it. Throws DecodeError, TooLargeError, and NotSupportedError for a compression that Node does not have. */
export function storedText(value: Buffer): Uint8Array {
  if (value[0] !== 0 || !value.subarray(0, mark.length).equals(mark)) return value
  const end = value.indexOf(0, mark.length)
  if (end < 0) throw new DecodeError('it is marked as compressed, and does not say how')
  return compressorFor(value.toString('latin1', mark.length, end)).decompress(value.subarray(end + 1), defaultMaxBytes)
}
