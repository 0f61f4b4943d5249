import type { Continuer } from '../app/continue/continuer.js'
import { continuationsIn } from '../app/continue/embed.js'
import type { AppCore } from '../app/core.js'
import { failed } from '../app/outcomes.js'
import type { CeleriacError } from '../errors.js'
import { errorToRemote, type RemoteErrorData } from '../protocol/remote-error.js'
import type { ActiveTask } from './active-task.js'
import { followOf } from './ended-task.js'
import { isForGood } from './for-good.js'
import type { RefusalLog } from './refusal-log.js'
import type { ResultKeeper } from './result-keeper.js'
import type { TaskEvents } from './task-events.js'
import { signalOf } from './task-signals.js'
import { fields, label } from './task-words.js'

interface BurialParts {
  readonly core: AppCore
  readonly results: ResultKeeper
  readonly continuer: Continuer
  readonly refusals: RefusalLog
  readonly events: TaskEvents
}

/** Tasks that come to no end of their own: their messages go to the dead letters, and those who wait for them are told. */
export class Burials {
  readonly #parts: BurialParts

  constructor(parts: BurialParts) {
    this.#parts = parts
  }

  /** A message that nobody can run, with the reason. Its task fails where its id is known, so that nobody waits for it, nor for what would have followed it. */
  async bury(task: ActiveTask, reason: string, error: RemoteErrorData): Promise<void> {
    const { core, results, continuer, refusals } = this.#parts
    refusals.tell(error.excType, fields(task), `Task ${label(task)} goes to the dead letters: ${reason}`)
    const continuations = await continuationsIn(core, task.message, task.head)
    const final = failed(error, [])
    try {
      await results.store(task, final)
      const follow = followOf(core, task, final, continuations)
      if (follow !== undefined) await continuer.after(follow.ended)
    } catch (cause) {
      // Others wait for it: it comes again, and is buried when they can be told.
      if (continuations !== null) throw cause
      this.#discard(task, reason, error)
      throw cause
    }
    this.#discard(task, reason, error)
  }

  /** A task that ran, and whose outcome could not be settled: it goes back to its queue, or to the dead letters when another run would end in the same way. */
  async giveUp(task: ActiveTask, error: unknown): Promise<void> {
    const { hooks, log } = this.#parts.core
    hooks.tell('taskInternalError', log, () => ({ ...signalOf(task), error }))
    if (isForGood(error)) return this.#buryUnsettled(task, error)
    log.error({ ...fields(task), err: error }, `Task ${label(task)} could not be settled and goes back to its queue`)
    task.delivery.release()
  }

  async #buryUnsettled(task: ActiveTask, error: CeleriacError): Promise<void> {
    try {
      await this.bury(task, `it ran, and what follows it cannot be done: ${error.message}`, errorToRemote(error))
    } catch (cause) {
      this.#parts.core.log.error({ ...fields(task), err: cause }, `the failure of task ${label(task)} could not be stored`)
      task.delivery.release()
    }
  }

  #discard(task: ActiveTask, reason: string, error: RemoteErrorData): void {
    this.#parts.events.failed(task, error)
    task.delivery.reject(reason)
  }
}
