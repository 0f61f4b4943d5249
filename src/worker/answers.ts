/** How much a worker answers to a request of remote control: whoever asks, and the broker between, must be able to take it. */

import { encodeJson } from '../serializers/json.js'

/** Of an answer's JSON, in bytes. */
export const largestAnswer = 1024 ** 2

/** What fits of a list or an object, from its beginning, and how many of its entries do not. Another answer that is too large, or no data, is an error instead. */
export function boundedAnswer(reply: unknown): { readonly answer: unknown; readonly leftOut: number } {
  try {
    if (sizeOf(reply) <= largestAnswer) return { answer: reply, leftOut: 0 }
  } catch (error) {
    return { answer: { error: error instanceof Error ? error.message : String(error) }, leftOut: 0 }
  }
  if (Array.isArray(reply)) {
    const kept = countThatFits(reply)
    return { answer: reply.slice(0, kept), leftOut: reply.length - kept }
  }
  if (typeof reply === 'object' && reply !== null) {
    const entries = Object.entries(reply)
    const kept = countThatFits(entries)
    if (kept > 0) return { answer: Object.fromEntries(entries.slice(0, kept)), leftOut: entries.length - kept }
  }
  return { answer: { error: `the answer is larger than ${largestAnswer} bytes` }, leftOut: 1 }
}

/** Collects entries that are costly to make, as long as an answer may have more of them. */
export async function fill<T, E>(items: readonly T[], make: (item: T) => Promise<E>): Promise<E[]> {
  const made: E[] = []
  let bytes = 0
  for (const item of items) {
    const entry = await make(item)
    made.push(entry)
    bytes += sizeOf(entry) + 1
    // The one that is too much is in it: so it is seen that there are more.
    if (bytes > largestAnswer) break
  }
  return made
}

function countThatFits(entries: readonly unknown[]): number {
  let bytes = 2
  for (const [index, entry] of entries.entries()) {
    bytes += sizeOf(entry) + 1
    if (bytes > largestAnswer) return index
  }
  return entries.length
}

/** Throws EncodeError for what is no data. */
const sizeOf = (value: unknown): number => Buffer.byteLength(encodeJson(value, 'answer'))
