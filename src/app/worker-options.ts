import { OptionInvalidError } from '../errors.js'
import type { Duration } from '../internal/duration.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import { configTable } from './config-table.js'
import { checkName } from './registry.js'

export interface WorkerOptions {
  /** Default: those of `taskQueues`, else the default queue. */
  queues?: string[]
  /** Tasks at the same time: processes of prefork, threads, calls of async. Default: `workerConcurrency`. */
  concurrency?: number
  /** Default: `prefork` when `app` is given, else `async`: children load the app from its file. */
  pool?: 'prefork' | 'threads' | 'async' | 'solo'
  /** Node name; `%h` is the host name, `%n` the part before the dot, `%d` the domain. Default `celery@%h`. */
  hostname?: string
  /** Stops the worker (warm) when it aborts. */
  signal?: AbortSignal
  /** Replace a child after so many tasks. */
  maxTasksPerChild?: number
  /** Replace a child whose memory is over so many KiB. */
  maxMemoryPerChild?: number
  /** Listen to what other workers say of themselves, and take part in elections. Default: on Redis and RabbitMQ, as Celery. */
  gossip?: boolean
  /** Ask other workers at the start which tasks are revoked. Default: on Redis and RabbitMQ, as Celery. */
  mingle?: boolean
  /** Tell monitors and other workers every `workerHeartbeatInterval` that this one is there. Default true. */
  heartbeat?: boolean
  /**
   * The file that exports the app, for `prefork` and `threads`, whose children load it: a path or file URL, with `#name` for one export of several. Not the file that
   * starts the worker.
   */
  app?: string | URL
}

export interface StopOptions {
  /** warm: what runs may finish. soft: as warm for `workerSoftShutdownTimeout`, then as cold. cold: what runs is cut off and goes back to its queue. Default warm. */
  mode?: 'warm' | 'soft' | 'cold'
  /** Cold after it. Default: no limit for warm. */
  timeout?: Duration
}

const workerNames: NamesOf<Required<WorkerOptions>> = {
  queues: true,
  concurrency: true,
  pool: true,
  hostname: true,
  signal: true,
  maxTasksPerChild: true,
  maxMemoryPerChild: true,
  gossip: true,
  mingle: true,
  heartbeat: true,
  app: true,
}

const stopNames: NamesOf<Required<StopOptions>> = { mode: true, timeout: true }
const stopModes: readonly unknown[] = ['warm', 'soft', 'cold']

/** Throws for options that a worker does not have, and for values that it could not use. */
export function checkWorkerOptions(options: WorkerOptions): void {
  checkNames(options, workerNames)
  const { queues, concurrency, pool, hostname, signal, maxTasksPerChild, maxMemoryPerChild } = options
  if (queues !== undefined) {
    if (!Array.isArray(queues) || queues.length === 0) throw new OptionInvalidError('queues', 'a list of names of queues', queues)
    for (const name of queues) checkName('queue', name)
  }
  if (concurrency !== undefined) configTable.workerConcurrency.kind.parse(concurrency, 'concurrency')
  if (pool !== undefined) configTable.workerPool.kind.parse(pool, 'pool')
  if (hostname !== undefined) checkName('hostname', hostname)
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new OptionInvalidError('signal', 'an AbortSignal', signal)
  if (maxTasksPerChild !== undefined) configTable.workerMaxTasksPerChild.kind.parse(maxTasksPerChild, 'maxTasksPerChild')
  if (maxMemoryPerChild !== undefined) configTable.workerMaxMemoryPerChild.kind.parse(maxMemoryPerChild, 'maxMemoryPerChild')
}

export function checkStopOptions(options: StopOptions): void {
  checkNames(options, stopNames)
  if (options.mode !== undefined && !stopModes.includes(options.mode))
    throw new OptionInvalidError('mode', '"warm", "soft" or "cold"', options.mode)
}
