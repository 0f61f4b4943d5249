import type { ResultBackend } from '../backend.js'
import type { AsyncResult, Enqueued, GetOptions } from '../canvas/handles.js'
import { ResultElsewhereError, ResultsDisabledError, SyncSubtaskError, TimeoutError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { toMs } from '../internal/duration.js'
import { failureFrom } from '../protocol/remote-error.js'
import { isReady, type ResultMeta, type State } from '../protocol/result.js'
import type { Connections } from './connections.js'
import { runningTask } from './context.js'

/** What handles need of their app. */
export interface ResultAccess {
  readonly connections: Connections
  readonly clock: Clock
  revoke(taskIds: readonly string[], options: { terminate?: boolean; signal?: NodeJS.Signals }): Promise<void>
}

/** A handle of a task that was sent, here or elsewhere (`byId`), or (with `local`) of one that ran at the call. */
export class StoredResult<R> implements AsyncResult<R> {
  readonly id: string
  readonly parent: AsyncResult<unknown> | null
  readonly #access: ResultAccess
  readonly #local: ResultMeta | undefined
  readonly #byId: boolean

  constructor(
    id: string,
    access: ResultAccess,
    { parent = null, local, byId = false }: { parent?: AsyncResult<unknown> | null; local?: ResultMeta; byId?: boolean } = {},
  ) {
    this.id = id
    this.parent = parent
    this.#access = access
    this.#local = local
    this.#byId = byId
  }

  async get(options: GetOptions = {}): Promise<R> {
    if (this.#local !== undefined) return settled<R>(this.#local, options)
    if (runningTask() !== undefined && options.allowInsideTask !== true) throw new SyncSubtaskError(this.id)
    const backend = await this.#results()
    this.#refuseToWaitForEver(backend, options)
    const stop = this.#deadline(options)
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

  async children(): Promise<AsyncResult<unknown>[]> {
    const tuples = (await this.#meta())?.children ?? []
    return tuples.map(([[id]]) => new StoredResult(id, this.#access, { parent: this }))
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
    const backend = await this.#results()
    await backend.forget([this.id])
  }

  async *events(options: { signal?: AbortSignal } = {}): AsyncGenerator<{ state: string; meta: unknown }, void, undefined> {
    if (this.#local !== undefined) {
      yield { state: this.#local.status, meta: infoOf(this.#local) }
      return
    }
    const backend = await this.#results()
    const stop = this.#deadline(options)
    try {
      for await (const meta of backend.wait([this.id], { signal: stop.signal })) yield { state: meta.status, meta: infoOf(meta) }
    } finally {
      stop.release()
    }
  }

  async #meta(): Promise<ResultMeta | undefined> {
    if (this.#local !== undefined) return this.#local
    const backend = await this.#results()
    return backend.get(this.id)
  }

  async #results(): Promise<ResultBackend> {
    const backend = await this.#access.connections.backend()
    if (!backend.supports.results) throw new ResultsDisabledError()
    return backend
  }

  /** Results that go to one process only, awaited in another. Who gave a deadline learns it then. */
  #refuseToWaitForEver({ inbox }: ResultBackend, { timeout, signal }: GetOptions): void {
    if (!this.#byId || inbox === undefined || timeout !== undefined || signal !== undefined || inbox.expects(this.id)) return
    throw new ResultElsewhereError(this.id, 'with rpc:// it goes to the process that sent the task, and this one did not')
  }

  /** One signal for the caller's own and the timeout. While it is open the process stays alive: drivers hold nothing that would keep it. */
  #deadline({ timeout, signal }: { timeout?: GetOptions['timeout']; signal?: AbortSignal }): { signal: AbortSignal; release(): void } {
    const controller = new AbortController()
    const abort = (): void => controller.abort(signal?.reason)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    const timer =
      timeout === undefined
        ? undefined
        : this.#access.clock.setTimer(toMs(timeout, 'timeout'), () =>
            controller.abort(new TimeoutError(`no result of task ${this.id} within ${toMs(timeout, 'timeout') / 1000} s`)),
          )
    const keepAlive = setInterval(() => {}, 2 ** 30)
    return {
      signal: controller.signal,
      release: () => {
        signal?.removeEventListener('abort', abort)
        timer?.cancel()
        clearInterval(keepAlive)
      },
    }
  }
}

/** The promise of a sent task, with its id beside it. */
export function enqueued<R>(id: string, sent: Promise<AsyncResult<R>>): Enqueued<R> {
  return Object.assign(sent, { id, get: (options?: GetOptions) => sent.then((result) => result.get(options)) })
}

function settled<R>(meta: ResultMeta, { propagate = true }: GetOptions): R {
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
