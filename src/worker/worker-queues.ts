import type { Routes } from '../app/routes.js'
import { QueueNotFoundError } from '../errors.js'
import type { Topology } from '../protocol/topology.js'
import type { Connection, Consumer } from '../transport.js'

/** The queues that a worker takes tasks from. They may change while it runs, and outlive its connections. */
export class WorkerQueues {
  readonly #topologies = new Map<string, Topology>()
  #at: { readonly connection: Connection; readonly consumer: Consumer } | undefined

  constructor(routes: Routes, names: readonly string[]) {
    for (const name of names) this.#topologies.set(name, routes.workerTopology(name))
  }

  get names(): readonly string[] {
    return [...this.#topologies.keys()]
  }

  /** What is taken from at the broker: of a broadcast, the worker's own queue. */
  get sources(): readonly string[] {
    return this.topologies.flatMap(sourcesOf)
  }

  get topologies(): readonly Topology[] {
    return [...this.#topologies.values()]
  }

  /** Changes are made at this consumer from now on. */
  follow(connection: Connection, consumer: Consumer): void {
    this.#at = { connection, consumer }
  }

  /** The queue is declared and taken from at once; after a loss of the connection with the others. */
  async add(name: string, topology: Topology): Promise<void> {
    if (this.#topologies.has(name)) return
    await this.#at?.connection.declare(topology)
    for (const source of sourcesOf(topology)) await this.#at?.consumer.addQueue(source)
    this.#topologies.set(name, topology)
  }

  /** What was taken from it already still runs here. Throws QueueNotFoundError. */
  async cancel(name: string): Promise<void> {
    const topology = this.#topologies.get(name)
    if (topology === undefined) throw new QueueNotFoundError(name)
    this.#topologies.delete(name)
    for (const source of sourcesOf(topology)) await this.#at?.consumer.cancelQueue(source)
  }
}

function sourcesOf({ queues }: Topology): readonly string[] {
  return queues.map((queue) => queue.name)
}
