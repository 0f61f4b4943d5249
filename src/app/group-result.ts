import type { AsyncResult, EndedMember, GetOptions, GroupResult } from '../canvas/handles.js'
import { SyncSubtaskError, TimeoutError } from '../errors.js'
import { isReady, type ResultMeta, type ResultTuple, type State } from '../protocol/result.js'
import { collected, isGroupResult, StoredResult, settled, tupleOf } from './async-result.js'
import { runningTask } from './context.js'
import { deadlineOf, type ResultAccess, resultsOf } from './result-wait.js'

type Metas = Pick<ReadonlyMap<string, ResultMeta>, 'get' | 'has'>

const none: Metas = new Map()

/** A handle of a group. All its members share one wait. With `local`, members that ran at the call. */
class StoredGroup<R> implements GroupResult<R> {
  readonly id: string
  readonly parent: AsyncResult<unknown> | null
  readonly results: readonly AsyncResult<unknown>[]
  readonly #access: ResultAccess
  readonly #local: Metas

  constructor(
    id: string,
    results: readonly AsyncResult<unknown>[],
    access: ResultAccess,
    { parent = null, local = none }: { parent?: AsyncResult<unknown> | null; local?: Metas } = {},
  ) {
    this.id = id
    this.results = results
    this.parent = parent
    this.#access = access
    this.#local = local
  }

  /** Throws at the first member that fails, without waiting for the others. */
  async get(options: GetOptions = {}): Promise<R> {
    const metas = new Map<string, ResultMeta>()
    for await (const meta of this.#ends(options)) {
      if (options.propagate !== false && meta.status !== 'SUCCESS') settled(meta, options)
      metas.set(meta.taskId, meta)
    }
    const value = (result: AsyncResult<unknown>): unknown =>
      // All of them have ended.
      isGroupResult(result) ? result.results.map(value) : settled(metas.get(result.id) as ResultMeta, options)
    // What tasks return is typed where they are called; the wire cannot check it.
    return this.results.map(value) as R
  }

  join(options?: GetOptions): Promise<R> {
    return this.get(options)
  }

  async *iterate(options: { signal?: AbortSignal; timeout?: GetOptions['timeout'] } = {}): AsyncGenerator<EndedMember, void, undefined> {
    const memberOf = new Map<string, number>()
    const missing = this.results.map((result, index) => {
      const ids = leavesOf([result])
      for (const id of ids) memberOf.set(id, index)
      return ids.length
    })
    for (const [index, result] of this.results.entries()) if (missing[index] === 0) yield { index, result }
    const ended: ResultMeta[][] = this.results.map(() => [])
    for await (const meta of this.#ends(options)) {
      const index = memberOf.get(meta.taskId) as number // what is waited for are members' tasks
      ended[index]?.push(meta)
      if (ended[index]?.length === missing[index]) yield { index, result: this.#withLocal(index, ended[index] ?? []) }
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<EndedMember, void, undefined> {
    return this.iterate()
  }

  async state(): Promise<State> {
    const states = (await this.#metas()).map((meta) => meta?.status ?? 'PENDING')
    if (states.every((state) => state === 'SUCCESS')) return 'SUCCESS'
    if (states.includes('FAILURE')) return 'FAILURE'
    if (states.includes('REVOKED')) return 'REVOKED'
    return states.every((state) => state === 'PENDING') ? 'PENDING' : 'STARTED'
  }

  async ready(): Promise<boolean> {
    return !(await this.waiting())
  }

  async waiting(): Promise<boolean> {
    return (await this.#metas()).some((meta) => meta === undefined || !isReady(meta.status))
  }

  async successful(): Promise<boolean> {
    return (await this.#metas()).every((meta) => meta?.status === 'SUCCESS')
  }

  async failed(): Promise<boolean> {
    return (await this.#metas()).some((meta) => meta?.status === 'FAILURE')
  }

  async completedCount(): Promise<number> {
    const succeeded = new Set((await this.#metas()).flatMap((meta) => (meta?.status === 'SUCCESS' ? [meta.taskId] : [])))
    return this.results.filter((result) => leavesOf([result]).every((id) => succeeded.has(id))).length
  }

  async info(): Promise<unknown> {
    const metas = await this.#metas()
    return { current: metas.filter((meta) => meta !== undefined && isReady(meta.status)).length, total: metas.length }
  }

  async traceback(): Promise<string | null> {
    return (await this.#metas()).find((meta) => meta?.status === 'FAILURE')?.traceback ?? null
  }

  async details(): Promise<null> {
    return null
  }

  async children(): Promise<AsyncResult<unknown>[]> {
    return [...this.results]
  }

  collect(options: GetOptions = {}): AsyncGenerator<readonly [AsyncResult<unknown>, unknown], void, undefined> {
    return collected(this, options)
  }

  asTuple(): ResultTuple {
    return tupleOf(this)
  }

  async exists(): Promise<boolean | undefined> {
    const answers = await Promise.all(this.results.map((result) => result.exists()))
    if (answers.includes(false)) return false
    return answers.includes(undefined) ? undefined : true
  }

  async revoke(options: { terminate?: boolean; signal?: NodeJS.Signals } = {}): Promise<void> {
    await this.#access.revoke(leavesOf(this.results), options)
  }

  /** Removes the results of all members, and which members there are. */
  async forget(): Promise<void> {
    const backend = await resultsOf(this.#access)
    await backend.forget(leavesOf(this.results))
    if (backend.supports.chords) await backend.forgetGroup(this.id)
  }

  async save(): Promise<void> {
    const backend = await resultsOf(this.#access)
    await backend.saveGroup(this.asTuple(), { expiresSeconds: this.#access.expiresSeconds })
  }

  /** How many members have ended, as PROGRESS, until all have. */
  async *events(options: { signal?: AbortSignal } = {}): AsyncGenerator<{ state: string; meta: unknown }, void, undefined> {
    let current = 0
    let state = 'SUCCESS'
    const total = leavesOf(this.results).length
    for await (const { status } of this.#ends(options)) {
      current++
      if (status === 'FAILURE' || (status === 'REVOKED' && state === 'SUCCESS')) state = status
      yield { state: current < total ? 'PROGRESS' : state, meta: { current, total } }
    }
  }

  /** Each task of it once, when it has ended. */
  async *#ends(options: GetOptions): AsyncGenerator<ResultMeta, void, undefined> {
    const pending = new Set<string>()
    for (const id of leavesOf(this.results)) {
      const local = this.#local.get(id)
      if (local === undefined) pending.add(id)
      else yield local
    }
    if (pending.size === 0) return
    if (runningTask() !== undefined && options.allowInsideTask !== true) throw new SyncSubtaskError(this.id)
    const backend = await resultsOf(this.#access)
    const stop = deadlineOf(this.#access.clock, options, `group ${this.id}`)
    try {
      for await (const meta of backend.wait([...pending], { signal: stop.signal })) {
        if (isReady(meta.status) && pending.delete(meta.taskId)) yield meta
      }
    } finally {
      stop.release()
    }
    if (pending.size > 0) throw new TimeoutError(`the wait for group ${this.id} ended without the results of ${pending.size} members`)
  }

  /** Of each task of it, in their order. */
  async #metas(): Promise<readonly (ResultMeta | undefined)[]> {
    const ids = leavesOf(this.results)
    const unknown = ids.filter((id) => !this.#local.has(id))
    const stored = unknown.length === 0 ? none : await (await resultsOf(this.#access)).getMany(unknown)
    return ids.map((id) => this.#local.get(id) ?? stored.get(id))
  }

  /** A member that has ended needs no further look into the backend. */
  #withLocal(index: number, metas: readonly ResultMeta[]): AsyncResult<unknown> {
    const result = this.results[index] as AsyncResult<unknown> // one of the members
    const { parent, id } = result
    if (isGroupResult(result))
      return new StoredGroup(id, result.results, this.#access, { parent, local: new Map(metas.map((meta) => [meta.taskId, meta])) })
    const [local] = metas
    return local === undefined ? result : new StoredResult(id, this.#access, { parent, local })
  }
}

/** The tasks whose results make up those of these handles. */
function leavesOf(results: readonly AsyncResult<unknown>[]): string[] {
  const ids: string[] = []
  const add = (result: AsyncResult<unknown>): void => {
    if (isGroupResult(result)) result.results.forEach(add)
    else ids.push(result.id)
  }
  results.forEach(add)
  return ids
}

/** A handle of what a tuple tells. `local` has the ends of what ran at the call. */
export function handleOf(
  access: ResultAccess,
  tuple: ResultTuple,
  { parent, local = none }: { parent?: AsyncResult<unknown> | undefined; local?: Metas } = {},
): AsyncResult<unknown> {
  const line: ResultTuple[] = []
  for (let at: ResultTuple | null = tuple; at !== null; at = at[0][1]) line.push(at)
  let handle: AsyncResult<unknown> | null = parent ?? null
  for (const [[id], members] of line.reverse()) {
    const meta = local.get(id)
    handle =
      members === null
        ? new StoredResult(id, access, meta === undefined ? { parent: handle } : { parent: handle, local: meta })
        : new StoredGroup(
            id,
            members.map((member) => handleOf(access, member, { local })),
            access,
            { parent: handle, local },
          )
  }
  // The line has at least the tuple itself.
  return handle as AsyncResult<unknown>
}
