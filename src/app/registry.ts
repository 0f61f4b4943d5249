import { AlreadyRegisteredError, NameInvalidError, NotRegisteredError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { isName } from '../protocol/name.js'
import type { TaskDefinition } from './task.js'

/** The tasks of one app, by name. */
export class Registry {
  readonly #tasks = new Map<string, TaskDefinition>()
  /** Celery's own: there for whoever is sent one, and not told of. A program may put one of its own in the place. */
  readonly #builtIn = new Map<string, TaskDefinition>()

  add(task: TaskDefinition): void {
    checkName('task', task.name)
    if (this.#tasks.has(task.name)) throw new AlreadyRegisteredError(task.name)
    this.#tasks.set(task.name, task)
  }

  addBuiltIn(task: TaskDefinition): void {
    this.#builtIn.set(task.name, task)
  }

  get(name: string): TaskDefinition | undefined {
    return this.#tasks.get(name) ?? this.#builtIn.get(name)
  }

  /** Throws NotRegisteredError, with the closest name. */
  need(name: string): TaskDefinition {
    const task = this.get(name)
    if (task === undefined) throw new NotRegisteredError(name, didYouMean(name, this.names()))
    return task
  }

  names(): string[] {
    return [...this.#tasks.keys()].sort()
  }
}

/** Names become keys, SQL values and routing keys: what a worker would refuse to read is not sent. Throws NameInvalidError. */
export function checkName(kind: string, name: unknown): asserts name is string {
  if (!isName(name)) throw new NameInvalidError(kind, name)
}
