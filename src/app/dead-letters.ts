import { QueueMissingError } from '../errors.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import { matchesGlob } from '../protocol/mailbox.js'
import type { DeadLetter, DeadLetterActions } from '../transport.js'
import { timeOf } from './call-options.js'
import type { AppCore } from './core.js'

/** Which dead letters are meant: those that fit all that is given. */
export interface DeadLetterFilter {
  ids?: readonly string[]
  queue?: string
  /** Task name, or a shell pattern of it: `mail.*`. */
  task?: string
  /** Part of the reason, in any case. */
  reason?: string
  /** Put there at this time or later. */
  since?: Date
  /** Put there before this time. */
  before?: Date
}

const filterNames: NamesOf<Required<DeadLetterFilter>> = { ids: true, queue: true, task: true, reason: true, since: true, before: true }

/** Messages that could not be run, with the reason and their original bytes. They stay until they are replayed or dropped. */
export class DeadLetterBox {
  readonly #core: AppCore

  constructor(core: AppCore) {
    this.#core = core
  }

  /** The oldest first; `limit` is 100 by default. */
  async list({ limit = 100, ...filter }: DeadLetterFilter & { limit?: number } = {}): Promise<readonly DeadLetter[]> {
    const letters: DeadLetter[] = []
    if (limit > 0)
      await this.visit(filter, (letter) => {
        letters.push(letter)
        return letters.length < limit
      })
    return letters
  }

  async count(): Promise<number> {
    return (await this.#core.connections.publisher()).deadLetters.count()
  }

  /**
   * Shows those that fit one after the other, the oldest first, with what can be done about each; false ends it. Holds few of them in memory at a time. On RabbitMQ
   * nobody else sees what was shown until it ends.
   */
  async visit(
    filter: DeadLetterFilter,
    see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>,
  ): Promise<void> {
    const fits = matcherOf(filter)
    const { deadLetters } = await this.#core.connections.publisher()
    await deadLetters.visit((letter, { replay, drop }) =>
      fits(letter) ? see(letter, { drop, replay: () => this.#replay(letter, replay) }) : true,
    )
  }

  /**
   * Sends the message again to the queue that it came from. The stored failure of the task is removed, so that the new run can store its own result. False: there
   * is no such dead letter. QueueMissingError: the queue is gone, and all stays as it was.
   */
  async replay(id: string): Promise<boolean> {
    let replayed = false
    await this.visit({ ids: [id] }, async (_, { replay }) => {
      replayed = await replay()
      return false
    })
    return replayed
  }

  async drop(id: string): Promise<boolean> {
    return (await this.#core.connections.publisher()).deadLetters.drop(id)
  }

  async #replay(letter: DeadLetter, replay: () => Promise<boolean>): Promise<boolean> {
    const taskId = taskIdIn(letter)
    const backend = await this.#core.connections.backend()
    if (taskId === undefined || !backend.supports.results) return replay()
    const failure = await backend.get(taskId)
    // Before it is sent: whoever runs it may be quick.
    await backend.forget([taskId])
    try {
      return await replay()
    } catch (error) {
      if (error instanceof QueueMissingError && failure !== undefined)
        await backend.store(failure, { expiresSeconds: this.#core.config.resultExpires })
      throw error
    }
  }
}

function taskIdIn({ message }: DeadLetter): string | undefined {
  const { id } = message.headers
  return typeof id === 'string' ? id : undefined
}

/** Throws for a name that would be ignored: what is dropped cannot be had back. */
function matcherOf(filter: DeadLetterFilter): (letter: DeadLetter) => boolean {
  checkNames(filter, filterNames)
  const { ids, queue, task, reason, since, before } = filter
  const [sinceMs, beforeMs] = [since && timeOf(since, 'since'), before && timeOf(before, 'before')]
  const wanted = ids === undefined ? undefined : new Set(ids)
  const words = reason?.toLowerCase()
  return (letter) => {
    const name = letter.message.headers.task
    return (
      (wanted === undefined || wanted.has(letter.id)) &&
      (queue === undefined || letter.queue === queue) &&
      (task === undefined || (typeof name === 'string' && matchesGlob(task, name))) &&
      (words === undefined || letter.reason.toLowerCase().includes(words)) &&
      (sinceMs === undefined || letter.diedAtMs >= sinceMs) &&
      (beforeMs === undefined || letter.diedAtMs < beforeMs)
    )
  }
}
