import { ClusterState, type ClusterStateOptions } from '../events/cluster-state.js'
import { receiveEvents } from '../events/receiver.js'
import { Backoff } from '../internal/backoff.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import type { ClusterEvent } from '../protocol/events.js'
import type { Connection } from '../transport.js'
import type { AppCore } from './core.js'
import { eventRoad } from './event-road.js'

export interface MonitorOptions extends Pick<ClusterStateOptions, 'maxTasks' | 'maxWorkers'> {
  /** Which events: `#` (the default) is all, `worker.#` those of workers, `task.#` those of tasks. */
  routingKey?: string
  /** Told of each event as it comes. What it throws is logged. */
  onEvent?: (event: ClusterEvent) => void
}

const names: NamesOf<Required<MonitorOptions>> = { maxTasks: true, maxWorkers: true, routingKey: true, onEvent: true }

/** After a loss of the broker. */
const again = { firstMs: 100, maxMs: 5_000 } as const

/** Listens to the events of a cluster, of workers of both languages, and keeps what they tell. Comes back after a loss of the broker; what happened meanwhile is not told. */
export class Monitor implements AsyncDisposable {
  readonly state: ClusterState
  readonly #core: AppCore
  readonly #options: MonitorOptions
  #connection: Connection | undefined
  #isClosed = false

  constructor(core: AppCore, options: MonitorOptions) {
    checkNames(options, names)
    this.#core = core
    this.#options = options
    this.state = new ClusterState({ ...options, now: () => core.clock.now() })
  }

  /** Settles when it listens. Throws ConnectionError. */
  async open(): Promise<this> {
    const { config, connections, control, lamport, log } = this.#core
    const { routingKey = '#' } = this.#options
    const connection = await connections.connect()
    this.#connection = connection
    try {
      await receiveEvents({
        ...eventRoad(this.#core, connection),
        exchange: config.eventExchange,
        routingKey,
        lamport,
        onEvent: (event) => this.#take(event),
        onUnreadable: (error) => log.warn({ err: error }, 'an event could not be read'),
      })
      // Workers that are there need not be waited for.
      await control.tell({ method: 'heartbeat', arguments: {} })
    } catch (error) {
      await connection.close()
      throw error
    }
    void connection.closed.then((error) => {
      if (error !== undefined && !this.#isClosed) void this.#openAgain(error)
    })
    return this
  }

  /** Safe twice. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#connection?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #take(event: ClusterEvent): void {
    this.state.take(event)
    try {
      this.#options.onEvent?.(event)
    } catch (error) {
      this.#core.log.error({ err: error, event: event.type }, 'a listener of events threw')
    }
  }

  async #openAgain(cause: Error): Promise<void> {
    const { clock, log, random } = this.#core
    log.warn({ err: cause }, 'no events are heard: the connection to the broker is lost')
    const backoff = new Backoff({ ...again, random })
    while (!this.#isClosed) {
      await new Promise<void>((resolve) => clock.setTimer(backoff.next(), resolve))
      try {
        if (!this.#isClosed) await this.open()
        // Closed while it was opened.
        if (this.#isClosed) await this.#connection?.close()
        return
      } catch (error) {
        log.debug({ err: error }, 'the broker cannot be reached; trying again')
      }
    }
  }
}
