import type { AppCore } from '../app/core.js'
import { eventRoad } from '../app/event-road.js'
import type { WorkerOptions } from '../app/worker-options.js'
import { ConnectionError } from '../errors.js'
import { EventDispatcher } from '../events/dispatcher.js'
import { Heart } from '../events/heart.js'
import { atMost } from '../internal/at-most.js'
import type { Connection } from '../transport.js'
import { TaskCounts } from './task-counts.js'
import { TaskEvents } from './task-events.js'
import { taskSignals } from './task-signals.js'

/** A farewell that the broker does not take in this time is not sent. */
const farewellMs = 1_000

/** What others see of a worker: its events, its heartbeats, how much it has done. Outlives its connections. */
export class Presence {
  readonly dispatcher: EventDispatcher
  readonly events: TaskEvents
  readonly counts = new TaskCounts()
  /** MB, by `memsample`. */
  readonly memorySamples: number[] = []
  /** Undefined when the worker was told not to beat. */
  readonly heart: Heart | undefined
  readonly #core: AppCore
  #connection: Connection | undefined

  constructor(core: AppCore, hostname: string, options: Pick<WorkerOptions, 'heartbeat'>, active: () => number) {
    const { config, clock, lamport } = core
    this.#core = core
    this.dispatcher = new EventDispatcher({
      hostname,
      exchange: config.eventExchange,
      clock,
      lamport,
      log: () => core.log,
      road: async () => {
        if (this.#connection === undefined) throw new ConnectionError('the worker has no connection at the moment')
        return eventRoad(core, this.#connection)
      },
    })
    this.events = new TaskEvents(this.dispatcher, { enabled: config.workerSendTaskEvents })
    this.events.watch(taskSignals(core))
    if (options.heartbeat === false) return
    this.heart = new Heart({
      clock,
      dispatcher: this.dispatcher,
      intervalMs: config.workerHeartbeatInterval * 1000,
      counts: () => ({ active: active(), processed: this.counts.all }),
      onBeat: () => core.hooks.tell('heartbeatSent', core.log, () => ({ hostname })),
    })
  }

  /** Events go over this connection from now on. */
  use(connection: Connection): void {
    this.#connection = connection
    void connection.closed.then(() => {
      if (this.#connection === connection) this.#connection = undefined
    })
  }

  start(): void {
    this.heart?.start()
  }

  async stop(): Promise<void> {
    await atMost(this.#core.clock, farewellMs, this.heart?.stop() ?? this.dispatcher.flush())
  }
}
