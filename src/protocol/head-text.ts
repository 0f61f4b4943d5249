/**
 * What stands beside a body – headers, a frame's head – as JSON text. It nearly always is plain, and JSON.stringify the quickest. Headers may hold what that cannot
 * write, or changes without a word: integers beyond 2^53, times, bytes, Python's NaN. Such a text begins with a space, which JSON allows, and is read with care.
 */
import { fold, maxNesting } from '../serializers/fold.js'
import { decodeJson, jsonFormat } from '../serializers/json.js'

const careful = ' '

const format: typeof jsonFormat = {
  ...jsonFormat,
  // As Python writes them. Whoever makes a header here may not; what came with one goes on as it came.
  scalar: (value) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : jsonFormat.scalar(value)),
}

/** `foreign` is the part that may hold such things; without one, all of it may. Throws EncodeError for what is no data. */
export function toHeadText(value: unknown, root: string, foreign: unknown = value): string {
  try {
    if (isKept(foreign, 0)) return JSON.stringify(value)
  } catch {
    // What is no data is named by the careful walk.
  }
  return careful + fold(value, root, format)
}

/** Throws SyntaxError or DecodeError. */
export function fromHeadText(text: string): unknown {
  return text.startsWith(careful) ? decodeJson(text) : JSON.parse(text)
}

/** True for what JSON.stringify writes without loss. Each task pays for it several times, so names are not looked at: nothing here has a toJSON of its own. */
function isKept(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true
    case 'number':
      return value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER
    case 'object':
      return value === null || isKeptObject(value, depth)
    default:
      return false
  }
}

function isKeptObject(value: object, depth: number): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (depth > maxNesting || (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null)) return false
  for (const inner of Object.values(value)) if (inner !== null && !isKept(inner, depth + 1)) return false
  return true
}
