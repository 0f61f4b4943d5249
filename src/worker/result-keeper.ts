import type { AppCore } from '../app/core.js'
import { isStored, type MetaParts, metaOf } from '../app/outcomes.js'
import type { ResultBackend, StoreOptions } from '../backend.js'
import { Backoff } from '../internal/backoff.js'
import type { ResultMeta } from '../protocol/result.js'
import type { ActiveTask } from './active-task.js'
import { fields, label } from './task-words.js'

/** How long a result that cannot be stored is tried again before its task goes back to the queue. */
const storeForMs = 30_000

/** Stores states of tasks, and is patient with a backend that cannot be reached. */
export class ResultKeeper {
  readonly #core: AppCore
  readonly #backend: ResultBackend
  readonly #hostname: string

  constructor(core: AppCore, backend: ResultBackend, hostname: string) {
    this.#core = core
    this.#backend = backend
    this.#hostname = hostname
  }

  /** The same once, without patience; undefined when nothing is to be stored. */
  write(task: ActiveTask, parts: MetaParts): Promise<boolean> | undefined {
    const core = this.#core
    if (!this.#backend.supports.results || !isStored(core, task.head, task.definition, parts.status)) return undefined
    const meta = metaOf(core, task.head, parts, { queue: task.delivery.queue, worker: this.#hostname })
    return this.#backend.store(meta, this.#optionsOf(task))
  }

  /** Tries for a while when the backend cannot be reached; rejects after it. False: a terminal state was there already. */
  store(task: ActiveTask, parts: MetaParts): Promise<boolean> {
    const core = this.#core
    if (!this.#backend.supports.results || !isStored(core, task.head, task.definition, parts.status)) return stored
    const meta = metaOf(core, task.head, parts, { queue: task.delivery.queue, worker: this.#hostname })
    const options = this.#optionsOf(task)
    return this.#backend.store(meta, options).catch((error: unknown) => {
      core.log.warn({ ...fields(task), err: error }, `the result of task ${label(task)} could not be stored; trying again`)
      return this.#storeAgain(meta, options)
    })
  }

  #optionsOf({ message }: ActiveTask): StoreOptions {
    const { replyTo, correlationId } = message.properties
    return { expiresSeconds: this.#core.config.resultExpires, replyTo, correlationId }
  }

  async #storeAgain(meta: ResultMeta, options: StoreOptions): Promise<boolean> {
    const { clock, random } = this.#core
    const backoff = new Backoff({ firstMs: 50, maxMs: 2_000, random })
    const untilMs = clock.monotonic() + storeForMs
    for (;;) {
      await new Promise<void>((resolve) => clock.setTimer(backoff.next(), resolve, { keepAlive: true }))
      try {
        return await this.#backend.store(meta, options)
      } catch (error) {
        if (clock.monotonic() > untilMs) throw error
      }
    }
  }
}

const stored = Promise.resolve(true)
