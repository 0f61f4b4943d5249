/** How many tasks of each name this worker has started: the `total` of `inspect stats`. */
export class TaskCounts {
  readonly #byName = new Map<string, number>()
  #all = 0

  add(task: string): void {
    this.#byName.set(task, (this.#byName.get(task) ?? 0) + 1)
    this.#all++
  }

  get all(): number {
    return this.#all
  }

  byName(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#byName)
  }
}
