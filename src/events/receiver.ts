import { randomUUID } from 'node:crypto'
import type { LamportClock } from '../internal/lamport-clock.js'
import { type ClusterEvent, decodeEvents, eventExchange, eventQueue } from '../protocol/events.js'
import type { Message } from '../protocol/message.js'
import { decodeJson, json } from '../serializers/json.js'
import type { Consumer } from '../transport.js'
import type { EventRoad } from './dispatcher.js'

export interface ReceiverOptions extends EventRoad {
  readonly exchange: string
  /** `#` is every event, `worker.#` what workers say of themselves, `task.#` what happens to tasks. */
  readonly routingKey: string
  readonly lamport: LamportClock
  /** Must not throw. */
  readonly onEvent: (event: ClusterEvent) => void
  /** Of a message that is no event. */
  readonly onUnreadable: (error: unknown) => void
}

/** More than a monitor has to hold at a time. */
const prefetch = 1_000

/** Listens to events from now on, until the consumer is cancelled or its connection ends. */
export async function receiveEvents(options: ReceiverOptions): Promise<Consumer> {
  const { connection, exchangeType, queueLimits, exchange, routingKey, onUnreadable } = options
  const queue = eventQueue(`celeryev.${randomUUID()}`, exchange, routingKey, queueLimits)
  await connection.declare({ exchanges: [eventExchange(exchange, exchangeType)], queues: [queue] })
  return connection.consume({
    queues: [queue.name],
    prefetch,
    onDeliveries: (deliveries) => {
      for (const delivery of deliveries) {
        delivery.ack()
        try {
          take(delivery.message, options)
        } catch (error) {
          onUnreadable(error)
        }
      }
    },
  })
}

function take(message: Message, { lamport, onEvent }: ReceiverOptions): void {
  if (message.contentType !== json.contentType) throw new Error(`an event of the content type ${message.contentType} is not read`)
  for (const event of decodeEvents(decodeJson(message.body))) {
    // A client's clock says little: what it sends comes before what is done with it.
    if (event.type === 'task-sent') {
      onEvent({ ...event, clock: event.clock ?? Math.max(0, lamport.value - 1) })
      continue
    }
    const clock = lamport.adjust(event.clock)
    onEvent(event.clock === null ? { ...event, clock } : event)
  }
}
