/** Values of libraries that read and write more than data: checked on the way out, brought down to plain data on the way in. */
import { DecodeError, show } from '../errors.js'
import { isRecord, setOwn } from '../protocol/plain.js'
import { type Format, maxNesting, Refused } from './fold.js'
import { decodeJson } from './json.js'

/** Builds plain data, in which `format` is what JSON has. Formats override what they can hold. */
export function plainTree(name: string): Format<unknown> {
  return {
    scalar: (value) => value,
    bigint: (value) => value,
    bytes: (value) => value,
    date: () => {
      throw new Refused(`is a Date, which ${name} cannot hold: send text`)
    },
    json: (value) => decodeJson(value.text),
    list: (elements) => [...elements],
    record(entries) {
      const record: Record<string, unknown> = {}
      for (const [key, value] of entries) setOwn(record, key, value)
      return record
    },
  }
}

/**
 * What a library read, as our data: BigInt only beyond 2^53, bytes as Uint8Array, own keys only, no deeper than `maxNesting`.
 * Throws DecodeError for anything that is not data. `maxValues` bounds what aliases of a small text can grow to.
 */
export function toPlain(value: unknown, maxValues = 1_000_000): unknown {
  let left = maxValues
  const visit = (node: unknown, depth: number): unknown => {
    if (--left < 0) throw new DecodeError(`the value has more than ${maxValues} parts`)
    if (typeof node === 'bigint') return node >= Number.MIN_SAFE_INTEGER && node <= Number.MAX_SAFE_INTEGER ? Number(node) : node
    if (node === undefined) return null
    if (typeof node !== 'object' || node === null || node instanceof Date) return node
    // Not a Buffer or a view of the whole message.
    if (node instanceof Uint8Array) return new Uint8Array(node)
    if (depth >= maxNesting) throw new DecodeError(`the value is nested more than ${maxNesting} levels deep`)
    if (Array.isArray(node)) return node.map((element) => visit(element, depth + 1))
    if (!isRecord(node)) throw new DecodeError(`the value has a part that is not data: ${show(Object.prototype.toString.call(node))}`)
    const record: Record<string, unknown> = {}
    for (const key of Object.keys(node)) setOwn(record, key, visit(node[key], depth + 1))
    return record
  }
  return visit(value, 0)
}
