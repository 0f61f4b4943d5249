import { ArgumentsInvalidError, EncodeError, Ignore, NotRegisteredError, Reject, TooLargeError } from '../errors.js'
import type { Continuations, Execute, ExecuteRun, Outcome, RetryRequest, TaskRequest } from '../pool.js'
import { errorToRemote } from '../protocol/remote-error.js'
import { repr } from '../protocol/repr.js'
import type { ResultTuple } from '../protocol/result.js'
import { decodeBody, emptyEmbed, type TaskBody } from '../protocol/task-body.js'
import { encodeJson } from '../serializers/json.js'
import { boundArguments } from './arguments.js'
import { asRunningTask, type RunningTask, type TaskStarts } from './context.js'
import { checkContinuations, continuationsOf } from './continue/embed.js'
import { ReplaceSignal } from './continue/replacement.js'
import type { AppCore } from './core.js'
import type { RunInfo } from './run-info.js'
import type { Sender } from './sender.js'
import type { Signals } from './signals.js'
import { callFunction, type TaskDefinition } from './task.js'
import { RetrySignal, TaskRun } from './task-run.js'
import { stateOf } from './task-state.js'

interface Place {
  readonly core: AppCore
  readonly sender: Sender
  /** Outcomes go to another process. */
  readonly crosses: boolean
  readonly starts: TaskStarts | undefined
}

/** Runs requests with the tasks of one app: decode, check, call, and tell how it went. The same for every pool, for eager calls and for tests. */
export function executeWith(
  core: AppCore,
  sender: Sender,
  { crosses = false, starts }: Pick<Partial<Place>, 'crosses' | 'starts'> = {},
): Execute {
  const place: Place = { core, sender, crosses, starts }
  // Every promise on this road is paid for by each task, several times over where the running task is followed through promises (AsyncLocalStorage
  // before Node 24): what is here already is not awaited.
  return (request, run) => {
    let decoded: unknown
    try {
      decoded = core.serializers.decode(request, { accept: core.config.acceptContent })
    } catch (error) {
      return undecodable(error)
    }
    if (!(decoded instanceof Promise)) return executeDecoded(place, request, run, decoded)
    return decoded.then((value) => executeDecoded(place, request, run, value), undecodable)
  }
}

function executeDecoded(place: Place, request: TaskRequest, run: ExecuteRun, decoded: unknown): Outcome | Promise<Outcome> {
  const { core } = place
  let body: TaskBody
  let continuations: Continuations | null = null
  try {
    body = decodeBody(decoded)
    // Most tasks are followed by nothing, and pay for no look at it.
    if (body.embed !== emptyEmbed) {
      checkContinuations(body.embed)
      continuations = continuationsOf(body.embed, place)
    }
  } catch (error) {
    return undecodable(error)
  }
  const info = infoOf(request)
  if (info.expiresMs !== null && info.expiresMs <= core.clock.now()) return { status: 'revoked', reason: 'expired', continuations }
  const task = core.registry.get(request.task)
  if (task === undefined) return notRegistered(core, request, continuations)
  run.accepted(continuations)
  return new Execution(place, task, request, info, body, continuations, run).run()
}

function undecodable(error: unknown): Outcome {
  return { status: 'undecodable', reason: error instanceof Error ? error.message : String(error) }
}

const noChildren: readonly ResultTuple[] = Object.freeze([])

class Execution implements RunningTask {
  readonly core: AppCore
  readonly context: TaskRun
  readonly starts: TaskStarts | undefined
  /** Most tasks send nothing, and have no list of their own. */
  #children: readonly ResultTuple[] = noChildren
  readonly #run: ExecuteRun
  readonly #startedMs: number
  /** What the function gave, or threw. */
  #retval: unknown

  constructor(
    { core, sender, starts }: Place,
    readonly task: TaskDefinition,
    readonly request: TaskRequest,
    readonly info: RunInfo,
    readonly body: TaskBody,
    readonly continuations: Continuations | null,
    run: ExecuteRun,
  ) {
    this.core = core
    this.starts = starts
    this.#run = run
    this.#startedMs = core.clock.monotonic()
    this.context = new TaskRun({ core, sender, task, info, body, run })
  }

  run(): Outcome | Promise<Outcome> {
    const { instrument } = this.core.hooks
    if (instrument?.isActive !== true) return asRunningTask(this, () => this.#runHere())
    return instrument.run(this.task.name, this.info, async () => asRunningTask(this, () => this.#runHere()))
  }

  get priority(): number | undefined {
    return this.info.priority ?? undefined
  }

  addChild(child: ResultTuple): void {
    this.#children = [...this.#children, child]
  }

  #runHere(): Outcome | Promise<Outcome> {
    const { core } = this
    if (!core.hooks.silent('taskPrerun')) core.hooks.emit('taskPrerun', this.#callOf(), core.log)
    try {
      const bound = boundArguments(this.task, this.body)
      const value = bound instanceof Promise ? bound.then((args) => this.#wrapped(args)) : this.#wrapped(bound)
      return isThenable(value) ? this.#awaited(value) : this.#returned(value)
    } catch (error) {
      return this.#threw(error)
    }
  }

  async #awaited(value: PromiseLike<unknown>): Promise<Outcome> {
    try {
      return this.#returned(await value)
    } catch (error) {
      return this.#threw(error)
    }
  }

  #returned(value: unknown): Outcome {
    this.#retval = value
    return this.#told(this.#success(value))
  }

  #threw(error: unknown): Outcome {
    this.#retval = error
    return this.#told(this.#failed(lookable(error)))
  }

  #told(outcome: Outcome): Outcome {
    const { core } = this
    if (!core.hooks.silent('taskPostrun'))
      core.hooks.emit('taskPostrun', { ...this.#callOf(), state: stateOf(outcome), retval: this.#retval }, core.log)
    return outcome
  }

  /** For listeners, who get lists of their own: the task's arguments are not theirs to change. */
  #callOf(): Signals['taskPrerun'] {
    return { task: this.task.name, id: this.info.id, args: [...this.body.args], kwargs: { ...this.body.kwargs } }
  }

  #runtimeMs(): number {
    return this.core.clock.monotonic() - this.#startedMs
  }

  /** Middleware around the function. */
  #wrapped(args: readonly unknown[]): unknown {
    return this.core.hooks.execute(this.context, async () => this.#call(args)) ?? this.#call(args)
  }

  #call(args: readonly unknown[]): unknown {
    return callFunction(this.task, args, this.context)
  }

  #success(value: unknown): Outcome {
    const { core, task, info } = this
    const result = encodeJson(value, 'result')
    const limit = core.config.resultMaxBytes
    // A UTF-16 unit becomes at most three bytes: small results need no count.
    if (limit !== null && result.length * 3 > limit && Buffer.byteLength(result) > limit)
      throw new TooLargeError('the result', Buffer.byteLength(result), limit)
    if (!core.hooks.silent('taskSuccess'))
      core.hooks.emit('taskSuccess', { task: task.name, id: info.id, result: value, runtime: this.#runtimeMs() / 1000 }, core.log)
    return new Success(result, repr(value), this.#runtimeMs(), this.#children, this.continuations)
  }

  #failed(error: unknown): Outcome {
    if (error instanceof ReplaceSignal)
      return { status: 'replaced', signature: error.signature, runtimeMs: this.#runtimeMs(), continuations: this.continuations }
    if (error instanceof Ignore) return { status: 'ignored', reason: error.message, continuations: this.continuations }
    if (error instanceof Reject) {
      const { requeue, reason } = error
      return { status: 'rejected', requeue, reason, continuations: this.continuations }
    }
    if (error instanceof RetrySignal) return this.#retry(error)
    const { abortCause } = this.#run
    // Told to end, the task ended: that it did so by throwing is no failure of it.
    if (abortCause === 'shutdown') return this.#cutShort('shutdown', 'the worker shut down')
    if (abortCause === 'revoked') return this.#cutShort('terminated', 'it was revoked while it ran')
    if (!(error instanceof EncodeError || error instanceof ArgumentsInvalidError || error instanceof TooLargeError)) {
      const again = this.#byItself(error)
      if (again instanceof RetrySignal) return this.#retry(again)
      if (again !== undefined) return this.#failure(again)
    }
    return this.#failure(error)
  }

  #cutShort(by: 'shutdown' | 'terminated', detail: string): Outcome {
    return { status: 'killed', by, pid: process.pid, detail, continuations: this.continuations }
  }

  /** Undefined: the error is not one to retry. Another error: the retry could not be made. */
  #byItself(error: unknown): unknown {
    try {
      return this.context.autoretry(error)
    } catch (other) {
      return causedBy(error, other)
    }
  }

  #failure(error: unknown): Outcome {
    const { core, task } = this
    if (!core.hooks.silent('taskFailure')) core.hooks.emit('taskFailure', { ...this.#callOf(), error }, core.log)
    return {
      status: 'failure',
      error: errorToRemote(error),
      expected: (task.options.throws ?? []).some((errorClass) => error instanceof errorClass),
      runtimeMs: this.#runtimeMs(),
      children: this.#children,
      continuations: this.continuations,
    }
  }

  #retry(signal: RetrySignal): Outcome {
    const { core, task, info } = this
    let request: RetryRequest
    try {
      request = signal.request()
    } catch (error) {
      return this.#failure(error)
    }
    if (!core.hooks.silent('taskRetry')) {
      const eta = request.etaMs === null ? null : new Date(request.etaMs)
      core.hooks.emit('taskRetry', { task: task.name, id: info.id, error: signal.cause, request: this.context.request, eta }, core.log)
    }
    return {
      status: 'retry',
      error: signal.cause === undefined ? null : errorToRemote(signal.cause),
      retry: request,
      runtimeMs: this.#runtimeMs(),
      children: this.#children,
    }
  }
}

/** A class, as all that lives as long as a message: see decision 40. */
class Success {
  readonly status = 'success'
  constructor(
    readonly result: string,
    readonly repr: string,
    readonly runtimeMs: number,
    readonly children: readonly ResultTuple[],
    readonly continuations: Continuations | null,
  ) {}
}

/** What `await` would wait for. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  )
}

/** A proxy may throw for `instanceof` alone; nothing more is known of such a one. */
function lookable(error: unknown): unknown {
  try {
    void (error instanceof Error)
    return error
  } catch (cause) {
    return new TypeError('the task threw a value that cannot be looked at', { cause })
  }
}

/** With what the task threw beside it, which has to be looked into first. */
function causedBy(error: unknown, other: unknown): unknown {
  try {
    if (other instanceof Error && other !== error) other.cause ??= error
  } catch {
    // It is frozen, or a proxy.
  }
  return other
}

function notRegistered(core: AppCore, request: TaskRequest, continuations: Continuations | null): Outcome {
  const error = new NotRegisteredError(request.task)
  core.log.error({ task: request.task, task_id: request.id }, error.message)
  return { status: 'failure', error: errorToRemote(error), expected: false, runtimeMs: 0, children: [], continuations }
}

/** The context of a request is what the worker (app/run-info) made; it only crossed a pipe. */
function infoOf(request: TaskRequest): RunInfo {
  return request.context as unknown as RunInfo
}
