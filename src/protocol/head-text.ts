/**
 * What stands beside a body – headers, a frame's head – as JSON text. It nearly always is plain, and JSON.stringify the quickest. Headers may hold integers beyond
 * 2^53, though, which it cannot write and JSON.parse would round: such a text begins with a space, which JSON allows, and is read with care.
 */
import { decodeJson, encodeJson } from '../serializers/json.js'

const careful = ' '

/** Throws EncodeError for what is no data. */
export function toHeadText(value: unknown, root: string): string {
  try {
    return JSON.stringify(value)
  } catch {
    // A BigInt, mostly; anything else is named by this.
    return careful + encodeJson(value, root)
  }
}

/** Throws SyntaxError or DecodeError. */
export function fromHeadText(text: string): unknown {
  return text.startsWith(careful) ? decodeJson(text) : JSON.parse(text)
}
