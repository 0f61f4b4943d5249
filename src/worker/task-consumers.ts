import type { ActiveTask } from './active-task.js'
import type { TaskConsumer } from './consumer.js'

/** The consumers of a worker, one for each of its connections: those of lost ones until what they hold has ended. */
export class TaskConsumers implements Iterable<TaskConsumer> {
  readonly #all = new Set<TaskConsumer>();

  [Symbol.iterator](): Iterator<TaskConsumer> {
    return this.#all.values()
  }

  /** The one that takes tasks now. */
  get current(): TaskConsumer | undefined {
    return [...this.#all].at(-1)
  }

  /** The others take none any more. */
  add(current: TaskConsumer): void {
    for (const old of this.#all) if (old.activeCount === 0) this.#all.delete(old)
    this.#all.add(current)
  }

  get prefetch(): number {
    return Math.max(0, ...[...this.#all].map((tasks) => tasks.prefetch))
  }

  /** Tasks in the worker's hands, in the order in which they came. */
  get held(): readonly ActiveTask[] {
    return [...this.#all].flatMap((tasks) => tasks.held)
  }

  /** Those whose function has started. */
  get running(): readonly ActiveTask[] {
    return this.held.filter(({ run }) => run?.start !== undefined)
  }

  get limited(): readonly ActiveTask[] {
    return [...this.#all].flatMap((tasks) => tasks.limited)
  }

  holds(taskId: string): boolean {
    for (const tasks of this.#all) if (tasks.holds(taskId)) return true
    return false
  }

  async report(taskId: string, state: string, meta: unknown): Promise<void> {
    for (const tasks of this.#all) await tasks.report(taskId, state, meta)
  }

  endRevoked(signal: NodeJS.Signals | undefined, which: (task: ActiveTask) => boolean): readonly string[] {
    return [...this.#all].flatMap((tasks) => tasks.endRevoked(signal, which))
  }

  giveBack(which: (task: ActiveTask) => boolean): void {
    for (const tasks of this.#all) tasks.giveBack(which)
  }

  limitsChanged(): void {
    for (const tasks of this.#all) tasks.limitsChanged()
  }

  poolChanged(): void {
    for (const tasks of this.#all) tasks.poolChanged()
  }

  drain(): void {
    for (const tasks of this.#all) tasks.drain()
  }

  abortAll(cause: 'shutdown'): void {
    for (const tasks of this.#all) tasks.abortAll(cause)
  }

  async idle(): Promise<void> {
    await Promise.all([...this.#all].map((tasks) => tasks.idle()))
  }
}
