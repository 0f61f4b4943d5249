/** Dead letters as text. Nothing in them is trusted: what is shown on a terminal is made safe for it. */

import { safeText } from '../internal/safe-text.js'
import type { DeadLetter } from '../transport.js'
import { toJson } from './json.js'

export interface DeadLetterSummary {
  readonly id: string
  readonly queue: string
  readonly reason: string
  readonly diedAt: string
  readonly deliveries: number
  readonly task: string | null
  readonly taskId: string | null
  readonly bytes: number
}

export function summary(letter: DeadLetter): DeadLetterSummary {
  const { id, queue, reason, diedAtMs, deliveries, message } = letter
  return {
    id,
    queue,
    reason,
    diedAt: new Date(diedAtMs).toISOString(),
    deliveries,
    task: textIn(message.headers.task),
    taskId: textIn(message.headers.id),
    bytes: bodyBytes(letter).length,
  }
}

export function bodyBytes({ message: { body } }: DeadLetter): Buffer {
  return typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

/** What `show` tells. Arguments are shown as their sender made them for logs: what it hid there stays hidden here. */
export function facts(letter: DeadLetter): readonly string[] {
  const { message } = letter
  const { id, queue, reason, diedAt, deliveries, task, taskId, bytes } = summary(letter)
  const { argsrepr, kwargsrepr, eta, expires, retries, root_id: root, parent_id: parent, origin, group } = message.headers
  const rows: readonly (readonly [string, unknown])[] = [
    ['id', id],
    ['queue', queue],
    ['reason', reason],
    ['died at', diedAt],
    ['deliveries', deliveries],
    ['task', task],
    ['task id', taskId],
    ['args', argsrepr],
    ['kwargs', kwargsrepr],
    ['eta', eta],
    ['expires', expires],
    ['retries', retries],
    ['root id', root],
    ['parent id', parent],
    ['group', group],
    ['sent by', origin],
    ['priority', message.properties.priority],
    ['body', `${bytes} bytes of ${message.contentType}, ${message.contentEncoding}`],
  ]
  return rows
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name.padEnd(11)}${safeText(typeof value === 'string' ? value : toJson(value))}`)
}

const textIn = (value: unknown): string | null => (typeof value === 'string' ? value : null)
