/**
 * Every error that celeriac throws, each with a stable `code` for programs, its data as fields and a sentence that says what to do.
 * docs/errors.md is made from the table at the end; a test holds the two together.
 */

/** The base of all errors of celeriac: `error instanceof CeleriacError` or `error.code` tell them from other errors. */
export abstract class CeleriacError extends Error {
  abstract readonly code: string
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

// ── configuration and calls ──────────────────────────────────────────────────

/** An option has a value of the wrong kind. */
export class OptionInvalidError extends CeleriacError {
  readonly code = 'ERR_OPTION_INVALID'
  constructor(
    readonly option: string,
    readonly expected: string,
    readonly got: unknown,
  ) {
    super(`expected ${option} to be ${expected}, got: ${show(got)}`)
  }
}

/** There is no option of that name. */
export class OptionUnknownError extends CeleriacError {
  readonly code = 'ERR_OPTION_UNKNOWN'
  constructor(
    readonly option: string,
    readonly suggestion?: string,
  ) {
    super(`unknown option ${show(option)}.${suggestion === undefined ? '' : ` Did you mean ${show(suggestion)}?`}`)
  }
}

/** The option or feature exists, but not with this driver, pool or version. */
export class NotSupportedError extends CeleriacError {
  readonly code = 'ERR_NOT_SUPPORTED'
  constructor(
    readonly feature: string,
    readonly reason: string,
  ) {
    super(`${feature} is not supported: ${reason}`)
  }
}

/** A driver's optional package is not installed. */
export class DriverNotInstalledError extends CeleriacError {
  readonly code = 'ERR_DRIVER_NOT_INSTALLED'
  constructor(
    readonly feature: string,
    readonly packageName: string,
    options?: ErrorOptions,
  ) {
    super(`${feature} needs the ${show(packageName)} package. Run: npm install ${packageName}`, options)
  }
}

/** No task of that name is registered in this app. */
export class NotRegisteredError extends CeleriacError {
  readonly code = 'ERR_NOT_REGISTERED'
  constructor(
    readonly task: string,
    readonly suggestion?: string,
  ) {
    super(
      `no task ${show(task)} is registered.${suggestion === undefined ? '' : ` Did you mean ${show(suggestion)}?`} A worker knows the tasks of the modules that its app file imports; restart it after adding one.`,
    )
  }
}

/** Two tasks of one app have the same name. */
export class AlreadyRegisteredError extends CeleriacError {
  readonly code = 'ERR_ALREADY_REGISTERED'
  constructor(readonly task: string) {
    super(`a task named ${show(task)} is registered already. Names are the contract between senders and workers: give each task its own.`)
  }
}

/** The app file could not be found, loaded, or holds no app. */
export class AppNotFoundError extends CeleriacError {
  readonly code = 'ERR_APP_NOT_FOUND'
}

/** The arguments of a call do not fit the task's schema or parameters. */
export class ArgumentsInvalidError extends CeleriacError {
  readonly code = 'ERR_ARGUMENTS_INVALID'
  constructor(
    readonly task: string,
    readonly issues: readonly { readonly path: string; readonly message: string }[],
  ) {
    super(
      `invalid arguments for ${task}: ${issues.map((issue) => (issue.path === '' ? issue.message : `${issue.path}: ${issue.message}`)).join('; ')}`,
    )
  }
}

/** The queue is not configured, and missing queues are not created (`taskCreateMissingQueues` is false). */
export class QueueNotFoundError extends CeleriacError {
  readonly code = 'ERR_QUEUE_NOT_FOUND'
  constructor(readonly queue: string) {
    super(`queue ${show(queue)} is not in taskQueues, and taskCreateMissingQueues is false. Add it to taskQueues.`)
  }
}

/** A queue, task, worker or exchange name has characters that are not allowed. */
export class NameInvalidError extends CeleriacError {
  readonly code = 'ERR_NAME_INVALID'
  constructor(
    readonly kind: string,
    readonly value: unknown,
  ) {
    super(`expected the ${kind} name to be 1 to 255 printable characters without control characters, got: ${show(value)}`)
  }
}

/** `get()` was called inside a task: it would hold a worker slot while it waits for another. */
export class SyncSubtaskError extends CeleriacError {
  readonly code = 'ERR_SYNC_SUBTASK'
  constructor(readonly taskId: string) {
    super(
      `result.get() was called inside a task: the slot that waits may be the slot that the awaited task ${taskId} needs, and both wait for ever. ` +
        'Chain the second task with link or chain(...) instead, or pass { allowInsideTask: true } if the awaited task runs on other workers.',
    )
  }
}

/** `currentTask()` was called where no task runs. */
export class NoCurrentTaskError extends CeleriacError {
  readonly code = 'ERR_NO_CURRENT_TASK'
  constructor() {
    super('currentTask() was called outside a running task. Use currentTask({ optional: true }) where both may be.')
  }
}

// ── values on the wire ───────────────────────────────────────────────────────

/** A value cannot be written by the serializer. `path` names it, such as `args[0].user`. */
export class EncodeError extends CeleriacError {
  readonly code = 'ERR_ENCODE'
  constructor(
    readonly path: string,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`${path} ${reason}`, options)
  }
}

/** Bytes from the wire cannot be read: not the format they claim, or over a limit. */
export class DecodeError extends CeleriacError {
  readonly code = 'ERR_DECODE'
}

/** A message's content type is not in `acceptContent`. It is never decoded. */
export class ContentDisallowedError extends CeleriacError {
  readonly code = 'ERR_CONTENT_DISALLOWED'
  constructor(
    readonly contentType: string,
    readonly accepted: readonly string[],
    /** The option that would have to allow it. */
    readonly option: 'acceptContent' | 'securityAcceptContent' = 'acceptContent',
  ) {
    const unsigned = option === 'acceptContent' && accepted.length === 1 && accepted[0] === 'application/data'
    super(
      unsigned
        ? `refusing a message that is not signed (its content type is ${show(contentType)}): acceptContent allows signed messages (auth) only`
        : `refusing to decode content of type ${show(contentType)}; ${option} allows: ${accepted.join(', ')}`,
    )
  }
}

/** A message that should be signed is not, or by nobody who is trusted; or a key or certificate cannot be used. */
export class SecurityError extends CeleriacError {
  readonly code = 'ERR_SECURITY'
}

/** A message is not a task message that can be run: a missing or wrong field. */
export class InvalidMessageError extends CeleriacError {
  readonly code = 'ERR_INVALID_MESSAGE'
}

/** A message, result or decompressed body is over its size limit. */
export class TooLargeError extends CeleriacError {
  readonly code = 'ERR_TOO_LARGE'
  constructor(
    readonly what: string,
    readonly bytes: number,
    readonly limit: number,
  ) {
    super(
      `${what} has ${bytes} bytes, over the limit of ${limit}. Send a reference (a key, a URL) instead of the data, or raise the limit.`,
    )
  }
}

// ── the broker ───────────────────────────────────────────────────────────────

/** The message was refused or never sent: it is safe to send it again. */
export class NotPublishedError extends CeleriacError {
  readonly code: string = 'ERR_NOT_PUBLISHED'
}

/** The broker is full (disk, memory, queue length). The message was not taken. */
export class BrokerFullError extends NotPublishedError {
  override readonly code = 'ERR_BROKER_FULL'
}

/** The message may or may not be at the broker: send it again with the same task id only. */
export class PublishUncertainError extends CeleriacError {
  readonly code = 'ERR_PUBLISH_UNCERTAIN'
}

/** A fence held: somebody did the same before, or with a newer right to it. Nothing was published. */
export class FencedError extends CeleriacError {
  readonly code = 'ERR_FENCED'
  constructor(
    readonly key: string,
    readonly order: number,
  ) {
    super(`the message was not published: the broker has let something as new as ${order} pass for ${show(key)} already`)
  }
}

/** The broker or backend cannot be reached or used. */
export class ConnectionError extends CeleriacError {
  readonly code: string = 'ERR_CONNECTION'
}

/** The broker has no queue of that name: it was never declared, or went with its last consumer. */
export class QueueMissingError extends CeleriacError {
  readonly code = 'ERR_QUEUE_MISSING'
  constructor(readonly queue: string) {
    super(`the broker has no queue ${show(queue)}: declare it first`)
  }
}

/** A queue or exchange exists with other properties than those declared. */
export class DeclarationMismatchError extends CeleriacError {
  readonly code = 'ERR_DECLARATION_MISMATCH'
  constructor(
    readonly kind: 'queue' | 'exchange',
    readonly entity: string,
    readonly existing: string,
    readonly declared: string,
  ) {
    super(
      `the ${kind} ${show(entity)} exists as ${existing} and was declared as ${declared}. Declare it alike everywhere, or give it another name.`,
    )
  }
}

/** A URL is not one that celeriac can read. The message never holds its password. */
export class UrlInvalidError extends CeleriacError {
  readonly code = 'ERR_URL_INVALID'
}

/** The embedded database file cannot be trusted: a symbolic link, another owner, or open to others. */
export class UnsafeFileError extends CeleriacError {
  readonly code = 'ERR_UNSAFE_FILE'
}

/** The embedded database file is damaged, or was written by a newer version. */
export class DatabaseUnusableError extends CeleriacError {
  readonly code = 'ERR_DATABASE_UNUSABLE'
}

// ── results ──────────────────────────────────────────────────────────────────

/** A task ended in failure. What it threw is told as data: no name from the wire is ever imported or looked up. */
export class TaskFailure extends CeleriacError {
  readonly code = 'ERR_TASK_FAILURE'
  readonly taskId: string
  /** The name of the error class, as the worker gave it: `ValueError`, `TypeError`. */
  readonly excType: string
  /** The module of the error class: a Python module, or `node`. */
  readonly excModule: string | null
  /** The arguments of the error; the first one mostly is its message. */
  readonly args: readonly unknown[]
  /** The worker's traceback or stack, as text. */
  readonly traceback: string | null
  constructor(failure: { taskId: string; excType: string; excModule: string | null; args: readonly unknown[]; traceback: string | null }) {
    super(failure.args.map((arg) => (typeof arg === 'string' ? arg : show(arg))).join(', ') || failure.excType)
    this.taskId = failure.taskId
    this.excType = failure.excType
    this.excModule = failure.excModule
    this.args = failure.args
    this.traceback = failure.traceback
  }
}

/** The task was revoked, expired or terminated before it could finish. */
export class TaskRevokedError extends CeleriacError {
  readonly code = 'ERR_TASK_REVOKED'
  constructor(
    readonly taskId: string,
    readonly reason: string,
  ) {
    super(`task ${taskId} was ${reason}`)
  }
}

/** A wait ended by its own deadline. */
export class TimeoutError extends CeleriacError {
  readonly code = 'ERR_TIMEOUT'
}

/** The result backend is full (memory). The result was not stored. */
export class BackendFullError extends ConnectionError {
  override readonly code = 'ERR_BACKEND_FULL'
}

/** With `rpc://`, the result of this task does not come to this process, or was dropped here: a wait would not end. */
export class ResultElsewhereError extends CeleriacError {
  readonly code = 'ERR_RESULT_ELSEWHERE'
  constructor(
    readonly taskId: string,
    reason: string,
  ) {
    super(`the result of task ${taskId} is not to be had here: ${reason}`)
  }
}

/** No result backend is configured, so there is nothing to wait for. */
export class ResultsDisabledError extends CeleriacError {
  readonly code = 'ERR_RESULTS_DISABLED'
  constructor() {
    super('results are off: the app was made with backend "disabled". Set backend, for instance to "sqlite://", to keep results.')
  }
}

/** The result of this task is not kept, as its call or its definition asks: a wait without an end would not end. */
export class ResultIgnoredError extends CeleriacError {
  readonly code = 'ERR_RESULT_IGNORED'
  constructor(readonly taskId: string) {
    super(
      `task ${taskId} was sent with ignoreResult, so that nothing is stored that could be waited for. Send it with { ignoreResult: false } to get its result.`,
    )
  }
}

// ── inside a task ────────────────────────────────────────────────────────────

/** The soft time limit of the task is over: the reason of `ctx.signal`. */
export class SoftTimeLimitExceeded extends CeleriacError {
  readonly code = 'ERR_SOFT_TIME_LIMIT'
  constructor(readonly seconds: number) {
    super(`soft time limit (${seconds}s) exceeded`)
  }
}

/** The hard time limit of the task is over: what ran it was killed. */
export class TimeLimitExceeded extends CeleriacError {
  readonly code = 'ERR_TIME_LIMIT'
  constructor(readonly seconds: number) {
    super(`time limit (${seconds}s) exceeded`)
  }
}

/** The task was revoked with `terminate` while it ran: the reason of `ctx.signal`. */
export class TaskRevoked extends CeleriacError {
  readonly code = 'ERR_REVOKED'
}

/** A middleware did not keep to its contract: it called `next` twice. */
export class MiddlewareError extends CeleriacError {
  readonly code = 'ERR_MIDDLEWARE'
}

/** The worker shuts down: the reason of `ctx.signal`. The task goes back to its queue. */
export class WorkerShutdown extends CeleriacError {
  readonly code = 'ERR_WORKER_SHUTDOWN'
}

/** The broker gave this delivery to another worker: the reason of `ctx.signal`. Nothing of this run is kept. */
export class LockLost extends CeleriacError {
  readonly code = 'ERR_LOCK_LOST'
}

/** The process or thread that ran the task died. */
export class WorkerLostError extends CeleriacError {
  readonly code = 'ERR_WORKER_LOST'
}

/** The task was retried as often as `maxRetries` allows. */
export class MaxRetriesExceededError extends CeleriacError {
  readonly code = 'ERR_MAX_RETRIES'
}

/** Thrown by `self.retry()`: it ends this run of the task. Let it pass. */
export class Retry extends CeleriacError {
  readonly code = 'ERR_RETRY'
}

/** Thrown by `self.ignore()`: ack the message and store nothing. */
export class Ignore extends CeleriacError {
  readonly code = 'ERR_IGNORE'
}

/** Thrown by `self.reject()`: give the message back, or to the dead letters. */
export class Reject extends CeleriacError {
  readonly code = 'ERR_REJECT'
  constructor(
    readonly reason: string,
    readonly requeue: boolean,
  ) {
    super(reason)
  }
}

// ── beat ─────────────────────────────────────────────────────────────────────

/** There is no schedule entry of that name. */
export class ScheduleNotFoundError extends CeleriacError {
  readonly code = 'ERR_SCHEDULE_NOT_FOUND'
  constructor(
    readonly entry: string,
    readonly suggestion?: string,
  ) {
    super(`there is no schedule entry ${show(entry)}.${suggestion === undefined ? '' : ` Did you mean ${show(suggestion)}?`}`)
  }
}

/** The schedule entry cannot be made or changed as asked: there is one of that name, or it is the program's own. */
export class ScheduleConflictError extends CeleriacError {
  readonly code = 'ERR_SCHEDULE_CONFLICT'
}

// ── the worker ───────────────────────────────────────────────────────────────

/** The worker's child processes cannot start: the app throws at import, or the process exits at once. */
export class ChildBootError extends CeleriacError {
  readonly code = 'ERR_CHILD_BOOT'
}

/** The worker cannot listen on a port that it was told to (`workerHealthPort`, `workerMetricsPort`): another program does, or it may not. Each worker of a host needs its own. */
export class PortUnavailableError extends CeleriacError {
  readonly code = 'ERR_PORT_UNAVAILABLE'
  constructor(host: string, port: number, cause: NodeJS.ErrnoException) {
    const why = cause.code === 'EADDRINUSE' ? 'another program listens there; each worker of a host needs a port of its own' : cause.message
    super(`cannot listen on ${host}:${port}: ${why}`, { cause })
  }
}

/** The pid file that a worker or beat was to write is that of one that runs. */
export class AlreadyRunningError extends CeleriacError {
  readonly code = 'ERR_ALREADY_RUNNING'
  constructor(
    readonly pidFile: string,
    readonly pid: number,
  ) {
    super(`${pidFile} is there already, and process ${pid} runs`)
  }
}

/** A value as it looks in an error message: short, on one line, and never a huge dump. Never throws. */
export function show(value: unknown): string {
  let text: string
  try {
    text = shown(value)
  } catch {
    // A cycle, a proxy or a getter that throws.
    text = Array.isArray(value) ? 'an array' : `a ${typeof value}`
  }
  return text.length > 200 ? `${text.slice(0, 197)}...` : text
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`
  if (value instanceof Error) return `${value.name}: ${value.message}`
  return JSON.stringify(value) ?? String(value)
}
