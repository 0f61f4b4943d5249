import type { DeadLetter } from '../transport.js'
import type { AppCore } from './core.js'

/** Messages that could not be run, with the reason and their original bytes. They stay until they are replayed or dropped. */
export class DeadLetterBox {
  readonly #core: AppCore

  constructor(core: AppCore) {
    this.#core = core
  }

  /** The oldest first; `limit` is 100 by default. */
  async list(options: { queue?: string; limit?: number } = {}): Promise<readonly DeadLetter[]> {
    return (await this.#core.connections.publisher()).deadLetters.list({ limit: 100, ...options })
  }

  async count(): Promise<number> {
    return (await this.#core.connections.publisher()).deadLetters.count()
  }

  /** Sends the message again to the queue that it came from. The stored failure of the task is removed, so that the new run can store its own result. False: there is no such dead letter. */
  async replay(id: string): Promise<boolean> {
    const connection = await this.#core.connections.publisher()
    const letter = (await connection.deadLetters.list({ limit: Number.MAX_SAFE_INTEGER })).find((one) => one.id === id)
    const taskId = letter?.message.headers.id
    if (typeof taskId === 'string') {
      const backend = await this.#core.connections.backend()
      if (backend.supports.results) await backend.forget([taskId])
    }
    return connection.deadLetters.replay(id)
  }

  async drop(id: string): Promise<boolean> {
    return (await this.#core.connections.publisher()).deadLetters.drop(id)
  }
}
