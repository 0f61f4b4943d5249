import type { Clock } from '../internal/clock.js'
import type { LamportClock } from '../internal/lamport-clock.js'
import type { Logger } from '../internal/logger.js'
import { batchRoutingKey, type ClusterEvent, encodeEvents, eventExchange, eventRoutingKey, utcOffset } from '../protocol/events.js'
import { json } from '../serializers/json.js'
import type { Connection } from '../transport.js'

/** Where events go: a connection, and the type that the exchange has at its broker. */
export interface EventRoad {
  readonly connection: Connection
  readonly exchangeType: 'fanout' | 'topic'
  /** Arguments of the queues of those who listen; none where the broker keeps nothing for who does not. */
  readonly queueLimits: Readonly<Record<string, unknown>>
}

export interface DispatcherParts {
  /** Who sends them: a worker's node name, or `gen<pid>@<host>` for a program that only sends tasks. */
  readonly hostname: string
  readonly exchange: string
  readonly clock: Clock
  readonly lamport: LamportClock
  readonly log: () => Logger
  /** Opens the road when it is first needed; rejects while the broker cannot be reached. */
  readonly road: () => Promise<EventRoad>
}

/** Events of one message at most. */
const largestBatch = 100
/** Events that wait for the broker to come back; the oldest go first. */
const mostWaiting = 1_000
/** A monitor has no use for what comes later. */
const deadlineMs = 4_000

/**
 * Sends events: never throws, never makes anybody wait. Task events of one tick share a message. While the broker is away they wait, a thousand at most.
 */
export class EventDispatcher {
  readonly #parts: DispatcherParts
  #waiting: ClusterEvent[] = []
  #flushing: Promise<void> | undefined
  #isScheduled = false
  #offset = { untilMs: 0, hours: 0 }
  #declared: Connection | undefined

  constructor(parts: DispatcherParts) {
    this.#parts = parts
  }

  get hostname(): string {
    return this.#parts.hostname
  }

  send(type: string, fields: Readonly<Record<string, unknown>>): void {
    const { clock, lamport, hostname } = this.#parts
    const nowMs = clock.now()
    this.#waiting.push({
      hostname,
      utcoffset: this.#utcOffset(nowMs),
      pid: process.pid,
      clock: lamport.forward(),
      ...fields,
      timestamp: nowMs / 1000,
      type,
    })
    if (this.#waiting.length > mostWaiting) this.#waiting.shift()
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      void this.flush()
    })
  }

  /** Settles when what was sent until now is at the broker, or could not be brought there. */
  async flush(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing
    if (this.#waiting.length === 0) return
    this.#flushing = this.#flush()
    try {
      await this.#flushing
    } finally {
      this.#flushing = undefined
    }
  }

  async #flush(): Promise<void> {
    const { road, exchange, log } = this.#parts
    const events = this.#waiting
    this.#waiting = []
    try {
      const { connection, exchangeType } = await road()
      if (this.#declared !== connection) {
        await connection.declare({ exchanges: [eventExchange(exchange, exchangeType)], queues: [] })
        this.#declared = connection
      }
      await Promise.all(
        batches(events).map(({ routingKey, batch }) =>
          connection.publish(encodeEvents(batch, json, this.hostname), { exchange, routingKey }, { deadlineMs }),
        ),
      )
    } catch (error) {
      log().debug({ err: error }, `${events.length} events could not be sent`)
      // What did go out may come twice: monitors know an event by its clock and sender.
      this.#waiting = [...events, ...this.#waiting].slice(-mostWaiting)
    }
  }

  /** It changes with the hour at most. */
  #utcOffset(nowMs: number): number {
    if (nowMs >= this.#offset.untilMs || nowMs < this.#offset.untilMs - 3_600_000) {
      const hour = Math.floor(nowMs / 3_600_000) * 3_600_000
      this.#offset = { untilMs: hour + 3_600_000, hours: utcOffset(nowMs) }
    }
    return this.#offset.hours
  }
}

/** Task events together, each other event in a message of its own, all in their order. */
function batches(events: readonly ClusterEvent[]): { readonly routingKey: string; readonly batch: ClusterEvent[] }[] {
  const made: { routingKey: string; batch: ClusterEvent[] }[] = []
  for (const event of events) {
    const last = made.at(-1)
    const first = last?.batch[0]
    if (last !== undefined && first !== undefined && isTaskEvent(event) && isTaskEvent(first) && last.batch.length < largestBatch) {
      last.batch.push(event)
      last.routingKey = batchRoutingKey
    } else made.push({ routingKey: eventRoutingKey(event.type), batch: [event] })
  }
  return made
}

const isTaskEvent = (event: ClusterEvent): boolean => event.type.startsWith('task-')
