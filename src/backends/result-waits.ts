/**
 * Who waits for which task in this process. A driver has one subscription for all of them: it opens it with the first wait, feeds `deliver`, and closes it
 * after the last.
 */
import { isDeepStrictEqual } from 'node:util'
import { ConnectionError } from '../errors.js'
import { mayBeShared } from '../internal/shared-signal.js'
import type { ResultMeta } from '../protocol/result.js'
import { isReady } from '../protocol/result.js'

export interface Subscription {
  /** Before the first wait reads: from here on `deliver` is called for every new state. */
  open(): void
  close(): void
  /** Nobody waits for these tasks any more. For drivers that subscribe to each task; before `close`. */
  leave?(taskIds: readonly string[]): void
}

class Waiter {
  /** Tasks that have not ended as far as this waiter was told. */
  readonly open: Set<string>
  /** The newest state of each task that was not taken yet: states that follow each other quickly are merged. */
  readonly fresh = new Map<string, ResultMeta>()
  failure: Error | undefined
  /** Tasks that were heard of before the first read; undefined after it. */
  #heard: Set<string> | undefined = new Set()
  /** States that the first read found. Each may be heard of once more, when it was published while the read was on its way. */
  readonly #found = new Map<string, ResultMeta>()
  #wake: () => void = () => undefined

  constructor(taskIds: readonly string[]) {
    this.open = new Set(taskIds)
  }

  tell(meta: ResultMeta): void {
    if (!this.open.has(meta.taskId) || this.#isFound(meta)) return
    this.#heard?.add(meta.taskId)
    this.fresh.set(meta.taskId, meta)
    if (isReady(meta.status)) this.open.delete(meta.taskId)
    this.#wake()
  }

  /** What the first read found. What was heard meanwhile may be newer, and then nothing newer is missed. */
  tellStored(stored: ReadonlyMap<string, ResultMeta>): void {
    const heard = this.#heard
    this.#heard = undefined
    for (const taskId of [...this.open]) {
      const meta = stored.get(taskId)
      if (meta === undefined || heard?.has(taskId)) continue
      this.tell(meta)
      if (!isReady(meta.status)) this.#found.set(taskId, meta)
    }
  }

  #isFound(meta: ResultMeta): boolean {
    const found = this.#found.get(meta.taskId)
    if (found !== undefined) this.#found.delete(meta.taskId)
    return isDeepStrictEqual(found, meta)
  }

  fail(error: Error): void {
    // The first one is the reason.
    this.failure ??= error
    this.#wake()
  }

  /** Until something is fresh, failed or aborted. */
  async news(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      if (this.fresh.size > 0 || this.failure !== undefined || signal.aborted) resolve()
      signal.addEventListener('abort', this.#wakeOnAbort, { once: true })
    })
    signal.removeEventListener('abort', this.#wakeOnAbort)
  }

  readonly #wakeOnAbort = (): void => this.#wake()
}

export class ResultWaits {
  readonly #subscription: Subscription
  readonly #byTask = new Map<string, Set<Waiter>>()
  readonly #waiters = new Set<Waiter>()
  readonly #toRead = new Set<string>()
  #reading: Promise<ReadonlyMap<string, ResultMeta>> | undefined

  constructor(subscription: Subscription) {
    this.#subscription = subscription
  }

  isAwaited(taskId: string): boolean {
    return this.#byTask.has(taskId)
  }

  /** Those that somebody waits for and whose end is not known. */
  openTasks(): string[] {
    return [...this.#byTask].flatMap(([taskId, waiters]) => ([...waiters].some((waiter) => waiter.open.has(taskId)) ? [taskId] : []))
  }

  deliver(meta: ResultMeta): void {
    for (const waiter of [...(this.#byTask.get(meta.taskId) ?? [])]) waiter.tell(meta)
  }

  /** The state of this task cannot be read: ends the waits for it, and no others. */
  failTask(taskId: string, error: Error): void {
    for (const waiter of [...(this.#byTask.get(taskId) ?? [])]) waiter.fail(error)
  }

  /** Ends every wait with this error. */
  fail(error: Error): void {
    for (const waiter of [...this.#waiters]) waiter.fail(error)
  }

  /** See ResultBackend.wait. `read` gives the states that are stored already. */
  async *wait(
    taskIds: readonly string[],
    signal: AbortSignal,
    read: (taskIds: readonly string[]) => Promise<ReadonlyMap<string, ResultMeta>>,
  ): AsyncGenerator<ResultMeta, void, undefined> {
    signal.throwIfAborted()
    mayBeShared(signal)
    const waiter = new Waiter(taskIds)
    this.#add(waiter, taskIds)
    try {
      // Not awaited: a store that does not answer must not keep the wait from its signal.
      this.#readTogether(taskIds, read).then(
        (stored) => waiter.tellStored(stored),
        (error: unknown) => waiter.fail(error instanceof Error ? error : new ConnectionError(String(error))),
      )
      for (;;) {
        while (waiter.fresh.size > 0) {
          for (const [taskId, meta] of waiter.fresh) {
            waiter.fresh.delete(taskId)
            yield meta
          }
        }
        if (waiter.open.size === 0) return
        if (waiter.failure !== undefined) throw waiter.failure
        signal.throwIfAborted()
        await waiter.news(signal)
      }
    } finally {
      this.#remove(waiter, taskIds)
    }
  }

  /** Waits that begin in one tick share one read. */
  #readTogether(
    taskIds: readonly string[],
    read: (taskIds: readonly string[]) => Promise<ReadonlyMap<string, ResultMeta>>,
  ): Promise<ReadonlyMap<string, ResultMeta>> {
    for (const taskId of taskIds) this.#toRead.add(taskId)
    this.#reading ??= Promise.resolve().then(() => {
      const together = [...this.#toRead]
      this.#toRead.clear()
      this.#reading = undefined
      return read(together)
    })
    return this.#reading
  }

  #add(waiter: Waiter, taskIds: readonly string[]): void {
    if (this.#waiters.size === 0) this.#subscription.open()
    this.#waiters.add(waiter)
    for (const taskId of taskIds) {
      const same = this.#byTask.get(taskId)
      if (same === undefined) this.#byTask.set(taskId, new Set([waiter]))
      else same.add(waiter)
    }
  }

  #remove(waiter: Waiter, taskIds: readonly string[]): void {
    const left: string[] = []
    for (const taskId of taskIds) {
      const same = this.#byTask.get(taskId)
      if (!same?.delete(waiter) || same.size > 0) continue
      this.#byTask.delete(taskId)
      left.push(taskId)
    }
    this.#waiters.delete(waiter)
    this.#subscription.leave?.(left)
    if (this.#waiters.size === 0) this.#subscription.close()
  }
}
