/** Contract of a pool: where task functions run. A pool runs requests and gives outcomes; it knows neither brokers nor results. */
import type { RemoteErrorData } from './protocol/remote-error.js'
import type { ResultTuple } from './protocol/result.js'
import type { Embed } from './protocol/task-body.js'

/** One run of a task: plain data, so that it can cross to another process. The body stays as it came; the place that runs it decodes it. */
export interface TaskRequest {
  readonly id: string
  readonly task: string
  readonly body: string | Uint8Array
  readonly contentType: string
  readonly contentEncoding: string
  /** MIME type of the compressor, if the body is compressed. */
  readonly compression?: string
  /** What the run is told of its message: protocol headers and delivery, as plain JSON. Owned by app/context. */
  readonly context: Readonly<Record<string, unknown>>
  readonly softTimeLimitMs?: number
  /** What runs it, a process or a thread, is killed after it, in pools that can. */
  readonly timeLimitMs?: number
}

/** What the body of a message asks to be done next (links, the rest of a chain, the body of a chord): as JSON where it crosses to another process. */
export type Continuations = Embed | string

/** How a run ended. Every switch over it is complete. */
export type Outcome = End & {
  /** The headers of its trace: what follows it belongs to the same. */
  readonly trace?: Readonly<Record<string, unknown>>
}

type End =
  | {
      readonly status: 'success'
      readonly result: string
      readonly repr: string
      readonly runtimeMs: number
      readonly children: readonly ResultTuple[]
      readonly continuations: Continuations | null
    }
  | {
      readonly status: 'failure'
      readonly error: RemoteErrorData
      readonly expected: boolean
      readonly runtimeMs: number
      readonly children: readonly ResultTuple[]
      readonly continuations: Continuations | null
    }
  | {
      readonly status: 'retry'
      readonly error: RemoteErrorData | null
      readonly retry: RetryRequest
      readonly runtimeMs: number
      readonly children: readonly ResultTuple[]
    }
  /** It handed its work and its id on (`self.replace`): what takes its place is sent, nothing is stored. */
  | {
      readonly status: 'replaced'
      /** A signature of the wire, as JSON: its id, links, chain and chord are those of the task that it replaces. */
      readonly signature: string
      readonly runtimeMs: number
      readonly continuations: Continuations | null
    }
  | { readonly status: 'ignored'; readonly reason: string; readonly continuations: Continuations | null }
  | { readonly status: 'rejected'; readonly requeue: boolean; readonly reason: string; readonly continuations: Continuations | null }
  /** The body could not be decoded or is not of the protocol's shape: nothing ran. */
  | { readonly status: 'undecodable'; readonly reason: string }
  | {
      readonly status: 'killed'
      readonly by: KilledBy
      readonly pid: number
      readonly detail: string
      /** The limit that was passed, for 'time limit'. */
      readonly limitMs?: number
      readonly continuations: Continuations | null
    }
  /** It may not run any more: its `expires` was over before it could start. */
  | { readonly status: 'revoked'; readonly reason: string; readonly continuations: Continuations | null }

/** time limit: hard limit passed. terminated: by `terminate()`. lost: the process or thread died by itself. shutdown: the pool was stopped cold. */
export type KilledBy = 'time limit' | 'terminated' | 'lost' | 'shutdown'

/** A new message for the same task id, made from the one that ran: only what `self.retry()` changed is here. */
export interface RetryRequest {
  /** When to run again: ms since the epoch; null is at once. */
  readonly etaMs: number | null
  /** The encoded body of the new message when arguments changed; null: the same body. */
  readonly body: string | null
  readonly options: Readonly<Record<string, unknown>>
}

/** Why the signal of a running task aborts. */
export type AbortCause = 'soft time limit' | 'revoked' | 'shutdown' | 'lock lost'

export interface Run {
  /** Where its function runs, and since when (monotonic ms); undefined before it starts. */
  readonly start: { readonly pid: number; readonly sinceMs: number } | undefined
  /** Settles when the function is about to start; never, when the outcome comes without a start. */
  readonly accepted: Promise<{ readonly pid: number }>
  /** Never rejects. */
  readonly outcome: Promise<Outcome>
  /** The outcome of a run that has ended, where the pool keeps it: of a function that gave no promise it is there when `run` returns. */
  readonly ended?: Outcome | undefined
  /** Aborts the task's signal; the task decides what to do. */
  abort(cause: AbortCause): void
  /** Ends it as revoked if it has not started, and is not about to. */
  withdraw(): void
  /** Kills the process or thread that runs this request, and only while it runs this one. Where the pool cannot, it aborts as 'revoked'. */
  terminate(signal: NodeJS.Signals): void
}

export interface Pool {
  readonly name: string
  readonly supports: PoolSupports
  /** Settles when the pool can run; throws ChildBootError when the app cannot be loaded. */
  start(): Promise<void>
  /** Requests over `capacity` wait in the pool, in order. */
  run(request: TaskRequest): Run
  /** How many requests can run at the same time. */
  readonly capacity: number
  /** How many requests the pool wants to have now: its capacity, and more while runs are so short that the way to them counts. */
  readonly window: number
  resize(size: number): Promise<void>
  /** What `resize` changes: processes or threads, or runs at the same time where there are none. */
  readonly size: number
  /** Where code can be loaded anew: processes or threads finish what they run, and others take their place. */
  restart?(): Promise<void>
  /** Undefined for a pool that is one. */
  readonly parts?: PoolParts
  /** Pids of the processes that run tasks. */
  readonly pids: readonly number[]
  /** Waits for what runs; when the signal aborts, kills it (outcome killed by 'shutdown'). Always ends. Safe twice. */
  stop(options: { readonly signal: AbortSignal }): Promise<void>
}

export interface PoolSupports {
  readonly timeLimit: boolean
  readonly terminate: boolean
  /** Tasks run in other processes or threads: they cannot block the worker's event loop. */
  readonly ownLoop: boolean
  /** Its size can be changed. */
  readonly resize: boolean
}

/** A pool made of several, each with places of its own. */
export interface PoolParts {
  /** The one that `size` and `resize` are about. */
  readonly main: Pool
  readonly all: readonly Pool[]
  /** Where a task runs. */
  of(task: string): Pool
  /** Its part has as many requests as it wants to have now; another may want more. */
  isFull(task: string): boolean
}

/** What a pool asks of its owner while tasks run. */
export interface PoolHost {
  /** A task reports a state of its own (`updateState`, `progress`): settles when it is stored. */
  storeState(taskId: string, state: string, meta: unknown): Promise<void>
  /** A process (or thread) is about to be started. Must not throw. */
  beforeProcess?(): void
}

/** Runs one request in this process: passed into pools, never imported by them. No promise for a task that gives none. Never throws or rejects. */
export type Execute = (request: TaskRequest, run: ExecuteRun) => Outcome | Promise<Outcome>

/** What a pool gives to the place that runs a request. To be called as methods of it. */
export interface ExecuteRun {
  /** Its reason is the error of errors.ts for the `AbortCause`. It is made on first use: do not touch it for tasks that do not ask for it. */
  readonly signal: AbortSignal
  /** Why the run is to end; undefined while it may go on. Costs nothing, unlike `signal`. */
  readonly abortCause: AbortCause | undefined
  /** Settles when the state is stored. A `JsonText` as meta crosses process borders as it is written. */
  storeState(state: string, meta: unknown): Promise<void>
  /** To be called once, right before the function starts, with the body's continuations: if the process dies now, `Outcome` killed carries them. */
  accepted(continuations: Continuations | null): void
}
