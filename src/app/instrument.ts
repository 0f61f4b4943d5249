import type { Outcome } from '../pool.js'
import type { RunInfo } from './run-info.js'

/** What goes with a message so that its run belongs to the same trace: `traceparent` and the like, as top-level headers. */
export type TraceHeaders = Readonly<Record<string, unknown>>

export interface SentCall {
  readonly task: string
  readonly id: string
  /** Of the first task of its workflow. */
  readonly rootId: string
  readonly groupId: string | undefined
  /** The caller's; what is added here goes with the message. */
  readonly headers: Record<string, unknown>
  /** The queue or routing key it goes to; undefined until it is known, and where nothing is sent. */
  destination: string | undefined
}

/** Wraps each call and each run in whole: telemetry. There is one at most, and it never fails what it wraps. */
export interface Instrument {
  /** Somebody takes what it makes: `publish` and `run` are worth their time. */
  readonly isActive: boolean
  publish<T>(call: SentCall, send: () => Promise<T>): Promise<T>
  /** The outcome comes back with the headers of its trace. */
  run(task: string, info: RunInfo, body: () => Promise<Outcome>): Promise<Outcome>
  /** What `body` sends follows a task of this trace. */
  following<T>(trace: TraceHeaders, body: () => T): T
  /** For a message that is sent here, by nobody's call. */
  headers(): TraceHeaders
}
