import type { NamesOf } from '../internal/known-names.js'
import type { MessageProperties } from '../protocol/message.js'
import type { Config } from './config.js'
import type { RequestInfo } from './context.js'

interface OfTask {
  readonly task: string
  readonly id: string
}

/** A message on its way to the broker. */
export interface PublishedTask extends OfTask {
  /** As the broker gets them: Celery's protocol, and those of the call. */
  readonly headers: Readonly<Record<string, unknown>>
  /** As the broker gets it, written by the serializer. */
  readonly body: string | Uint8Array
  readonly properties: MessageProperties
  readonly exchange: string
  readonly routingKey: string
}

interface RunningCall extends OfTask {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

/** What a worker knows of a message without reading its body. */
export interface ReceivedRequest extends Omit<RequestInfo, 'deadline' | 'maxRetries' | 'worker'> {
  readonly task: string
  readonly eta: Date | null
  readonly expires: Date | null
  /** Arguments as their sender wrote them for people; null where he did not. */
  readonly argsrepr: string | null
  readonly kwargsrepr: string | null
}

interface OfWorker {
  readonly hostname: string
}

/**
 * Events of the program itself, under Celery's signal names. A listener can look, not change: nobody waits for it, and what it throws is logged and forgotten.
 * Those that Celery has and Node has no use for are listed in docs/guide/signals.md.
 */
export interface Signals {
  /** In the process that sends, before the message goes to the broker; for the messages that workers send, too (retries, links, the next step of a chain). */
  beforeTaskPublish: PublishedTask
  /** In the process that sends, after the broker has confirmed. */
  afterTaskPublish: PublishedTask

  /** In the process that runs the task, from here on. */
  taskPrerun: RunningCall
  /** `retval` is what the task gave, or the error that it ended with. */
  taskPostrun: RunningCall & { readonly state: string; readonly retval: unknown }
  /** `runtime` in seconds. */
  taskSuccess: OfTask & { readonly result: unknown; readonly runtime: number }
  /** In the worker's main process, and without arguments, when the process of the task has died or ran into its time limit, or its message could not be run at all. */
  taskFailure: OfTask & { readonly error: unknown; readonly args?: readonly unknown[]; readonly kwargs?: Readonly<Record<string, unknown>> }
  /** `error` is why, undefined where the task gave no cause; `eta` when it will run again, null is at once. */
  taskRetry: OfTask & { readonly error: unknown; readonly request: RequestInfo; readonly eta: Date | null }

  /** In the worker's main process, from here on. */
  taskReceived: OfTask & { readonly request: ReceivedRequest }
  taskRevoked: OfTask & {
    readonly reason: string
    readonly request: ReceivedRequest
    readonly terminated: boolean
    /** The signal that ended it, where one did. */
    readonly signal: NodeJS.Signals | null
    readonly expired: boolean
  }
  /** A message that is no task message, or was refused before anything of it could be known. It goes to the dead letters. */
  taskRejected: { readonly queue: string; readonly error: unknown }
  /** A message of a task that is not registered here. */
  taskUnknown: OfTask & { readonly request: ReceivedRequest }
  /** What came after a run could not be done (its result was not stored, its message not settled): the message comes again. */
  taskInternalError: OfTask & { readonly request: ReceivedRequest; readonly error: unknown }

  /** First of all signals of a worker, before it has a pool. */
  celerydInit: OfWorker & { readonly conf: Config; readonly options: Readonly<Record<string, unknown>> }
  /** After its pool, its queues and its listeners are set up, before anything is started. */
  celerydAfterSetup: OfWorker & { readonly conf: Config }
  /** Before the modules of `imports` and `include` are loaded: in the main process and in each child. */
  importModules: { readonly names: readonly string[] }
  /** Before a worker starts its pool and connects. */
  workerInit: OfWorker
  /** Before a child process (or thread) is started. */
  workerBeforeCreateProcess: OfWorker
  /** In each process that runs tasks, before the first: open what tasks need here. */
  workerProcessInit: OfWorker & { readonly pid: number }
  /** In each process that runs tasks, before it ends in order. */
  workerProcessShutdown: { readonly pid: number; readonly exitcode: number }
  workerReady: OfWorker
  /** A worker has been told to stop; again when it is told to be faster. */
  workerShuttingDown: OfWorker & { readonly how: 'warm' | 'soft' | 'cold' }
  /** It has stopped. */
  workerShutdown: OfWorker
  heartbeatSent: OfWorker

  /** A beat starts. */
  beatInit: { readonly name: string }
  /** The beat inside of a worker (`worker --beat`) has started. */
  beatEmbeddedInit: OfWorker
}

/** Their names as a value. */
export const signalNames: NamesOf<Signals> = {
  beforeTaskPublish: true,
  afterTaskPublish: true,
  taskPrerun: true,
  taskPostrun: true,
  taskSuccess: true,
  taskFailure: true,
  taskRetry: true,
  taskReceived: true,
  taskRevoked: true,
  taskRejected: true,
  taskUnknown: true,
  taskInternalError: true,
  celerydInit: true,
  celerydAfterSetup: true,
  importModules: true,
  workerInit: true,
  workerBeforeCreateProcess: true,
  workerProcessInit: true,
  workerProcessShutdown: true,
  workerReady: true,
  workerShuttingDown: true,
  workerShutdown: true,
  heartbeatSent: true,
  beatInit: true,
  beatEmbeddedInit: true,
}
