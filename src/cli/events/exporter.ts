/** What `celeriac events --metrics-port` tells Prometheus: the events of all workers, and what they and the broker answer when they are asked. */
import type { ListenAddress } from '../../app/config-kinds.js'
import { pausesOf } from '../../app/queue-pauses.js'
import { CeleriacError } from '../../errors.js'
import { isRecord } from '../../protocol/plain.js'
import { type ClusterLook, ClusterMetrics, type QueueLook } from '../../telemetry/cluster-metrics.js'
import { openRegistry } from '../../telemetry/registry.js'
import { openPort } from '../../worker/http-port.js'
import { deadOf } from '../queue-rows.js'
import type { CommandContext } from '../with-app.js'

/** Whoever asks more often is given what was found last. */
const freshMs = 3_000

export interface Exporter extends AsyncDisposable {
  /** Without a path. */
  readonly url: string
}

/** Throws DriverNotInstalledError without prom-client, PortUnavailableError and ConnectionError. */
export async function openExporter(
  context: CommandContext,
  address: ListenAddress,
  { flower }: { readonly flower: boolean },
): Promise<Exporter> {
  const { app, core } = context
  const registry = await openRegistry()
  let metrics: ClusterMetrics | undefined
  const monitor = await app.monitor({ onEvent: (event) => metrics?.take(event) })
  metrics = new ClusterMetrics(registry, monitor.state, { clock: core.clock, flower })
  const told = metrics
  const look = kept(core.clock, () =>
    lookAt(context, { workers: monitor.state.workers().filter(({ isAlive }) => isAlive).length, queues: told.queuesHeard }),
  )
  const answer = { status: 200, type: registry.contentType }
  try {
    const port = await openPort(address, { '/metrics': async () => ({ ...answer, body: await told.text(await look()) }) })
    return {
      url: port.url,
      [Symbol.asyncDispose]: async () => {
        await port.close()
        await monitor.close()
      },
    }
  } catch (error) {
    await monitor.close()
    throw error
  }
}

/** One look at a time, and none while the last one is fresh. */
function kept<T>(clock: { monotonic(): number }, look: () => Promise<T>): () => Promise<T> {
  let last: { readonly sinceMs: number; readonly found: Promise<T> } | undefined
  return () => {
    if (last === undefined || clock.monotonic() - last.sinceMs > freshMs) last = { sinceMs: clock.monotonic(), found: look() }
    return last.found
  }
}

/** Undefined while the broker cannot be reached. */
async function lookAt(
  { app, core }: CommandContext,
  { workers, queues: heard }: { readonly workers: number; readonly queues: Iterable<string> },
): Promise<ClusterLook | undefined> {
  try {
    const takers = await takersOf(app, workers)
    const connection = await core.connections.publisher()
    const { queueAge } = core.connections.transportOf(connection)?.supports ?? { queueAge: 'none' }
    const names = [...new Set([...core.routes.defaultQueues(), ...takers.keys(), ...heard])]
    const pauses = await pausesOf(core, names)
    const queues: QueueLook[] = []
    for (const queue of names) {
      const { waiting, consumers, oldestAtMs } = await connection.queues.facts(queue)
      const taken = takers.get(queue) ?? { workers: 0, processes: 0 }
      const age = oldestAtMs === undefined ? undefined : Math.max(0, core.clock.now() - oldestAtMs) / 1000
      queues.push({
        queue,
        length: waiting,
        workers: taken.workers,
        processes: taken.processes,
        consumers: consumers ?? taken.workers,
        oldestSeconds: age ?? (waiting === 0 && queueAge !== 'none' ? 0 : undefined),
        isPaused: pauses.has(queue),
      })
    }
    const dead = (await deadOf(app)) ?? new Map([['', await app.deadLetters.count()]])
    return { queues, dead: new Map([...names.map((queue): [string, number] => [queue, 0]), ...dead]), schedules: await schedulesOf(app) }
  } catch (error) {
    if (error instanceof CeleriacError) return undefined
    throw error
  }
}

interface Takers {
  workers: number
  processes: number
}

/** Who takes from each queue, of those that answer. */
async function takersOf({ control }: CommandContext['app'], workers: number): Promise<ReadonlyMap<string, Takers>> {
  const inspect = control.inspect(workers === 0 ? {} : { limit: workers })
  const [queues, stats] = await Promise.all([inspect.activeQueues(), inspect.stats()])
  const takers = new Map<string, Takers>()
  for (const [hostname, taken] of Object.entries(queues)) {
    for (const queue of Array.isArray(taken) ? taken : []) {
      if (!isRecord(queue) || typeof queue.name !== 'string') continue
      const found = takers.get(queue.name) ?? { workers: 0, processes: 0 }
      takers.set(queue.name, found)
      if (queue.paused === true) continue
      found.workers += 1
      found.processes += poolSize(stats[hostname])
    }
  }
  return takers
}

/** Of workers of both languages: the how many tasks may run at once, else the number of processes. */
function poolSize(stats: unknown): number {
  const pool = isRecord(stats) ? stats.pool : undefined
  if (!isRecord(pool)) return 0
  const most = pool['max-concurrency']
  return typeof most === 'number' ? most : Array.isArray(pool.processes) ? pool.processes.length : 0
}

/** None where schedules are not kept, or cannot be read. */
async function schedulesOf(app: CommandContext['app']): Promise<ClusterLook['schedules']> {
  try {
    const entries = await app.schedule.list()
    return entries.map(({ name, lastRunAt, missedCount }) => ({ name, lastRunAtMs: lastRunAt?.getTime(), missed: missedCount }))
  } catch (error) {
    if (error instanceof CeleriacError) return []
    throw error
  }
}
