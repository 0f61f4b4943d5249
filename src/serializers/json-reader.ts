/**
 * Reads what Python's json writes and JSON.parse cannot keep: NaN and Infinity, integers of any size, kombu's tags.
 * The road that JSON.parse does not go; it reads the same language otherwise, and takes no more than `maxNesting` levels.
 */
import { DecodeError } from '../errors.js'
import { setOwn } from '../protocol/plain.js'
import { maxNesting } from './fold.js'
import { readTag, typeKey, valueKey } from './json-tags.js'

// Python refuses longer ones too (sys.int_info.default_max_str_digits): reading them takes time that grows with the square.
const maxDigits = 4300

/** Throws DecodeError with the position. */
export function readTolerantly(text: string): unknown {
  return new Reader(text).document()
}

const space = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
const words: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]

class Reader {
  #at = 0
  constructor(readonly text: string) {}

  document(): unknown {
    const value = this.#value(0)
    this.#skipSpace()
    if (this.#at < this.text.length) throw this.#unexpected()
    return value
  }

  #value(depth: number): unknown {
    this.#skipSpace()
    switch (this.text[this.#at]) {
      case '{':
        return this.#object(this.#deeper(depth))
      case '[':
        return this.#array(this.#deeper(depth))
      case '"':
        return this.#string()
      default:
        return this.#scalar()
    }
  }

  #deeper(depth: number): number {
    if (depth >= maxNesting) throw new DecodeError(`the JSON text is nested more than ${maxNesting} levels deep`)
    this.#at++
    return depth + 1
  }

  #array(depth: number): unknown[] {
    const elements: unknown[] = []
    if (this.#took(']')) return elements
    do elements.push(this.#value(depth))
    while (this.#took(','))
    if (!this.#took(']')) throw this.#unexpected()
    return elements
  }

  #object(depth: number): unknown {
    const record: Record<string, unknown> = {}
    if (this.#took('}')) return record
    do {
      this.#skipSpace()
      if (this.text[this.#at] !== '"') throw this.#unexpected()
      const key = this.#string()
      if (!this.#took(':')) throw this.#unexpected()
      setOwn(record, key, this.#value(depth))
    } while (this.#took(','))
    if (!this.#took('}')) throw this.#unexpected()
    return isTag(record) ? readTag(record[typeKey], record[valueKey]) : record
  }

  #string(): string {
    const start = this.#at
    let end = start + 1
    for (; ; end++) {
      end = this.text.indexOf('"', end)
      if (end < 0) throw new DecodeError(`the JSON text ends inside the string at position ${start}`)
      let escapes = 0
      while (this.text[end - 1 - escapes] === '\\') escapes++
      if (escapes % 2 === 0) break
    }
    this.#at = end + 1
    try {
      return JSON.parse(this.text.slice(start, end + 1)) as string // a literal in quotes is text
    } catch (cause) {
      throw new DecodeError(`the string at position ${start} of the JSON text is malformed`, { cause })
    }
  }

  #scalar(): unknown {
    number.lastIndex = this.#at
    const match = number.exec(this.text)
    if (match !== null) {
      this.#at = number.lastIndex
      const [digits, fraction, exponent] = match
      if (fraction !== undefined || exponent !== undefined) return Number(digits)
      return this.#integer(digits)
    }
    for (const [word, value] of words) {
      if (!this.text.startsWith(word, this.#at)) continue
      this.#at += word.length
      return value
    }
    throw this.#unexpected()
  }

  #integer(digits: string): number | bigint {
    const value = Number(digits)
    if (Number.isSafeInteger(value)) return value
    if (digits.length > maxDigits)
      throw new DecodeError(`the JSON text has an integer of ${digits.length} digits, over the limit of ${maxDigits}`)
    return BigInt(digits)
  }

  #took(character: string): boolean {
    this.#skipSpace()
    if (this.text[this.#at] !== character) return false
    this.#at++
    return true
  }

  #skipSpace(): void {
    space.lastIndex = this.#at
    space.exec(this.text)
    this.#at = space.lastIndex
  }

  #unexpected(): DecodeError {
    const found = this.text[this.#at]
    return new DecodeError(
      found === undefined ? 'the JSON text ends too early' : `unexpected ${JSON.stringify(found)} at position ${this.#at} of the JSON text`,
    )
  }
}

function isTag(record: Readonly<Record<string, unknown>>): boolean {
  return Object.hasOwn(record, typeKey) && Object.hasOwn(record, valueKey) && Object.keys(record).length === 2
}
