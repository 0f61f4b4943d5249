import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { AppCore } from '../app/core.js'
import { DatabaseUnusableError } from '../errors.js'
import type { Timer } from '../internal/clock.js'
import { nodePath } from '../internal/node-name.js'
import { isRecord } from '../protocol/plain.js'
import { revokedIds } from './commands/cluster.js'
import type { RevokedTasks } from './revoked.js'

/** Changes of so long are written together. */
const gatherMs = 500

/** What a worker keeps over its restarts (`--statedb`): the ids of revoked tasks and the logical clock, as JSON in a file of its own. */
export class StateFile {
  readonly #core: AppCore
  readonly #path: string
  readonly #revoked: RevokedTasks
  #timer: Timer | undefined
  #writing: Promise<void> = Promise.resolve()

  /** That of `--statedb`, opened; undefined where the worker keeps none. Throws DatabaseUnusableError for one that cannot be read or written. */
  static async of(core: AppCore, hostname: string, revoked: RevokedTasks): Promise<StateFile | undefined> {
    const { workerStateDb } = core.config
    if (workerStateDb === null) return undefined
    const file = new StateFile(core, nodePath(workerStateDb, hostname), revoked)
    await file.#open()
    return file
  }

  private constructor(core: AppCore, path: string, revoked: RevokedTasks) {
    this.#core = core
    this.#path = resolve(path)
    this.#revoked = revoked
  }

  /** Takes over what is there; no file is a worker that never ran. */
  async #open(): Promise<void> {
    // As for a log or a pid file: what is to be in a folder may make it.
    await mkdir(dirname(this.#path), { recursive: true }).catch((cause: unknown) => {
      throw this.#unusable(cause)
    })
    let text: string | undefined
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw this.#unusable(cause)
    }
    if (text !== undefined) {
      const state = this.#parse(text)
      this.#revoked.add(revokedIds(state.revoked))
      this.#core.lamport.adjust(state.clock)
    }
    // A folder that cannot be written to is told at the start, not when something would be lost.
    await this.#write()
    this.#revoked.onChange = () => {
      this.#timer ??= this.#core.clock.setTimer(gatherMs, () => {
        this.#timer = undefined
        void this.#writeSafely()
      })
    }
  }

  /** After those before it. */
  #writeSafely(): Promise<void> {
    this.#writing = this.#writing
      .then(() => this.#write())
      .catch((error: unknown) => this.#core.log.error({ err: error }, error instanceof Error ? error.message : String(error)))
    return this.#writing
  }

  /** Never rejects: a worker that cannot keep its state leaves its broker in order all the same. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#revoked.onChange = () => {}
    await this.#writeSafely()
  }

  #parse(text: string): Readonly<Record<string, unknown>> {
    try {
      const state: unknown = JSON.parse(text)
      if (isRecord(state)) return state
    } catch (cause) {
      throw this.#unusable(cause)
    }
    throw this.#unusable(undefined)
  }

  /** Beside it first: who is killed meanwhile finds the old one. */
  async #write(): Promise<void> {
    const text = JSON.stringify({ revoked: this.#revoked.ids.ids(), clock: this.#core.lamport.value })
    try {
      await writeFile(`${this.#path}.${process.pid}`, text, { mode: 0o600 })
      await rename(`${this.#path}.${process.pid}`, this.#path)
    } catch (cause) {
      throw this.#unusable(cause)
    }
  }

  #unusable(cause: unknown): DatabaseUnusableError {
    const why = cause instanceof Error ? cause.message : 'it holds no state of a worker'
    return new DatabaseUnusableError(`the state file ${this.#path} cannot be used: ${why}. Remove it, or name another one with --statedb`, {
      cause,
    })
  }
}
