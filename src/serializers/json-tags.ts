/**
 * kombu's tags for values that JSON has no type for (kombu/utils/json.py): an object of exactly `__type__` and `__value__`.
 *
 *   datetime         Date, both ways (Python's microseconds are cut to ms; a naive time is UTC)
 *   bytes, base64    Uint8Array, both ways (`bytes` when they are valid UTF-8)
 *   date time        read as their ISO text: '2024-01-02', '03:04:05'
 *   decimal          read as its text: '1.50'. A number would round it
 *   uuid             read as text with dashes
 *
 * The last four come as text because that is what schemas and JavaScript programs use for them. They are written as plain text,
 * which Python's own constructors (`Decimal(text)`, `date.fromisoformat(text)`, `UUID(text)`) take.
 */
import { DecodeError, show } from '../errors.js'
import { parseIso, toIso } from '../protocol/time.js'

export const typeKey = '__type__'
export const valueKey = '__value__'

/** Throws EncodeError outside the years 1 to 9999. */
export function writeDate(value: Date): string {
  return `{"__type__":"datetime","__value__":"${toIso(value.getTime())}"}`
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function writeBytes(value: Uint8Array): string {
  let text: string
  try {
    text = utf8.decode(value)
  } catch {
    return `{"__type__":"base64","__value__":"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"}`
  }
  return `{"__type__":"bytes","__value__":${JSON.stringify(text)}}`
}

/** The value of a tag. Throws DecodeError for a type that kombu does not have: Python peers refuse it too. */
export function readTag(type: unknown, value: unknown): unknown {
  switch (type) {
    case 'datetime':
      return new Date(parseIso(text(type, value)))
    case 'date':
      return matching(type, value, /^\d{4}-\d\d-\d\d$/)
    case 'time':
      return matching(type, value, /^\d\d:\d\d(:\d\d(\.\d{1,6})?)?([+-]\d\d:\d\d(:\d\d)?)?$/)
    case 'decimal':
      return matching(type, value, /^[+-]?(\d{1,4300}(\.\d{0,4300})?|\.\d{1,4300})(e[+-]?\d{1,20})?$|^[+-]?(inf(inity)?|s?nan\d{0,20})$/i)
    case 'uuid':
      return readUuid(value)
    case 'bytes':
      return readUtf8(value)
    case 'base64':
      return readBase64(value)
    default:
      throw new DecodeError(`unsupported ${typeKey} ${show(type)}: Celery's JSON has datetime, date, time, decimal, uuid, bytes and base64`)
  }
}

function text(type: string, value: unknown): string {
  if (typeof value !== 'string') throw new DecodeError(`expected the ${valueKey} of a ${type} to be text, got: ${show(value)}`)
  return value
}

function matching(type: string, value: unknown, form: RegExp): string {
  const string = text(type, value)
  if (!form.test(string)) throw new DecodeError(`expected the ${valueKey} of a ${type} to be one, got: ${show(value)}`)
  return string
}

function readUuid(value: unknown): string {
  const hex: unknown = typeof value === 'object' && value !== null && 'hex' in value ? value.hex : value
  const match = typeof hex === 'string' ? /^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i.exec(hex) : null
  if (match === null) throw new DecodeError(`expected the ${valueKey} of a uuid to be {"hex": 32 hex digits}, got: ${show(value)}`)
  return match.slice(1).join('-').toLowerCase()
}

function readUtf8(value: unknown): Uint8Array {
  const string = text('bytes', value)
  if (/\p{Cs}/u.test(string)) throw new DecodeError(`expected the ${valueKey} of bytes to be whole characters, got: ${show(value)}`)
  return new TextEncoder().encode(string)
}

function readBase64(value: unknown): Uint8Array {
  const string = text('base64', value)
  // Node's decoder skips what it does not know: check first, so that nothing is silently lost.
  if (string.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(string))
    throw new DecodeError(`expected the ${valueKey} of a base64 to be base64, got: ${show(value)}`)
  return new Uint8Array(Buffer.from(string, 'base64'))
}
