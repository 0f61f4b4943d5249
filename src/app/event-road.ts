import { hostname } from 'node:os'
import { EventDispatcher, type EventRoad } from '../events/dispatcher.js'
import type { Connection } from '../transport.js'
import type { AppCore } from './core.js'

/** Events over this connection. Of kombu's brokers, Redis has nothing but fan-out to reach who listens, and peers declare the exchange so. */
export function eventRoad(core: AppCore, connection: Connection): EventRoad {
  return { connection, exchangeType: core.connections.transportOf(connection)?.name === 'redis' ? 'fanout' : 'topic' }
}

/** For a program that sends tasks: `task-sent`, under a name of its own as Celery's clients have it. */
export function senderEvents(core: AppCore): EventDispatcher {
  return new EventDispatcher({
    hostname: `gen${process.pid}@${hostname()}`,
    exchange: core.config.eventExchange,
    clock: core.clock,
    lamport: core.lamport,
    log: () => core.log,
    road: async () => eventRoad(core, await core.connections.publisher()),
  })
}
