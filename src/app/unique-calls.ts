/**
 * Calls with `unique`: one live task for each key. The lock is taken before the message goes out, for a short time, and kept when it is there; a worker releases it
 * when the task has ended (worker/limits).
 */
import type { AsyncResult } from '../canvas/handles.js'
import { PublishUncertainError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import type { LimitStore, Lock, TakeAnswer } from '../limit-store.js'
import { MemoryLimitStore } from '../limits/memory.js'
import { isReady } from '../protocol/result.js'
import { runningTask } from './context.js'
import type { AppCore } from './core.js'
import type { OutgoingCall } from './outgoing-call.js'
import type { ResultAccess } from './result-wait.js'
import { type Unique, uniqueOf } from './unique-options.js'

/** How much longer than a publish may take the lock is held for it: its sender may have died. */
const marginMs = 5_000
/** When another call is just being sent, how soon it is looked at again. */
const lookAgainMs = 20
/** Runs of eager mode that later calls may be led to. */
const eagerRunsKept = 1_000

/** Of eager mode, as long as the app has one clock: a test brings another. */
interface EagerRuns {
  readonly clock: Clock
  readonly store: LimitStore
  readonly runs: Map<string, Promise<AsyncResult<unknown>>>
}

export class UniqueCalls {
  readonly #core: AppCore
  readonly #access: ResultAccess
  #eager: EagerRuns | undefined

  constructor(core: AppCore, access: ResultAccess) {
    this.#core = core
    this.#access = access
  }

  /** Sends it, unless another task has the key and is not to be replaced. Gives the handle of the task that there is. */
  async send(call: OutgoingCall, id: string, send: (call: OutgoingCall) => Promise<AsyncResult<unknown>>): Promise<AsyncResult<unknown>> {
    const { clock, config, connections } = this.#core
    const unique = uniqueOf(call.options, call, call.definition?.params ?? [], clock.now())
    if (config.taskAlwaysEager) return this.#runEagerly(call, id, unique, send)
    const store = await connections.limits()
    const lock = { name: lockName(call.task, unique.key), holder: id }
    const taken = await this.#take(store, lock, unique)
    if (taken.status === 'held') return this.#access.handle([[taken.by, null], null])
    let result: AsyncResult<unknown>
    try {
      result = await send(this.#outgoing(call, lock, unique))
    } catch (error) {
      // One that may be at the broker keeps the lock for as long as its sender could have been dead.
      if (!(error instanceof PublishUncertainError)) await this.#undo(store, lock)
      throw error
    }
    await this.#confirm(store, lock, unique, taken.before)
    return result
  }

  #outgoing(call: OutgoingCall, { name }: Lock, unique: Unique): OutgoingCall {
    const options = unique.onConflict === 'debounce' ? { ...call.options, countdown: unique.delayMs / 1000 } : call.options
    // What is throttled is so for its time, however its task ends.
    return unique.onConflict === 'throttle' ? call : { ...call, options, lock: { name, ttl: this.#ttlMs(unique) } }
  }

  async #take(store: LimitStore, lock: Lock, unique: Unique): Promise<TakeAnswer> {
    const { clock, config } = this.#core
    const forMs = config.publishTimeout * 1000 + marginMs
    const over = overOf(unique)
    const givenUpMs = clock.monotonic() + forMs
    let ended: string | undefined
    for (;;) {
      const answer = await store.take(lock, ended === undefined ? { forMs, over } : { forMs, over, ended })
      if (answer.status === 'taken' || clock.monotonic() >= givenUpMs) return answer
      if (!answer.isSent) {
        // It may yet fail to be sent, and then this one is to be.
        await new Promise<void>((resolve) => clock.setTimer(lookAgainMs, resolve, { keepAlive: true }))
      } else if (unique.onConflict === 'throttle' || ended === answer.by || !(await this.#hasEnded(answer.by))) return answer
      else ended = answer.by
    }
  }

  /** Whoever ran it may not know of locks: a Python worker. */
  async #hasEnded(taskId: string): Promise<boolean> {
    const backend = await this.#core.connections.backend()
    if (!backend.supports.results || backend.inbox !== undefined) return false
    const meta = await backend.get(taskId)
    return meta !== undefined && isReady(meta.status)
  }

  async #undo(store: LimitStore, lock: Lock): Promise<void> {
    try {
      await store.undo(lock)
    } catch (error) {
      this.#core.log.warn({ err: error, task_id: lock.holder }, `the lock of ${lock.name} could not be given back; it ends by itself`)
    }
  }

  /** The task is sent, whatever happens here. */
  async #confirm(store: LimitStore, lock: Lock, unique: Unique, before: readonly string[]): Promise<void> {
    const forMs = unique.onConflict === 'throttle' ? this.#ttlMs(unique) : unique.delayMs + this.#ttlMs(unique)
    try {
      const dropped = await store.confirm(lock, { forMs, before })
      // No worker would run them; whoever waits for them learns it now, and workers that do not know of locks, too.
      if (dropped.length > 0) await this.#access.revoke(dropped, {})
    } catch (error) {
      this.#core.log.warn(
        { err: error, task_id: lock.holder },
        `the lock of ${lock.name} could not be kept: another call may run beside this one`,
      )
    }
  }

  /** For how long the lock is held after the task may run. */
  #ttlMs({ ttlMs, onConflict }: Unique): number {
    const standard = this.#core.config.uniqueTtl * 1000
    return onConflict === 'debounce' ? standard : (ttlMs ?? standard)
  }

  /** The same where tasks run in the call: what has the key is running, or has just run. */
  #runEagerly(
    call: OutgoingCall,
    id: string,
    unique: Unique,
    send: (call: OutgoingCall) => Promise<AsyncResult<unknown>>,
  ): Promise<AsyncResult<unknown>> {
    const { clock } = this.#core
    if (this.#eager?.clock !== clock) this.#eager = { clock, store: new MemoryLimitStore(undefined, clock), runs: new Map() }
    const { store, runs } = this.#eager
    const lock = { name: lockName(call.task, unique.key), holder: id }
    const run = this.#runUnlessHeld({ store, runs }, lock, unique, () => send(call))
    // Before anybody else can meet its lock.
    runs.set(id, run)
    for (const old of runs.keys()) {
      if (runs.size <= eagerRunsKept) break
      runs.delete(old)
    }
    return run
  }

  async #runUnlessHeld(
    { store, runs }: Pick<EagerRuns, 'store' | 'runs'>,
    lock: Lock,
    unique: Unique,
    send: () => Promise<AsyncResult<unknown>>,
  ): Promise<AsyncResult<unknown>> {
    const forMs = this.#ttlMs(unique)
    const taken = await store.take(lock, { forMs, over: overOf(unique) })
    if (taken.status === 'held') {
      runs.delete(lock.holder)
      const run = runs.get(taken.by)
      // A task that calls itself must not wait for its own end.
      return run === undefined || runningTask()?.context.request.id === taken.by ? this.#access.handle([[taken.by, null], null]) : run
    }
    await store.claim(lock, { forMs })
    try {
      return await send()
    } finally {
      if (unique.onConflict !== 'throttle') await store.release(lock)
    }
  }
}

function overOf({ onConflict }: Unique): 'none' | 'waiting' {
  return onConflict === 'replace' || onConflict === 'debounce' ? 'waiting' : 'none'
}

function lockName(task: string, key: string): string {
  return `${task}/${key}`
}
