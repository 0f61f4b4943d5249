import { atMost } from '../internal/at-most.js'
import type { Clock } from '../internal/clock.js'
import type { Pool } from '../pool.js'
import type { WorkerSource } from '../telemetry/worker-source.js'
import type { Connection } from '../transport.js'
import type { TaskConsumers } from './task-consumers.js'

/** A broker that says nothing in this time is asked again at the next scrape. */
const askMs = 2_000

export interface SourceParts {
  readonly worker: { readonly hostname: string; readonly isReady: boolean; readonly queues: readonly string[] }
  readonly tasks: TaskConsumers
  readonly clock: Clock
  readonly pool: () => Pool | undefined
  readonly connection: () => Connection | undefined
}

/** A worker as those see it who make metrics of it. */
export function sourceOf({ worker, tasks, clock, pool, connection }: SourceParts): WorkerSource {
  const ask = async (question: (connection: Connection) => Promise<number>): Promise<number | undefined> => {
    const current = connection()
    if (current === undefined) return undefined
    let answer: number | undefined
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
      return pool()?.size ?? 0
    },
    get queues() {
      return worker.queues
    },
    queueLength: (queue) => ask((current) => current.size(queue)),
    deadLetters: () => ask((current) => current.deadLetters.count()),
  }
}
