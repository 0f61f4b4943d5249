import type { AppCore } from '../app/core.js'
import { isStored, type MetaParts, metaOf } from '../app/outcomes.js'
import type { ResultBackend, StoreOptions } from '../backend.js'
import { Backoff } from '../internal/backoff.js'
import type { ResultMeta } from '../protocol/result.js'
import type { Connection } from '../transport.js'
import type { ActiveTask } from './active-task.js'
import { fields, label } from './task-words.js'

/** How long a result that cannot be stored is tried again before its task goes back to the queue. */
const storeForMs = 30_000

/** Stores states of tasks, and is patient with a backend that cannot be reached. */
export class ResultKeeper {
  readonly #core: AppCore
  readonly #backend: ResultBackend
  readonly #hostname: string
  /** Ends of tasks can be stored with the acks of their messages. */
  readonly #isAtBroker: boolean

  constructor(core: AppCore, backend: ResultBackend, connection: Connection, hostname: string) {
    this.#core = core
    this.#backend = backend
    this.#hostname = hostname
    this.#isAtBroker = backend.place !== undefined && backend.place === connection.place
  }

  /** Tries for a while when the backend cannot be reached; rejects after it. False: a terminal state was there already. */
  store(task: ActiveTask, parts: MetaParts): Promise<boolean> {
    return this.write(task, parts)?.catch((cause: unknown) => this.storeAgain(task, parts, cause)) ?? stored
  }

  /** The same once; undefined when nothing is to be stored. */
  write(task: ActiveTask, parts: MetaParts): Promise<boolean> | undefined {
    const core = this.#core
    if (!this.#backend.supports.results || !isStored(core, task.head, task.definition, parts.status)) return undefined
    return this.#backend.store(this.#metaOf(task, parts), this.#optionsOf(task))
  }

  /** As `write`, for the end of a task that nothing follows: its message may be gone with it. No promise where there need be none: each task pays for it. */
  end(task: ActiveTask, parts: MetaParts, ended: (stored: boolean) => void, failed: (cause: unknown) => void): void {
    const backend = this.#backend
    if (!backend.supports.results || !isStored(this.#core, task.head, task.definition, parts.status)) return ended(true)
    const { delivery } = task
    const end =
      this.#isAtBroker && task.acksLate && delivery.ackWith !== undefined
        ? backend.placed?.(this.#metaOf(task, parts), this.#optionsOf(task))
        : undefined
    const store = (): void => void backend.store(this.#metaOf(task, parts), this.#optionsOf(task)).then(ended, failed)
    if (end === undefined) return store()
    delivery.ackWith?.(end, (stored) => {
      if (stored === undefined) store()
      else ended(stored)
    })
  }

  /** After a `write` that failed. A delivery that is lost meanwhile is another's, who stores an end of its own. */
  async storeAgain(task: ActiveTask, parts: MetaParts, cause: unknown): Promise<boolean> {
    if (task.delivery.isLost) throw cause
    const { clock, log, random } = this.#core
    log.warn({ ...fields(task), err: cause }, `the result of task ${label(task)} could not be stored; trying again`)
    const [meta, options] = [this.#metaOf(task, parts), this.#optionsOf(task)]
    const backoff = new Backoff({ firstMs: 50, maxMs: 2_000, random })
    const untilMs = clock.monotonic() + storeForMs
    for (;;) {
      await new Promise<void>((resolve) => clock.setTimer(backoff.next(), resolve, { keepAlive: true }))
      try {
        return await this.#backend.store(meta, options)
      } catch (error) {
        if (clock.monotonic() > untilMs || task.delivery.isLost) throw error
      }
    }
  }

  #metaOf(task: ActiveTask, parts: MetaParts): ResultMeta {
    return metaOf(this.#core, task, parts, { queue: task.delivery.queue, worker: this.#hostname })
  }

  #optionsOf({ message }: ActiveTask): StoreOptions {
    const { replyTo, correlationId } = message.properties
    return { expiresSeconds: this.#core.config.resultExpires, replyTo, correlationId }
  }
}

const stored = Promise.resolve(true)
