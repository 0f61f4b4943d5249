/** Names on the wire (tasks, ids, queues, workers): AMQP's short string, and nothing that could break a log line, a key or a path. */

const forbidden = /[\p{Cc}\p{Cs}\u2028\u2029]/u
/** The longest short string of AMQP, in bytes of UTF-8. */
const maxNameBytes = 255

/** True for 1 to 255 bytes of text without control characters. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && isShortText(value)
}

/** As `isName`, but it may be empty. */
export function isShortText(value: string): boolean {
  if (value.length > maxNameBytes || forbidden.test(value)) return false
  // A UTF-16 unit is at most 3 bytes of UTF-8: short texts need no counting.
  return value.length * 3 <= maxNameBytes || Buffer.byteLength(value) <= maxNameBytes
}
