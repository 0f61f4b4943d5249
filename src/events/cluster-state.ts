import { systemClock } from '../internal/clock.js'
import type { ClusterEvent } from '../protocol/events.js'

/** A worker as its events tell of it. */
export interface WorkerView {
  readonly hostname: string
  readonly pid: number
  /** Heard within twice its own interval, and it has not said farewell. */
  readonly isAlive: boolean
  /** Seconds between its heartbeats. */
  readonly freq: number
  /** Tasks that run. */
  readonly active: number
  /** Tasks that it has started in all. */
  readonly processed: number
  readonly loadavg: readonly number[]
  /** The software: `celeriac` or `py-celery`, its version, the operating system. */
  readonly software: { readonly ident: string; readonly version: string; readonly system: string }
  /** When its last heartbeat was heard: ms since the epoch, by this process's clock. */
  readonly heardAtMs: number
}

export type TaskState = 'PENDING' | 'RECEIVED' | 'STARTED' | 'RETRY' | 'REJECTED' | 'SUCCESS' | 'FAILURE' | 'REVOKED'

/** A task as the events of its sender and of its workers tell of it. Times are seconds since the epoch, by the clock of whoever sent the event. */
export interface TaskView {
  readonly uuid: string
  readonly state: TaskState
  /** Undefined until an event has told it: monitors may come late. */
  readonly name?: string
  /** Arguments and results as texts for eyes. */
  readonly args?: string
  readonly kwargs?: string
  readonly result?: string
  readonly exception?: string
  readonly traceback?: string
  /** Seconds. */
  readonly runtime?: number
  readonly retries?: number
  readonly eta?: string
  readonly expires?: string
  readonly rootId?: string
  readonly parentId?: string
  readonly queue?: string
  /** Node name of the worker that has it. */
  readonly worker?: string
  /** When each event of it happened, by the event's name without `task-`. */
  readonly times: Readonly<Record<string, number>>
  /** Of its latest event. */
  readonly timestamp: number
  readonly clock: number
}

export interface ClusterStateOptions {
  /** Tasks that are remembered; those without news for longest go first. Default 10 000. */
  readonly maxTasks?: number
  /** Default 5 000. */
  readonly maxWorkers?: number
  /** ms since the epoch. */
  readonly now?: () => number
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

const stateOf: Readonly<Record<string, TaskState>> = {
  sent: 'PENDING',
  received: 'RECEIVED',
  started: 'STARTED',
  succeeded: 'SUCCESS',
  failed: 'FAILURE',
  retried: 'RETRY',
  rejected: 'REJECTED',
  revoked: 'REVOKED',
  cancelled: 'PENDING',
}

/** Celery's precedence: what stands first is not undone by what stands behind it and comes late. */
const precedence: readonly TaskState[] = ['SUCCESS', 'FAILURE', 'REVOKED', 'STARTED', 'RECEIVED', 'REJECTED', 'RETRY', 'PENDING']

/** What a late `received` or `sent` may still add. */
const lateFields = ['name', 'args', 'kwargs', 'parent_id', 'root_id', 'retries', 'eta', 'expires', 'queue'] as const

/**
 * Workers and tasks of a cluster as their events tell of them (celery/events/state.py), in bounded memory. Events of many machines come in any order: logical
 * clocks say which was first.
 */
export class ClusterState {
  readonly #maxTasks: number
  readonly #maxWorkers: number
  readonly #now: () => number
  /** Those without news for longest stand first. */
  readonly #tasks = new Map<string, Writable<TaskView>>()
  readonly #workers = new Map<string, Writable<Omit<WorkerView, 'isAlive'>> & { saidFarewell: boolean }>()
  /** Events that were taken in. */
  eventCount = 0

  constructor({ maxTasks = 10_000, maxWorkers = 5_000, now = systemClock.now }: ClusterStateOptions = {}) {
    this.#maxTasks = maxTasks
    this.#maxWorkers = maxWorkers
    this.#now = now
  }

  /** What is neither of a task nor of a worker changes nothing. */
  take(event: ClusterEvent): void {
    this.eventCount++
    if (event.type.startsWith('worker-')) this.#takeWorker(event)
    else if (event.type.startsWith('task-')) this.#takeTask(event)
  }

  /** By name. */
  workers(): readonly WorkerView[] {
    const now = this.#now()
    return [...this.#workers.values()]
      .map(({ saidFarewell, ...worker }) => ({ ...worker, isAlive: !saidFarewell && now - worker.heardAtMs <= worker.freq * 2_000 }))
      .sort((a, b) => (a.hostname < b.hostname ? -1 : 1))
  }

  task(uuid: string): TaskView | undefined {
    return this.#tasks.get(uuid)
  }

  /** In the order in which their latest events happened, the latest first: by logical clock, then by time. */
  tasks({
    limit,
    ...wanted
  }: {
    readonly limit?: number
    readonly state?: TaskState
    readonly name?: string
    readonly worker?: string
  } = {}): readonly TaskView[] {
    const entries = Object.entries(wanted)
    const found = [...this.#tasks.values()].filter((task) => entries.every(([key, value]) => Reflect.get(task, key) === value))
    found.sort((a, b) => b.clock - a.clock || b.timestamp - a.timestamp || (a.uuid < b.uuid ? -1 : 1))
    return limit === undefined ? found : found.slice(0, limit)
  }

  /** How many of the remembered tasks are in each state. */
  counts(): Readonly<Partial<Record<TaskState, number>>> {
    const counts: Partial<Record<TaskState, number>> = {}
    for (const { state } of this.#tasks.values()) counts[state] = (counts[state] ?? 0) + 1
    return counts
  }

  #takeWorker(event: ClusterEvent): void {
    const { type, hostname, pid } = event
    if (type !== 'worker-online' && type !== 'worker-heartbeat' && type !== 'worker-offline') return
    const before = this.#workers.get(hostname)
    const number = (value: unknown, otherwise: number): number => (typeof value === 'number' && Number.isFinite(value) ? value : otherwise)
    const text = (value: unknown, otherwise = ''): string => (typeof value === 'string' ? value : otherwise)
    this.#workers.delete(hostname)
    this.#workers.set(hostname, {
      hostname,
      pid,
      freq: number(event.freq, before?.freq ?? 60),
      active: number(event.active, before?.active ?? 0),
      processed: number(event.processed, before?.processed ?? 0),
      loadavg: Array.isArray(event.loadavg) ? event.loadavg.filter((load) => typeof load === 'number') : (before?.loadavg ?? []),
      software: {
        ident: text(event.sw_ident, before?.software.ident),
        version: text(event.sw_ver, before?.software.version),
        system: text(event.sw_sys, before?.software.system),
      },
      heardAtMs: this.#now(),
      saidFarewell: type === 'worker-offline',
    })
    this.#dropOldest(this.#workers, this.#maxWorkers)
  }

  #takeTask(event: ClusterEvent): void {
    const { uuid } = event
    if (typeof uuid !== 'string' || uuid === '') return
    const kind = event.type.slice('task-'.length)
    const clock = event.clock ?? 0
    const before = this.#tasks.get(uuid)
    const task: Writable<TaskView> = before ?? { uuid, state: 'PENDING', times: {}, timestamp: event.timestamp, clock }
    task.times = { ...task.times, [kind]: event.timestamp }
    const state = stateOf[kind]
    const isLate =
      before !== undefined &&
      state !== undefined &&
      !beginsAnew(kind, before) &&
      precedence.indexOf(state) > precedence.indexOf(before.state)
    if (isLate) addFields(task, event, lateFields)
    else {
      addFields(task, event, [...lateFields, 'result', 'exception', 'traceback', 'runtime'])
      if (state !== undefined) task.state = state
      if (kind !== 'sent') task.worker = event.hostname
      task.timestamp = event.timestamp
      task.clock = Math.max(task.clock, clock)
    }
    this.#tasks.delete(uuid)
    this.#tasks.set(uuid, task)
    this.#dropOldest(this.#tasks, this.#maxTasks)
  }

  #dropOldest(map: Map<string, unknown>, most: number): void {
    const [oldest] = map.keys()
    if (map.size > most && oldest !== undefined) map.delete(oldest)
  }
}

/** A retry does, whatever stood there; what was cut off goes back to its queue, unless it had ended elsewhere. */
function beginsAnew(kind: string, before: TaskView): boolean {
  if (kind === 'retried' || before.state === 'RETRY') return true
  return kind === 'cancelled' && !['SUCCESS', 'FAILURE', 'REVOKED'].includes(before.state)
}

function addFields(task: Writable<TaskView>, event: ClusterEvent, fields: readonly string[]): void {
  for (const field of fields) {
    const value = event[field]
    const isWanted = field === 'retries' || field === 'runtime' ? typeof value === 'number' : typeof value === 'string'
    if (isWanted) Reflect.set(task, field === 'root_id' ? 'rootId' : field === 'parent_id' ? 'parentId' : field, value)
  }
}
