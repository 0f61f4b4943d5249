import type { AsyncResult } from '../canvas/handles.js'
import type { Sig } from '../canvas/sig.js'
import { signatureOf } from '../canvas/signature.js'
import { MaxRetriesExceededError, OptionInvalidError, Retry } from '../errors.js'
import { toMs } from '../internal/duration.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import type { Logger } from '../internal/logger.js'
import type { ExecuteRun, RetryRequest } from '../pool.js'
import { JsonText } from '../protocol/json-text.js'
import { parseSignature, type WireSignature } from '../protocol/signature.js'
import { encodeBody, type TaskBody } from '../protocol/task-body.js'
import { isTaskHeader } from '../protocol/task-headers.js'
import { decodeJson, encodeJson, json } from '../serializers/json.js'
import { checkPriority, timeOf } from './call-options.js'
import { endings, type RequestInfo, type RetryOptions, type TaskContext } from './context.js'
import { addToChord } from './continue/from-task.js'
import { ReplaceSignal, replacementOf } from './continue/replacement.js'
import type { AppCore } from './core.js'
import { childLogger } from './human-log.js'
import { checkName } from './registry.js'
import { defaultMaxRetries, retriesByItself, retryDelayMs } from './retries.js'
import type { RunInfo } from './run-info.js'
import type { Sender } from './sender.js'
import type { TaskDefinition } from './task.js'
import { checkLimits } from './task-options.js'

const retryNames: NamesOf<Required<RetryOptions>> = {
  countdown: true,
  eta: true,
  maxRetries: true,
  cause: true,
  args: true,
  kwargs: true,
  queue: true,
  priority: true,
  expires: true,
  headers: true,
  timeLimit: true,
  softTimeLimit: true,
}

interface RunParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly task: TaskDefinition
  readonly info: RunInfo
  readonly body: TaskBody
  readonly run: ExecuteRun
}

/** The context of one run. */
export class TaskRun implements TaskContext {
  readonly #parts: RunParts
  readonly #startedMs: number
  #request: RequestInfo | undefined
  #log: Logger | undefined
  /** Calls of `addToChord`. */
  #added = 0

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#startedMs = parts.core.clock.now()
  }

  /** Made for tasks that look at it. */
  get request(): RequestInfo {
    this.#request ??= this.#makeRequest()
    return this.#request
  }

  #makeRequest(): RequestInfo {
    const { task, info } = this.#parts
    const limitMs = info.softTimeLimitMs ?? info.timeLimitMs
    return {
      id: info.id,
      rootId: info.rootId,
      parentId: info.parentId,
      retries: info.retries,
      maxRetries: maxRetriesOf(task),
      queue: info.queue,
      redelivered: info.redelivered,
      headers: info.headers,
      deadline: limitMs === null ? null : new Date(this.#startedMs + limitMs),
      group: info.group,
      groupIndex: info.groupIndex ?? null,
      replacedTaskNesting: info.replacedTaskNesting ?? 0,
      stamps: info.stamps ?? {},
      worker: info.worker,
    }
  }

  get signal(): AbortSignal {
    return this.#parts.run.signal
  }

  get log(): Logger {
    const { core, task, info } = this.#parts
    this.#log ??= childLogger(core.log, { task: task.name, task_id: info.id }, `${task.name}[${info.id}]: `)
    return this.#log
  }

  progress(done: number, total?: number, meta: Record<string, unknown> = {}): Promise<void> {
    return this.updateState('PROGRESS', { current: done, ...(total === undefined ? {} : { total }), ...meta })
  }

  async updateState(state: string, meta: Record<string, unknown> = {}): Promise<void> {
    checkName('state', state)
    if (statesOfTheWorker.has(state))
      throw new OptionInvalidError('state', `a name of the task's own, for how a task ends is stored by its worker`, state)
    await this.#parts.run.storeState(state, new JsonText(encodeJson(meta, 'meta')))
  }

  retry(options: RetryOptions = {}): never {
    checkNames(options, retryNames, 'retry.')
    throw this.#retrySignal(options)
  }

  /** What happens with an error that the task threw: a retry, the error of too many retries, or undefined for "not one to retry". */
  autoretry(error: unknown): RetrySignal | undefined {
    if (!retriesByItself(this.#parts.task, error, this)) return undefined
    return this.#retrySignal({ cause: error })
  }

  replace(next: Sig<never, unknown, true>): never {
    const { core, info, body } = this.#parts
    const place = { id: info.id, embed: body.embed, errbacksOnHeaders: core.config.taskAllowErrorCbOnChordHeader }
    throw new ReplaceSignal(encodeJson(replacementOf(plainSignature(next, 'replacement'), place), 'replacement'))
  }

  addToChord(next: Sig<never, unknown, true>): Promise<AsyncResult<unknown>> {
    const { core, sender, info, body } = this.#parts
    return addToChord({ core, sender, info, chord: body.embed.chord, nth: this.#added++ }, plainSignature(next, 'addition'))
  }

  ignore(): never {
    return endings.ignore()
  }

  reject(options: { requeue?: boolean } = {}): never {
    return endings.reject(options)
  }

  /** Throws the cause (or MaxRetriesExceededError) when there are no retries left. */
  #retrySignal(options: RetryOptions): RetrySignal {
    const { core, task, info, body } = this.#parts
    const maxRetries = options.maxRetries === undefined ? maxRetriesOf(task) : options.maxRetries
    if (maxRetries !== null && info.retries + 1 > maxRetries) {
      if (options.cause !== undefined) throw options.cause
      throw new MaxRetriesExceededError(
        `Can't retry ${task.name}[${info.id}]: maxRetries is ${maxRetries}, and it ran ${info.retries + 1} times`,
      )
    }
    const delayMs =
      options.eta !== undefined
        ? timeOf(options.eta, 'eta') - core.clock.now()
        : options.countdown !== undefined
          ? toMs(options.countdown, 'countdown')
          : retryDelayMs(task, info.retries, options.cause, core.random)
    return new RetrySignal(core, options, delayMs, body)
  }
}

/** As it will be in a message: data, and no part of this program. */
function plainSignature(sig: Sig<never, unknown, true>, what: string): WireSignature {
  return parseSignature(decodeJson(encodeJson(signatureOf(sig).toJSON(), what)), what)
}

function maxRetriesOf(task: TaskDefinition): number | null {
  return task.options.maxRetries === undefined ? defaultMaxRetries : task.options.maxRetries
}

/** They tell how a task ended, or that it will run again: only its worker knows. */
const statesOfTheWorker: ReadonlySet<string> = new Set(['PENDING', 'SUCCESS', 'FAILURE', 'REVOKED', 'RETRY'])

function checkHeaders(headers: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (isTaskHeader(name)) throw new OptionInvalidError(`headers.${name}`, 'a name that Celery does not use itself', value)
    encodeJson(value, `headers.${name}`)
  }
}

function bodyText(body: TaskBody): string {
  const encoded = encodeBody(body, json)
  return typeof encoded === 'string' ? encoded : new TextDecoder().decode(encoded)
}

/** How `self.retry()` leaves the task's function. */
export class RetrySignal extends Retry {
  readonly #core: AppCore
  readonly #options: RetryOptions
  readonly #delayMs: number
  readonly #body: TaskBody

  constructor(core: AppCore, options: RetryOptions, delayMs: number, body: TaskBody) {
    super('the task asked to be run again', { cause: options.cause })
    this.#core = core
    this.#options = options
    this.#delayMs = delayMs
    this.#body = body
  }

  /** The next run, as data. Throws for what could not be sent: the task fails with it, in the place that asked for it. */
  request(): RetryRequest {
    const { args, kwargs, queue, priority, expires, headers, timeLimit, softTimeLimit } = this.#options
    const changed = args !== undefined || kwargs !== undefined
    const nowMs = this.#core.clock.now()
    if (queue !== undefined) this.#core.routes.queueOptions(queue)
    if (priority !== undefined) checkPriority(priority)
    if (headers !== undefined) checkHeaders(headers)
    checkLimits({ timeLimit, softTimeLimit })
    return {
      etaMs: this.#delayMs > 0 ? nowMs + this.#delayMs : null,
      body: changed
        ? bodyText({ ...this.#body, ...(args === undefined ? {} : { args }), ...(kwargs === undefined ? {} : { kwargs }) })
        : null,
      options: {
        ...(queue === undefined ? {} : { queue }),
        ...(priority === undefined ? {} : { priority }),
        ...(expires === undefined
          ? {}
          : { expiresMs: expires instanceof Date ? timeOf(expires, 'expires') : nowMs + toMs(expires, 'expires') }),
        ...(headers === undefined ? {} : { headers }),
        ...(timeLimit === undefined ? {} : { timeLimit: toMs(timeLimit, 'timeLimit') / 1000 }),
        ...(softTimeLimit === undefined ? {} : { softTimeLimit: toMs(softTimeLimit, 'softTimeLimit') / 1000 }),
      },
    }
  }
}
