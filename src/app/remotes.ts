import type { Sender } from './sender.js'
import type { NamedTask, Task } from './task.js'
import { type TaskObject, taskObject } from './task-object.js'

type AnyTask = { delay: (...a: never[]) => unknown; readonly name: string }

/** TasksOf<typeof import('./tasks')>: every task a module exports, by its name. */
export type TasksOf<M> = { [K in keyof M as M[K] extends AnyTask ? M[K]['name'] : never]: M[K] }

/** A task from the type of its function, or a task type as it is. */
export type RemoteTask<F> = F extends AnyTask
  ? F
  : F extends (input: infer In extends Record<string, unknown>) => infer R
    ? Parameters<F>['length'] extends 1
      ? NamedTask<In, Awaited<R>>
      : Task<Parameters<F>, Awaited<R>>
    : F extends (...a: infer A extends unknown[]) => infer R
      ? Task<A, Awaited<R>>
      : never

export function remoteTask(sender: Sender, name: string): TaskObject {
  return taskObject({ name, sender, definition: undefined, shape: 'unknown', options: {} })
}

/** Tasks by whatever name is asked for: the names are known to the compiler only. */
export function remoteTasks(sender: Sender): Record<string, TaskObject> {
  const tasks = new Map<string, TaskObject>()
  return new Proxy(Object.create(null), {
    get: (_, name) => {
      if (typeof name !== 'string' || name === 'then' || name === 'toJSON') return undefined
      const known = tasks.get(name)
      if (known !== undefined) return known
      const task = remoteTask(sender, name)
      tasks.set(name, task)
      return task
    },
  })
}
