import type { ControlClient } from '../control/client.js'
import type { EventDispatcher } from '../events/dispatcher.js'
import type { Clock } from '../internal/clock.js'
import type { LamportClock } from '../internal/lamport-clock.js'
import type { Logger } from '../internal/logger.js'
import type { Serializers } from '../serializers/index.js'
import type { Config } from './config.js'
import type { Connections } from './connections.js'
import type { Hooks } from './hooks.js'
import type { OwnCommands } from './own-commands.js'
import type { Registry } from './registry.js'
import type { Routes } from './routes.js'

/** The parts of one app, for those who send, run and wait. A test replaces what is not readonly; nobody else writes here. */
export interface AppCore {
  readonly name: string
  readonly registry: Registry
  readonly routes: Routes
  readonly hooks: Hooks
  /** Turns telemetry on, the first time; a promise while that takes time. Whoever sends or runs the first task waits for it. */
  readonly telemetry: () => Promise<void> | undefined
  readonly serializers: Serializers
  readonly random: () => number
  /** The time now as it is written: in the app's time zone. */
  readonly isoNow: () => string
  /** Logical time of this process, for events and remote control. */
  readonly lamport: LamportClock
  /** Events of a sender: `task-sent`. A worker has a dispatcher of its own. */
  readonly senderEvents: () => EventDispatcher
  /** Asks workers. */
  readonly control: ControlClient
  /** Commands of remote control that the app has added. */
  readonly commands: OwnCommands
  config: Config
  clock: Clock
  connections: Connections
  log: Logger
}
