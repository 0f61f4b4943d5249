/** What stands in kombu's `unacked` hash: `[envelope, exchange, routing key]`, written by Python or by our claim script. */
import { DecodeError } from '../../errors.js'
import type { Destination } from '../../protocol/topology.js'

export interface Unacked {
  /** The envelope as it lay on its list. */
  readonly raw: Buffer
  readonly to: Destination
  /** Bytes before and behind the envelope. */
  readonly before: number
  readonly behind: number
}

/** Behind an envelope that came from this queue. */
export function tailOf(queue: string): string {
  return `,"",${JSON.stringify(queue)}]`
}

// Two JSON strings of at most 255 characters each, which may be escaped.
const longestTail = 4_096
const tail = /, ?("(?:[^"\\]|\\.)*"), ?("(?:[^"\\]|\\.)*")\]$/

/** Throws DecodeError. */
export function readUnacked(value: Buffer): Unacked {
  // As latin1, so that places in the text are places in the bytes.
  const found = tail.exec(value.subarray(-longestTail).toString('latin1'))
  if (value[0] !== 0x5b || found === null)
    throw new DecodeError('the unacknowledged message is no list of an envelope, an exchange and a routing key')
  const [all, exchange, routingKey] = found
  const behind = all.length
  return {
    raw: value.subarray(1, value.length - behind),
    to: { exchange: nameOf(exchange), routingKey: nameOf(routingKey) },
    before: 1,
    behind,
  }
}

/** Where a message came from, of the last bytes of its value; undefined when it does not say. */
export function readTail(end: Buffer): Destination | undefined {
  const found = tail.exec(end.toString('latin1'))
  return found === null ? undefined : { exchange: nameOf(found[1]), routingKey: nameOf(found[2]) }
}

function nameOf(latin1: string | undefined): string {
  // A JSON string, as the pattern says.
  return JSON.parse(Buffer.from(latin1 ?? '""', 'latin1').toString('utf8')) as string
}
