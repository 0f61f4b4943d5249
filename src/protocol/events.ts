/** Events that workers and senders publish for monitors (celery/events): what happens to tasks and workers, as messages that nobody has to read. */
import { InvalidMessageError, show } from '../errors.js'
import type { Serializer } from '../serializer.js'
import type { Message } from './message.js'
import { isName } from './name.js'
import { isRecord } from './plain.js'
import type { Exchange, ExchangeType, Queue } from './topology.js'

/** One event, with the fields of its type beside these. */
export interface ClusterEvent {
  /** `task-received`, `worker-heartbeat`: the group stands before the first dash. */
  readonly type: string
  /** Node name of who sent it. */
  readonly hostname: string
  /** Logical time; null from a sender that has none. */
  readonly clock: number | null
  /** Seconds since the epoch. */
  readonly timestamp: number
  /** Whole hours west of UTC. */
  readonly utcoffset: number
  readonly pid: number
  readonly [field: string]: unknown
}

/** Events of this type go out with this routing key: `task.received`. */
export const eventRoutingKey = (type: string): string => type.replaceAll('-', '.')

/** Several task events in one message. */
export const batchRoutingKey = 'task.multi'

/**
 * The exchange of all events, as Celery declares it: fan-out where the broker has nothing else to reach whoever listens (kombu on Redis), topic elsewhere.
 */
export function eventExchange(name: string, type: Extract<ExchangeType, 'fanout' | 'topic'>): Exchange {
  return { name, type, durable: true, autoDelete: false }
}

/** The queue of one listener: `#` is everything, `worker.#` what workers say of themselves. */
export function eventQueue(name: string, exchange: string, routingKey: string, limits: Queue['arguments']): Queue {
  return { name, durable: false, exclusive: true, autoDelete: true, arguments: limits, bindings: [{ exchange, routingKey }] }
}

/** One event as it is, several as an array. */
export function encodeEvents(events: readonly ClusterEvent[], serializer: Serializer, hostname: string): Message {
  return {
    body: serializer.encode(events.length === 1 ? events[0] : events, 'event'),
    contentType: serializer.contentType,
    contentEncoding: serializer.contentEncoding,
    headers: { hostname },
    properties: { deliveryMode: 1, priority: 0 },
  }
}

/** The events of a decoded body. Throws InvalidMessageError when one of them says neither what it is nor who sent it. */
export function decodeEvents(value: unknown): readonly ClusterEvent[] {
  return Array.isArray(value) ? value.map(decodeEvent) : [decodeEvent(value)]
}

function decodeEvent(value: unknown): ClusterEvent {
  if (!isRecord(value)) throw new InvalidMessageError(`expected an event to be an object, got: ${show(value)}`)
  const { type, hostname, clock, timestamp, utcoffset, pid } = value
  if (!isName(type)) throw new InvalidMessageError(`expected type of an event to be a name, got: ${show(type)}`)
  if (!isName(hostname)) throw new InvalidMessageError(`expected hostname of a ${type} event to be a name, got: ${show(hostname)}`)
  return {
    ...value,
    type,
    hostname,
    clock: Number.isSafeInteger(clock) ? (clock as number) : null, // a safe integer, checked
    // What is no time can be shown nowhere as one.
    timestamp: Math.abs(finite(timestamp)) <= lastSecond ? finite(timestamp) : 0,
    utcoffset: finite(utcoffset),
    pid: finite(pid),
  }
}

/** Of a Date, in seconds either side of 1970. */
const lastSecond = 8.64e12

const finite = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0)

/** Hours west of UTC, as Python has it: UTC+1 is -1, UTC+5:30 is -6. */
export function utcOffset(ms: number): number {
  return Math.floor(new Date(ms).getTimezoneOffset() / 60) + 0
}
