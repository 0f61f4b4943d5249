import type { Routes } from '../app/routes.js'
import { QueueNotFoundError } from '../errors.js'
import type { Logger } from '../internal/logger.js'
import type { Topology } from '../protocol/topology.js'
import type { Connection, Consumer } from '../transport.js'

/**
 * The queues that a worker takes tasks from. They may change while it runs, and outlive its connections.
 *
 *   none of its queues ⇄ taken from ⇄ paused
 *     (add, cancel)        (pause, resume: for the whole cluster; the broker remembers it)
 */
export class WorkerQueues {
  readonly #topologies = new Map<string, Topology>()
  /** Names of queues that are paused; they need not be this worker's yet. */
  readonly #paused = new Set<string>()
  /** Those of this worker's queues at the broker that are paused. */
  #pausedSources: ReadonlySet<string> = new Set()
  #at: { readonly connection: Connection; readonly consumer: Consumer } | undefined

  constructor(routes: Routes, names: readonly string[]) {
    for (const name of names) this.#topologies.set(name, routes.workerTopology(name))
  }

  get names(): readonly string[] {
    return [...this.#topologies.keys()]
  }

  /** What is taken from at the broker: of a broadcast, the worker's own queue. Without those that are paused. */
  get sources(): readonly string[] {
    return this.topologies.flatMap(sourcesOf).filter((source) => !this.isPaused(source))
  }

  get topologies(): readonly Topology[] {
    return [...this.#topologies.values()]
  }

  /** Of a queue at the broker. */
  isPaused(source: string): boolean {
    return this.#pausedSources.has(source)
  }

  /** Of a queue of this worker, by its name. */
  isPausedFor(name: string): boolean {
    return this.#paused.has(name)
  }

  /** Asks the broker what is paused, before anything is taken from it. It knows of a pause before any worker does. */
  async learnPauses(connection: Connection, log: Logger): Promise<void> {
    const known = await connection.queues.paused(this.names)
    for (const name of known.keys())
      if (!this.#paused.has(name)) log.warn({ queue: name }, `Queue ${name} is paused: celeriac resume ${name}`)
    this.#paused.clear()
    for (const name of known.keys()) this.#paused.add(name)
    this.#sort()
  }

  /** Changes are made at this consumer from now on, and those that were made while it was opened. */
  async follow(connection: Connection, consumer: Consumer): Promise<void> {
    this.#at = { connection, consumer }
    for (const source of this.topologies.flatMap(sourcesOf)) await this.#update(source)
  }

  /** The queue is declared and taken from at once, unless it is paused; after a loss of the connection with the others. */
  async add(name: string, topology: Topology): Promise<void> {
    if (this.#topologies.has(name)) return
    await this.#at?.connection.declare(topology)
    if ((await this.#at?.connection.queues.paused([name]))?.has(name) === true) this.#paused.add(name)
    this.#topologies.set(name, topology)
    this.#sort()
    try {
      for (const source of sourcesOf(topology)) await this.#update(source)
    } catch (error) {
      this.#topologies.delete(name)
      throw error
    }
  }

  /** What was taken from it already still runs here. Throws QueueNotFoundError. */
  async cancel(name: string): Promise<void> {
    const topology = this.#topologies.get(name)
    if (topology === undefined) throw new QueueNotFoundError(name)
    this.#topologies.delete(name)
    this.#sort()
    for (const source of sourcesOf(topology)) await this.#at?.consumer.cancelQueue(source)
  }

  /** Nothing is taken from it until it is resumed. False: it was paused already. */
  async pause(name: string): Promise<boolean> {
    const isNews = !this.#paused.has(name)
    this.#paused.add(name)
    await this.#apply(name)
    return isNews
  }

  /** False: it was not paused. */
  async resume(name: string): Promise<boolean> {
    const isNews = this.#paused.delete(name)
    await this.#apply(name)
    return isNews
  }

  async #apply(name: string): Promise<void> {
    this.#sort()
    const topology = this.#topologies.get(name)
    if (topology !== undefined) for (const source of sourcesOf(topology)) await this.#update(source)
  }

  async #update(source: string): Promise<void> {
    if (this.isPaused(source)) await this.#at?.consumer.cancelQueue(source)
    else await this.#at?.consumer.addQueue(source)
  }

  #sort(): void {
    const paused = [...this.#topologies].filter(([name]) => this.#paused.has(name))
    this.#pausedSources = new Set(paused.flatMap(([, topology]) => sourcesOf(topology)))
  }
}

function sourcesOf({ queues }: Topology): readonly string[] {
  return queues.map((queue) => queue.name)
}
