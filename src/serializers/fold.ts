/** One careful walk over a value of the user, for every serializer: it decides what is data, names the path of what is not, and never hangs. */
import { EncodeError } from '../errors.js'
import { JsonText } from '../protocol/json-text.js'
import { isRecord } from '../protocol/plain.js'

/** Containers inside containers, at most: deeper values overflow the stack of somebody who reads them. */
export const maxNesting = 200

/** What a format makes of each kind of value. Throws `Refused` for what it cannot hold. */
export interface Format<T> {
  scalar(value: null | boolean | number | string): T
  bigint(value: bigint): T
  bytes(value: Uint8Array): T
  /** A valid Date. */
  date(value: Date): T
  json(value: JsonText): T
  list(elements: readonly T[]): T
  record(entries: readonly (readonly [key: string, value: T])[]): T
}

/** Says why a value cannot be written; the walk adds where. */
export class Refused extends Error {}

interface Place {
  readonly up: Place | null
  readonly key: string | number
  /** The container at this place, to see a cycle. */
  readonly container: object | null
}

/** Throws EncodeError with the path of the first value that cannot be written. `undefined` is null, and dropped as a property. */
export function fold<T>(value: unknown, root: string, format: Format<T>): T {
  return visit(value, { up: null, key: root, container: null }, 0, format)
}

function visit<T>(value: unknown, place: Place, depth: number, format: Format<T>): T {
  try {
    return read(value, place, depth, format)
  } catch (error) {
    if (error instanceof EncodeError) throw error
    if (error instanceof Refused) throw new EncodeError(pathOf(place), error.message)
    throw new EncodeError(pathOf(place), `cannot be read: ${describe(error)}`, { cause: error })
  }
}

function read<T>(value: unknown, place: Place, depth: number, format: Format<T>): T {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
      return format.scalar(value)
    case 'bigint':
      return format.bigint(value)
    case 'function':
      throw new Refused('is a function, which is not data')
    case 'symbol':
      throw new Refused('is a symbol, which is not data')
    default:
      return value === null || value === undefined ? format.scalar(null) : readObject(value, place, depth, format)
  }
}

function readObject<T>(value: object, place: Place, depth: number, format: Format<T>): T {
  if (value instanceof JsonText) return format.json(value)
  if (value instanceof Uint8Array) return format.bytes(value)
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Refused('is an invalid Date')
    return format.date(value)
  }
  if (depth >= maxNesting) throw new Refused(`is nested more than ${maxNesting} levels deep`)
  for (let above = place.up; above !== null; above = above.up) {
    if (above.container === value) throw new Refused('refers back to an object that holds it')
  }
  const here: Place = { ...place, container: value }
  if (Array.isArray(value)) {
    return format.list(Array.from({ length: value.length }, (_, index) => visitKey(value, index, here, depth, format)))
  }
  const replacement = replaced(value, place)
  if (replacement !== undefined) return visit(replacement.value, here, depth + 1, format)
  if (!isRecord(value)) throw new Refused(notData(value))
  const entries: (readonly [string, T])[] = []
  for (const key of Object.keys(value)) {
    const { present, result } = visitProperty(value, key, here, depth, format)
    if (present) entries.push([key, result])
  }
  return format.record(entries)
}

function visitKey<T>(list: readonly unknown[], index: number, up: Place, depth: number, format: Format<T>): T {
  return visit(list[index], { up, key: index, container: null }, depth + 1, format)
}

type Property<T> = { readonly present: true; readonly result: T } | { readonly present: false; readonly result?: undefined }

function visitProperty<T>(
  record: Readonly<Record<string, unknown>>,
  key: string,
  up: Place,
  depth: number,
  format: Format<T>,
): Property<T> {
  const place: Place = { up, key, container: null }
  let value: unknown
  try {
    value = record[key]
  } catch (error) {
    throw new EncodeError(pathOf(place), `cannot be read: its getter threw ${describe(error)}`, { cause: error })
  }
  return value === undefined ? { present: false } : { present: true, result: visit(value, place, depth + 1, format) }
}

/** What an object's own `toJSON` gives instead of it, as JSON.stringify would take it. */
function replaced(value: object, place: Place): { readonly value: unknown } | undefined {
  const toJson: unknown = 'toJSON' in value ? value.toJSON : undefined
  if (typeof toJson !== 'function') return undefined
  try {
    return { value: toJson.call(value, String(place.key)) }
  } catch (error) {
    throw new EncodeError(pathOf(place), `cannot be read: its toJSON() threw ${describe(error)}`, { cause: error })
  }
}

function notData(value: object): string {
  if (value instanceof Map) return 'is a Map, which is not plain data: send Object.fromEntries(map) or [...map]'
  if (value instanceof Set) return 'is a Set, which is not plain data: send [...set]'
  if (value instanceof Promise) return 'is a Promise: await it first'
  const name: unknown = value.constructor?.name
  return `is an instance of ${typeof name === 'string' && name !== '' ? name : 'a class'}, which is not plain data: send a plain object, or give the class a toJSON()`
}

function describe(error: unknown): string {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  } catch {
    return 'something that cannot be shown'
  }
}

const identifier = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u

/** `args[0].user["first name"]` */
function pathOf(place: Place): string {
  let path = ''
  for (let at: Place = place; ; at = at.up) {
    if (at.up === null) return `${at.key}${path}`
    const step = typeof at.key === 'number' ? `[${at.key}]` : identifier.test(at.key) ? `.${at.key}` : `[${JSON.stringify(at.key)}]`
    path = `${step}${path}`
  }
}
