import { EncodeError, TaskRevokedError, TimeLimitExceeded, WorkerLostError } from '../errors.js'
import type { Outcome, RetryRequest } from '../pool.js'
import { JsonText } from '../protocol/json-text.js'
import type { Message } from '../protocol/message.js'
import { errorToRemote, type RemoteErrorData, remoteToWire } from '../protocol/remote-error.js'
import type { ResultMeta, ResultTuple, State } from '../protocol/result.js'
import type { TaskHead } from '../protocol/task-head.js'
import { resend } from '../protocol/task-message.js'
import { toIso } from '../protocol/time.js'
import { decodeJson, json } from '../serializers/json.js'
import { calledWith } from './called-with.js'
import type { AppCore } from './core.js'
import type { TaskDefinition } from './task.js'

/** What is stored for a task, whatever its state: who it is, and with `resultExtended` what it was called with. */
export interface MetaParts {
  readonly status: State
  readonly result: unknown
  readonly traceback?: string | null
  readonly children?: readonly ResultTuple[] | null
  readonly done: boolean
}

export function metaOf(
  core: AppCore,
  task: { readonly message: Message; readonly head: TaskHead },
  { status, result, traceback = null, children = [], done }: MetaParts,
  where: { queue: string; worker: string },
): ResultMeta {
  const { head } = task
  return {
    taskId: head.id,
    status,
    result,
    traceback,
    children,
    dateDone: done ? core.isoNow() : null,
    groupId: head.group ?? undefined,
    parentId: head.parentId ?? undefined,
    ...(core.config.resultExtended ? extended(core, task, where) : undefined),
  }
}

function extended(
  core: AppCore,
  task: { readonly message: Message; readonly head: TaskHead },
  { queue, worker }: { queue: string; worker: string },
): Partial<ResultMeta> {
  const { head } = task
  return {
    name: head.task,
    ...calledWith(core, task),
    worker,
    retries: head.retries,
    queue,
    ...(head.stampedHeaders === null ? {} : { stampedHeaders: head.stampedHeaders, stamps: head.stamps }),
  }
}

/** A class, as all that lives as long as a message: see decision 40. */
class Succeeded implements MetaParts {
  readonly status = 'SUCCESS'
  readonly done = true
  constructor(
    readonly result: JsonText,
    readonly children: readonly ResultTuple[],
  ) {}
}

export function succeeded({ result, children }: Outcome & { status: 'success' }): MetaParts {
  return new Succeeded(new JsonText(result), children)
}

/** The final state of an outcome that has one: what the caller of `get()` sees. Undefined: nothing is stored for it. */
export function finalState(head: TaskHead, outcome: Outcome): MetaParts | undefined {
  switch (outcome.status) {
    case 'success':
      return succeeded(outcome)
    case 'failure':
      return failed(outcome.error, outcome.children)
    case 'killed':
      return failed(errorToRemote(killedError(head, outcome)), [])
    case 'revoked':
      return revoked(head.id, outcome.reason)
    case 'retry':
    case 'replaced':
    case 'ignored':
    case 'rejected':
    case 'undecodable':
      return undefined
    default:
      return outcome satisfies never
  }
}

/** With the handles of what is sent after it: their ids are fixed, so they can be told before. */
export function withChildren(final: MetaParts, children: readonly ResultTuple[] | undefined): MetaParts {
  return children === undefined ? final : { ...final, children: [...(final.children ?? []), ...children] }
}

export function revoked(taskId: string, reason: string): MetaParts {
  return { status: 'REVOKED', result: remoteToWire(errorToRemote(new TaskRevokedError(taskId, reason))), children: null, done: true }
}

/** REVOKED for a task of which only the id is known here. */
export function revokedMeta(core: AppCore, taskId: string): ResultMeta {
  const { status, result } = revoked(taskId, 'revoked')
  return { taskId, status, result, traceback: null, children: null, dateDone: core.isoNow() }
}

export function failed(error: RemoteErrorData, children: readonly ResultTuple[]): MetaParts {
  return { status: 'FAILURE', result: remoteToWire(error), traceback: error.traceback, children, done: true }
}

function killedError(head: TaskHead, outcome: Outcome & { status: 'killed' }): Error {
  switch (outcome.by) {
    case 'time limit':
      return new TimeLimitExceeded(limitSecondsOf(outcome, head))
    case 'terminated':
      return new TaskRevokedError(head.id, 'terminated')
    case 'lost':
    case 'shutdown':
      return new WorkerLostError(`what ran the task ended: ${outcome.detail} (pid ${outcome.pid})`)
    default:
      return outcome.by satisfies never
  }
}

/** The pool says in words which limit it enforced; the number is the one it was given. */
function limitSecondsOf(outcome: Outcome & { status: 'killed' }, head: TaskHead): number {
  return outcome.limitMs === undefined ? (head.timeLimit ?? 0) : outcome.limitMs / 1000
}

/** The message of the next run: the one that ran, with what `self.retry()` changed (celery-wire, "Retry"). */
export function retryMessage(core: AppCore, message: Message, head: TaskHead, { etaMs, body, options }: RetryRequest): Message {
  const { timezone } = core.config
  const limits = options.timeLimit !== undefined || options.softTimeLimit !== undefined
  const expiresMs = typeof options.expiresMs === 'number' ? options.expiresMs : undefined
  const again = resend(message, {
    headers: {
      retries: head.retries + 1,
      eta: etaMs === null ? null : toIso(etaMs, timezone),
      // As Celery: the retried task becomes its own parent when it had none.
      parent_id: head.parentId ?? head.id,
      ...(limits ? { timelimit: [options.timeLimit ?? head.timeLimit, options.softTimeLimit ?? head.softTimeLimit] } : {}),
      ...(expiresMs === undefined ? {} : { expires: toIso(expiresMs, timezone) }),
      ...(options.headers as Record<string, unknown> | undefined),
    },
    properties: {
      ...(typeof options.priority === 'number' ? { priority: options.priority } : {}),
      ...(expiresMs === undefined ? {} : { expiration: String(Math.max(0, Math.trunc(expiresMs - core.clock.now()))) }),
    },
    ...(body === null ? {} : { body }),
  })
  return body === null ? again : { ...again, ...bodyLike(core, message, body) }
}

/** The changed body in the format that the message came in, which whoever runs it accepts; what that one cannot hold goes as JSON. */
function bodyLike(core: AppCore, { contentType }: Message, body: string): Pick<Message, 'body' | 'contentType' | 'contentEncoding'> {
  const asJson = { body, contentType: json.contentType, contentEncoding: json.contentEncoding }
  const serializer = core.serializers.get(contentType)
  // The message was decoded, so its serializer is here and no promise of it.
  if (serializer instanceof Promise || serializer === json) return asJson
  try {
    return { contentType, contentEncoding: serializer.contentEncoding, body: serializer.encode(decodeJson(body), 'body') }
  } catch (error) {
    if (error instanceof EncodeError) return asJson
    throw error
  }
}

/** Whether results of this task are kept: the call's word, else the task's, else the config's. */
export function ignoresResult(core: AppCore, head: TaskHead, task: TaskDefinition | undefined): boolean {
  return head.ignoreResult ?? task?.options.ignoreResult ?? core.config.taskIgnoreResult
}

/** Whether this state is stored: failures of ignored results only on request. */
export function isStored(core: AppCore, head: TaskHead, task: TaskDefinition | undefined, status: State): boolean {
  if (!ignoresResult(core, head, task)) return true
  return status === 'FAILURE' && (task?.options.storeErrorsEvenIfIgnored ?? core.config.taskStoreErrorsEvenIfIgnored)
}
