import type { Connections } from '../app/connections.js'
import { atMost } from '../internal/at-most.js'
import type { Clock } from '../internal/clock.js'
import type { Pool } from '../pool.js'
import type { WorkerSource } from '../telemetry/worker-source.js'
import type { Connection } from '../transport.js'
import type { TaskConsumers } from './task-consumers.js'
import type { WorkerQueues } from './worker-queues.js'

/** A broker that says nothing in this time is asked again at the next scrape. */
const askMs = 2_000

export interface SourceParts {
  readonly worker: { readonly hostname: string; readonly isReady: boolean; readonly queues: readonly string[] }
  readonly tasks: TaskConsumers
  readonly clock: Clock
  readonly connections: Pick<Connections, 'transportOf'>
  /** What it has at the moment. */
  readonly now: () => {
    readonly pool: Pool | undefined
    readonly connection: Connection | undefined
    readonly queues: Pick<WorkerQueues, 'isPausedFor'> | undefined
  }
}

/** A worker as those see it who make metrics of it. */
export function sourceOf({ worker, tasks, clock, connections, now }: SourceParts): WorkerSource {
  const ask = async <T>(question: (connection: Connection) => Promise<T>): Promise<T | undefined> => {
    const current = now().connection
    if (current === undefined) return undefined
    let answer: T | undefined
    await atMost(
      clock,
      askMs,
      question(current).then(
        (value) => {
          answer = value
        },
        () => {},
      ),
    )
    return answer
  }
  return {
    hostname: worker.hostname,
    get isUp() {
      return worker.isReady
    },
    get active() {
      return tasks.running.length
    },
    get reserved() {
      const { held, running } = tasks
      return held.length - running.length
    },
    get poolSize() {
      return now().pool?.size ?? 0
    },
    get queues() {
      return worker.queues
    },
    queueLength: (queue) => ask((current) => current.size(queue)),
    oldestSeconds: (queue) =>
      ask(async (current) => {
        const queueAge = connections.transportOf(current)?.supports.queueAge ?? 'none'
        if (queueAge === 'none') return undefined
        const oldestAtMs = await current.queues.oldestAtMs(queue)
        if (oldestAtMs !== undefined) return Math.max(0, clock.now() - oldestAtMs) / 1000
        // Something may wait there that tells no time.
        return queueAge === 'all' || (await current.size(queue, { due: true })) === 0 ? 0 : undefined
      }),
    isPaused: (queue) => now().queues?.isPausedFor(queue) ?? false,
    deadLetters: () => ask((current) => current.deadLetters.count()),
  }
}
