import type { ResultBackend } from '../backend.js'
import type { AsyncResult, Enqueued, GetOptions, GroupResult, ResultDetails } from '../canvas/handles.js'
import { ResultElsewhereError, ResultIgnoredError, SyncSubtaskError, TimeoutError } from '../errors.js'
import { failureFrom } from '../protocol/remote-error.js'
import { isReady, type ResultMeta, type ResultTuple, type State } from '../protocol/result.js'
import { parseIso } from '../protocol/time.js'
import { runningTask } from './context.js'
import { deadlineOf, type ResultAccess, resultsOf } from './result-wait.js'

interface HandleParts {
  readonly parent?: AsyncResult<unknown> | null
  /** It ran at the call. */
  readonly local?: ResultMeta
  /** It was sent elsewhere. */
  readonly byId?: boolean
  /** No worker stores its result. */
  readonly ignored?: boolean
}

/** A handle of a task that was sent, or that ran at the call. */
export class StoredResult<R> implements AsyncResult<R> {
  readonly id: string
  readonly parent: AsyncResult<unknown> | null
  readonly #access: ResultAccess
  readonly #local: ResultMeta | undefined
  readonly #byId: boolean
  readonly #ignored: boolean

  constructor(id: string, access: ResultAccess, { parent = null, local, byId = false, ignored = false }: HandleParts = {}) {
    this.id = id
    this.parent = parent
    this.#access = access
    this.#local = local
    this.#byId = byId
    this.#ignored = ignored
  }

  async get(options: GetOptions = {}): Promise<R> {
    if (this.#local !== undefined) return settled<R>(this.#local, options)
    if (runningTask() !== undefined && options.allowInsideTask !== true) throw new SyncSubtaskError(this.id)
    const backend = await resultsOf(this.#access)
    this.#refuseToWaitForEver(backend, options)
    const stop = deadlineOf(this.#access.clock, options, `task ${this.id}`)
    try {
      for await (const meta of backend.wait([this.id], { signal: stop.signal })) {
        if (isReady(meta.status)) return settled<R>(meta, options)
      }
      throw new TimeoutError(`the wait for task ${this.id} ended without a result`)
    } finally {
      stop.release()
    }
  }

  async state(): Promise<State> {
    return (await this.#meta())?.status ?? 'PENDING'
  }

  async ready(): Promise<boolean> {
    return isReady(await this.state())
  }

  async successful(): Promise<boolean> {
    return (await this.state()) === 'SUCCESS'
  }

  async failed(): Promise<boolean> {
    return (await this.state()) === 'FAILURE'
  }

  async info(): Promise<unknown> {
    const meta = await this.#meta()
    return meta === undefined ? null : infoOf(meta)
  }

  async traceback(): Promise<string | null> {
    return (await this.#meta())?.traceback ?? null
  }

  async details(): Promise<ResultDetails | null> {
    const meta = await this.#meta()
    return meta === undefined ? null : detailsOf(meta)
  }

  async children(): Promise<AsyncResult<unknown>[]> {
    const tuples = (await this.#meta())?.children ?? []
    return tuples.map((tuple) => this.#access.handle(tuple, this))
  }

  collect(options: GetOptions = {}): AsyncGenerator<readonly [AsyncResult<unknown>, unknown], void, undefined> {
    return collected(this, options)
  }

  asTuple(): ResultTuple {
    return tupleOf(this)
  }

  async exists(): Promise<boolean | undefined> {
    if (this.#local !== undefined) return true
    // The broker is asked first: a task that ends between the two questions has its result by the second.
    const connection = await this.#access.connections.publisher()
    const place = await connection.locate(this.id)
    if (place === 'waiting' || place === 'leased') return true
    const backend = await this.#access.connections.backend()
    if (!backend.supports.results) return undefined
    if ((await backend.get(this.id)) !== undefined) return true
    return place === 'unknown' ? undefined : false
  }

  async revoke(options: { terminate?: boolean; signal?: NodeJS.Signals } = {}): Promise<void> {
    await this.#access.revoke([this.id], options)
  }

  async forget(): Promise<void> {
    const backend = await resultsOf(this.#access)
    await backend.forget([this.id])
  }

  async *events(options: { signal?: AbortSignal } = {}): AsyncGenerator<{ state: string; meta: unknown }, void, undefined> {
    if (this.#local !== undefined) {
      yield { state: this.#local.status, meta: infoOf(this.#local) }
      return
    }
    const backend = await resultsOf(this.#access)
    this.#refuseToWaitForEver(backend, options)
    const stop = deadlineOf(this.#access.clock, options, `task ${this.id}`)
    try {
      for await (const meta of backend.wait([this.id], { signal: stop.signal })) yield { state: meta.status, meta: infoOf(meta) }
    } finally {
      stop.release()
    }
  }

  async #meta(): Promise<ResultMeta | undefined> {
    if (this.#local !== undefined) return this.#local
    const backend = await resultsOf(this.#access)
    return backend.get(this.id)
  }

  /** Results that nobody stores, and those that go to one process only, awaited in another. Who gave a deadline learns it then. */
  #refuseToWaitForEver({ inbox }: ResultBackend, { timeout, signal }: GetOptions): void {
    if (timeout !== undefined || signal !== undefined) return
    if (this.#ignored) throw new ResultIgnoredError(this.id)
    if (!this.#byId || inbox === undefined || inbox.expects(this.id)) return
    throw new ResultElsewhereError(this.id, 'with rpc:// it goes to the process that sent the task, and this one did not')
  }
}

/** The promise of a sent task, with its id beside it. */
export function enqueued<R>(id: string, sent: Promise<AsyncResult<R>>): Enqueued<R> {
  return Object.assign(sent, { id, get: (options?: GetOptions) => sent.then((result) => result.get(options)) })
}

/** Breadth first: what has ended, then its children, which it names once it has ended. */
export async function* collected(
  root: AsyncResult<unknown>,
  options: GetOptions,
): AsyncGenerator<readonly [AsyncResult<unknown>, unknown], void, undefined> {
  const waiting = [root]
  for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
    yield [node, await node.get(options)]
    waiting.push(...(await node.children()))
  }
}

/** A loop along the parents: a chain may have thousands of them. */
export function tupleOf(node: AsyncResult<unknown>): ResultTuple {
  const line: AsyncResult<unknown>[] = []
  for (let at: AsyncResult<unknown> | null = node; at !== null; at = at.parent) line.push(at)
  let tuple: ResultTuple | null = null
  for (const at of line.reverse()) tuple = [[at.id, tuple], isGroupResult(at) ? at.results.map(tupleOf) : null]
  // The line has at least the node itself.
  return tuple as ResultTuple
}

export function isGroupResult(result: AsyncResult<unknown>): result is GroupResult<unknown> {
  return 'results' in result
}

export function settled<R>(meta: ResultMeta, { propagate = true }: GetOptions): R {
  // What a task returns is typed where it is called; the wire cannot check it.
  if (meta.status === 'SUCCESS') return meta.result as R
  const failure = failureFrom(meta)
  if (propagate) throw failure
  return failure as R
}

function infoOf(meta: ResultMeta): unknown {
  switch (meta.status) {
    case 'FAILURE':
    case 'REVOKED':
    case 'RETRY':
      return meta.result === null ? null : failureFrom(meta)
    default:
      return meta.result
  }
}

function detailsOf({ status, dateDone, name, args, kwargs, worker, queue, retries, stamps }: ResultMeta): ResultDetails {
  const called = { name, args, kwargs, worker, queue, retries, stamps }
  return {
    state: status,
    doneAt: dateDone === null ? null : timeIn(dateDone),
    ...Object.fromEntries(Object.entries(called).filter(([, value]) => value !== undefined)),
  }
}

/** Null for what is no time: others write to the store, too. */
function timeIn(text: string): Date | null {
  try {
    return new Date(parseIso(text))
  } catch {
    return null
  }
}
