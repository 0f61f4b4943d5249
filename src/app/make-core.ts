import { hasInbox, openBackend } from '../backends/index.js'
import { ControlClient } from '../control/client.js'
import type { EventDispatcher } from '../events/dispatcher.js'
import { isSameAddress } from '../internal/address.js'
import { systemClock } from '../internal/clock.js'
import { LamportClock } from '../internal/lamport-clock.js'
import type { Logger } from '../internal/logger.js'
import { toIso } from '../protocol/time.js'
import { Serializers } from '../serializers/index.js'
import { checkBroker, openTransport } from '../transports/index.js'
import type { Config } from './config.js'
import { Connections, type Drivers } from './connections.js'
import type { AppCore } from './core.js'
import { Hooks } from './hooks.js'
import { silentLogger } from './human-log.js'
import { openLimits } from './limit-place.js'
import { OwnCommands } from './own-commands.js'
import { Registry } from './registry.js'
import { Routes } from './routes.js'
import { signingOf } from './signing.js'
import { telemetryOf } from './telemetry.js'

/** Puts the parts of an app together. Nothing is opened before it is needed. */
export function makeCore(name: string, config: Config, senderEvents: () => EventDispatcher): AppCore {
  const lamport = new LamportClock()
  const core: AppCore = {
    name,
    config,
    registry: new Registry(),
    routes: new Routes(config),
    hooks: new Hooks(),
    telemetry: telemetryOf(() => core),
    serializers: new Serializers({ maxBytes: config.messageMaxBytes, signing: signingOf(config, () => core.clock.now()) }),
    random: Math.random,
    isoNow: isoClock(() => core.clock.now(), config.timezone),
    lamport,
    commands: new OwnCommands(),
    control: new ControlClient({
      namespace: () => core.config.controlExchange,
      clock: () => core.clock,
      lamport,
      publisher: () => core.connections.publisher(),
      connect: () => core.connections.connect(),
    }),
    senderEvents,
    clock: systemClock,
    log: config.logger ?? silentLogger,
    connections: new Connections({
      brokers: config.brokerUrl,
      backend: config.resultBackend,
      hasInbox: hasInbox(config.resultBackend),
      connectTimeoutMs: config.brokerConnectionTimeout * 1000,
      clock: systemClock,
      drivers: driversOf(config, () => core.log),
    }),
  }
  return core
}

function driversOf(config: Config, log: () => Logger): Drivers {
  const { brokerUrl, brokerTransportOptions, resultBackendTransportOptions, resultPersistent } = config
  return {
    openTransport: (address) => openTransport(address, { clock: systemClock, log: log(), transportOptions: brokerTransportOptions }),
    openLimits: () => openLimits(config),
    openBackend: async (address, { replyTo }) => {
      // What is wrong with a broker that keeps the results, too, is told of the broker.
      if (brokerUrl.includes(address)) checkBroker(address)
      // The same server is reached in the same way.
      const isBroker = hasInbox(address) || brokerUrl.some((broker) => isSameAddress(broker, address))
      return openBackend(address, {
        replyTo,
        clock: systemClock,
        transportOptions: resultBackendTransportOptions,
        brokers: brokerUrl,
        persistent: resultPersistent,
        brokerTransportOptions: isBroker ? brokerTransportOptions : {},
      })
    },
  }
}

/** Many results are stored in one millisecond, and writing a time is not cheap: the last one is kept. */
function isoClock(now: () => number, timezone: string): () => string {
  let last = { ms: Number.NaN, text: '' }
  return () => {
    const ms = now()
    if (ms !== last.ms) last = { ms, text: toIso(ms, timezone) }
    return last.text
  }
}
