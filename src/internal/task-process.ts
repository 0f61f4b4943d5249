/**
 * Marks a process, or a thread, that runs tasks for a worker. On globalThis, because each copy of celeriac that it has loaded must see the mark, and each thread
 * has a global object of its own; not in the environment, which programs that a task starts inherit.
 */
const mark = Symbol.for('celeriac.task-process')

export function markTaskProcess(): void {
  Object.defineProperty(globalThis, mark, { value: true, configurable: true })
}

export function isTaskProcess(): boolean {
  return mark in globalThis
}
