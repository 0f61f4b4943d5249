/** JSON as kombu has it. Plain values go through JSON.stringify and JSON.parse; what needs more care takes the slow road. */
import { DecodeError, EncodeError } from '../errors.js'
import type { JsonText } from '../protocol/json-text.js'
import type { Serializer } from '../serializer.js'
import { type Format, fold, maxNesting, Refused } from './fold.js'
import { readTolerantly } from './json-reader.js'
import { typeKey, valueKey, writeBytes, writeDate } from './json-tags.js'

export const json: Serializer = {
  name: 'json',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  encode: encodeJson,
  decode: decodeJson,
}

/** Throws EncodeError with the path of the value that is not data, starting at `root`. */
export function encodeJson(value: unknown, root: string): string {
  try {
    if (isPlain(value, 0)) return JSON.stringify(value) ?? 'null'
  } catch {
    // A getter or proxy threw; the careful walk names it.
  }
  return fold(value, root, jsonFormat)
}

/** True for what JSON.stringify writes without loss. Allocates nothing. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true
    case 'number':
      return value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER
    case 'object':
      return value === null || isPlainObject(value, depth)
    default:
      return false
  }
}

function isPlainObject(value: object, depth: number): boolean {
  if (depth >= maxNesting) return false
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) if (!isPlain(value[index], depth + 1)) return false
    return true
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  for (const key in value) {
    // The loop gives only keys of the value.
    if (key === typeKey || !isPlain((value as Readonly<Record<string, unknown>>)[key], depth + 1)) return false
  }
  return true
}

/**
 * A number beyond 2^53 is a float, and says so (`1152921504606846976.0`): as an integer it would come back as a BigInt, with digits that the number never had.
 * Integers of that size are sent as BigInt.
 */
function floatText(value: number): string {
  const text = String(value)
  return Math.abs(value) > Number.MAX_SAFE_INTEGER && !text.includes('e') ? `${text}.0` : text
}

export const jsonFormat: Format<string> = {
  scalar(value) {
    if (typeof value !== 'number') return JSON.stringify(value)
    if (!Number.isFinite(value)) throw new Refused(`is ${value}, which JSON cannot hold: send null or text`)
    return floatText(value)
  },
  bigint: (value) => value.toString(),
  bytes: writeBytes,
  date(value) {
    try {
      return writeDate(value)
    } catch (error) {
      throw error instanceof EncodeError ? new Refused('is a Date outside the years 1 to 9999') : error
    }
  },
  json: (value: JsonText) => value.text,
  list: (elements) => `[${elements.join(',')}]`,
  record(entries) {
    if (entries.length === 2 && entries.some(([key]) => key === typeKey) && entries.some(([key]) => key === valueKey)) {
      throw new Refused(`has exactly the keys ${typeKey} and ${valueKey}, which Celery's JSON keeps for its own types`)
    }
    return `{${entries.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(',')}}`
  },
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Throws DecodeError. Integers beyond 2^53 are BigInt, tags are their values (json-tags.ts), `__proto__` is a key like others. */
export function decodeJson(data: string | Uint8Array): unknown {
  const text = typeof data === 'string' ? data : decodeUtf8(data)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return readTolerantly(text)
  }
  return isWhole(value, 0) ? value : readTolerantly(text)
}

/** Throws DecodeError for bytes that are not UTF-8. */
export function decodeUtf8(data: Uint8Array): string {
  try {
    return utf8.decode(data)
  } catch (cause) {
    throw new DecodeError('the text is not valid UTF-8', { cause })
  }
}

/** True where JSON.parse lost nothing: no integer that may have had more digits, no tag, and no more levels than are allowed. */
function isWhole(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return Math.abs(value) <= Number.MAX_SAFE_INTEGER
  if (typeof value !== 'object' || value === null) return true
  if (depth >= maxNesting) return false
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) if (!isWhole(value[index], depth + 1)) return false
    return true
  }
  // What JSON.parse made has own keys only.
  for (const key in value) if (key === typeKey || !isWhole((value as Readonly<Record<string, unknown>>)[key], depth + 1)) return false
  return true
}
