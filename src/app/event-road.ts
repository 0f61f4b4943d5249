import { hostname } from 'node:os'
import { EventDispatcher, type EventRoad } from '../events/dispatcher.js'
import type { Connection } from '../transport.js'
import type { Config } from './config.js'
import type { AppCore } from './core.js'

/** Messages, each of up to a hundred events, that are kept for a monitor that does not read; the oldest go first. */
const mostForOne = 10_000
/** Their bytes: a message of a hundred events has some 50 kB. */
const mostBytesForOne = 64 * 1024 ** 2

/** Events over this connection. Of kombu's brokers, Redis has nothing but fan-out to reach who listens, and peers declare the exchange so; it keeps nothing. */
export function eventRoad(core: AppCore, connection: Connection): EventRoad {
  const isRedis = core.connections.transportOf(connection)?.name === 'redis'
  return { connection, exchangeType: isRedis ? 'fanout' : 'topic', queueLimits: isRedis ? {} : queueLimits(core.config) }
}

/** A monitor that has stopped, or is too slow, must cost the broker no memory: what it does not read soon goes away, and then its queue. */
function queueLimits({ eventQueueTtl, eventQueueExpires }: Config): Readonly<Record<string, unknown>> {
  return {
    ...(eventQueueTtl === null ? {} : { 'x-message-ttl': Math.round(eventQueueTtl * 1000) }),
    ...(eventQueueExpires === null ? {} : { 'x-expires': Math.round(eventQueueExpires * 1000) }),
    'x-max-length': mostForOne,
    'x-max-length-bytes': mostBytesForOne,
  }
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
