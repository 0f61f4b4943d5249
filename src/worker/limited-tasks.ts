import type { TaskDefinition } from '../app/task.js'
import type { Clock, Timer } from '../internal/clock.js'
import type { ActiveTask } from './active-task.js'
import type { RateLimits } from './rate-limits.js'

interface Line {
  readonly definition: TaskDefinition
  readonly tasks: ActiveTask[]
  timer: Timer | undefined
}

/** Tasks that may not start yet because others of their name have: a line for each name. Few wait here; the others wait in the broker. */
export class LimitedTasks {
  readonly #limits: RateLimits
  readonly #clock: Clock
  readonly #onTurn: (task: ActiveTask) => void
  readonly #lines = new Map<string, Line>()
  #size = 0

  constructor(limits: RateLimits, clock: Clock, onTurn: (task: ActiveTask) => void) {
    this.#limits = limits
    this.#clock = clock
    this.#onTurn = onTurn
  }

  get size(): number {
    return this.#size
  }

  get tasks(): readonly ActiveTask[] {
    return [...this.#lines.values()].flatMap(({ tasks }) => tasks)
  }

  /** `now`: it may start. `held`: it waits here, and `onTurn` will be called. A number: it is to come back from the broker after so many ms. */
  admit(task: ActiveTask, definition: TaskDefinition): 'now' | 'held' | number {
    const line = this.#lines.get(definition.name)
    if (line === undefined && this.#limits.take(definition) === 0) return 'now'
    const putOffMs = this.#limits.putOff(definition, line?.tasks.length ?? 0)
    if (putOffMs !== undefined) return putOffMs
    const own = line ?? { definition, tasks: [], timer: undefined }
    if (line === undefined) this.#lines.set(definition.name, own)
    own.tasks.push(task)
    this.#size++
    if (own.tasks.length === 1) this.#serve(own)
    return 'held'
  }

  /** True when it waited here. */
  remove(task: ActiveTask): boolean {
    const line = this.#lines.get(task.head.task)
    const at = line?.tasks.indexOf(task) ?? -1
    if (line === undefined || at < 0) return false
    line.tasks.splice(at, 1)
    this.#size--
    if (line.tasks.length === 0) this.#drop(line)
    return true
  }

  /** A limit was changed. */
  again(): void {
    for (const line of [...this.#lines.values()]) {
      line.timer?.cancel()
      this.#serve(line)
    }
  }

  #serve(line: Line): void {
    for (;;) {
      const [first] = line.tasks
      if (first === undefined) return this.#drop(line)
      const waitMs = this.#limits.take(line.definition)
      if (waitMs > 0) {
        line.timer = this.#clock.setTimer(waitMs, () => this.#serve(line))
        return
      }
      line.tasks.shift()
      this.#size--
      this.#onTurn(first)
    }
  }

  #drop(line: Line): void {
    line.timer?.cancel()
    if (this.#lines.get(line.definition.name) === line) this.#lines.delete(line.definition.name)
  }
}
