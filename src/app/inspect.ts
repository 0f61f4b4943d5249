import type { Duration } from '../internal/duration.js'

/** What each worker answered, by its node name. */
export type Replies<Answer = unknown> = Readonly<Record<string, Answer>>

/** A task that a worker has, as workers of both languages tell of it. Times are seconds since the epoch. */
export interface TaskInfo {
  readonly id: string
  readonly name: string
  readonly type: string
  readonly args: unknown
  readonly kwargs: unknown
  readonly hostname: string
  /** Null before it has started. */
  readonly time_start: number | null
  readonly acknowledged: boolean
  readonly delivery_info: Readonly<Record<string, unknown>>
  /** Null before it has started. */
  readonly worker_pid: number | null
}

type Ask = <Answer>(method: string, args: Readonly<Record<string, unknown>>, timeout?: Duration) => Promise<Replies<Answer>>

/** Questions to workers; each gives the answers by node name, and none when no worker has answered. */
export class Inspect {
  readonly #ask: Ask

  constructor(ask: Ask) {
    this.#ask = ask
  }

  /** Tasks that run now. `safe`: their arguments as the texts that their senders made for logs. */
  active({ safe = false }: { safe?: boolean } = {}): Promise<Replies<readonly TaskInfo[]>> {
    return this.#ask('active', { safe })
  }

  /** Tasks that a worker holds and has not started. */
  reserved(): Promise<Replies<readonly TaskInfo[]>> {
    return this.#ask('reserved', {})
  }

  /** Tasks that wait in a worker for their time or their rate limit. Those that wait for their eta in the broker are in no worker's hands. */
  scheduled(): Promise<Replies<readonly { readonly eta: string | null; readonly priority: number; readonly request: TaskInfo }[]>> {
    return this.#ask('scheduled', {})
  }

  /** Ids of revoked tasks, the oldest first. */
  revoked(): Promise<Replies<readonly string[]>> {
    return this.#ask('revoked', {})
  }

  /** What workers know of these tasks, by id: in which state (`active`, `reserved`, `scheduled`), and the task. */
  queryTask(...ids: string[]): Promise<Replies<Readonly<Record<string, readonly [state: string, task: TaskInfo]>>>> {
    return this.#ask('query_task', { ids })
  }

  /** Names of the tasks that a worker knows, with the options that are named (by Celery's names; default exchange, routing_key, rate_limit). */
  registered(...taskInfoItems: string[]): Promise<Replies<readonly string[]>> {
    return this.#ask('registered', { taskinfoitems: taskInfoItems })
  }

  /** Queues that a worker takes tasks from. */
  activeQueues(): Promise<Replies<readonly Readonly<Record<string, unknown>>[]>> {
    return this.#ask('active_queues', {})
  }

  /** What a worker has done, its pool, broker and resources. */
  stats(): Promise<Replies<Readonly<Record<string, unknown>>>> {
    return this.#ask('stats', {})
  }

  /** Options that are set, secrets hidden. */
  conf({ withDefaults = false }: { withDefaults?: boolean } = {}): Promise<Replies<Readonly<Record<string, unknown>>>> {
    return this.#ask('conf', { with_defaults: withDefaults })
  }

  ping(): Promise<Replies<{ readonly ok: string }>> {
    return this.#ask('ping', {})
  }

  clock(): Promise<Replies<{ readonly clock: number }>> {
    return this.#ask('clock', {})
  }

  /** For a bug report. */
  report(): Promise<Replies<{ readonly ok: string }>> {
    return this.#ask('report', {})
  }

  /** The memory of the worker process now, as text. */
  memsample(): Promise<Replies<string | null>> {
    return this.#ask('memsample', {})
  }

  /** What `memsample` has measured, as text. */
  memdump(samples = 10): Promise<Replies<string>> {
    return this.#ask('memdump', { samples })
  }
}
