import type { Pool } from '../pool.js'
import type { ActiveTask } from './active-task.js'

/** Tasks that wait for a place in the pool, in their order. */
export class WaitingTasks {
  readonly #tasks: ActiveTask[] = []

  get tasks(): readonly ActiveTask[] {
    return this.#tasks
  }

  push(task: ActiveTask): void {
    this.#tasks.push(task)
  }

  unshift(...tasks: ActiveTask[]): void {
    this.#tasks.unshift(...tasks)
  }

  /** Takes the first for which there is a place: of a pool made of several, one may be full. */
  next({ parts }: Pool): ActiveTask | undefined {
    if (parts === undefined) return this.#tasks.shift()
    const first = this.#tasks.findIndex(({ head }) => !parts.isFull(head.task))
    return first < 0 ? undefined : this.#tasks.splice(first, 1)[0]
  }

  /** False: it is not here. */
  remove(task: ActiveTask): boolean {
    const at = this.#tasks.indexOf(task)
    if (at >= 0) this.#tasks.splice(at, 1)
    return at >= 0
  }
}
