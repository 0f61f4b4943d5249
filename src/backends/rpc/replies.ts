/** What this process has heard of its tasks, as much as it may keep. */
import type { Clock } from '../../internal/clock.js'
import { isReady, type ResultMeta } from '../../protocol/result.js'

const maxBytes = 64 * 1024 ** 2
/** Ids alone are small: so many tasks are remembered without their result. */
const maxIds = 100_000

interface Reply {
  readonly meta: ResultMeta
  readonly bytes: number
  readonly untilMs: number
}

export class Replies {
  readonly #clock: Clock
  readonly #max: number
  /** The oldest first. */
  readonly #kept = new Map<string, Reply>()
  readonly #expected = new Set<string>()
  readonly #dropped = new Set<string>()
  #bytes = 0

  constructor({ clock, max }: { readonly clock: Clock; readonly max: number }) {
    this.#clock = clock
    this.#max = max
  }

  /** False: the task had ended, and this changes nothing. */
  add(meta: ResultMeta, { bytes, expiresMs }: { readonly bytes: number; readonly expiresMs: number | undefined }): boolean {
    const { taskId } = meta
    const before = this.#live(taskId)
    if (before !== undefined && isReady(before.meta.status)) return false
    this.#remove(taskId)
    this.#expected.delete(taskId)
    this.#kept.set(taskId, { meta, bytes, untilMs: expiresMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() + expiresMs })
    this.#bytes += bytes
    this.#makeRoom(taskId)
    return true
  }

  /** What is known of these tasks. */
  among(taskIds: readonly string[]): ReadonlyMap<string, ResultMeta> {
    const found = new Map<string, ResultMeta>()
    for (const taskId of taskIds) {
      const reply = this.#live(taskId)
      if (reply !== undefined) found.set(taskId, reply.meta)
    }
    return found
  }

  forget(taskIds: readonly string[]): void {
    for (const taskId of taskIds) this.#remove(taskId)
  }

  /** Removes what has expired; how many those were. */
  expire(nowMs: number): number {
    const expired = [...this.#kept].filter(([, { untilMs }]) => untilMs <= nowMs)
    this.forget(expired.map(([taskId]) => taskId))
    return expired.length
  }

  expect(taskIds: readonly string[]): void {
    for (const taskId of taskIds) {
      if (!this.#kept.has(taskId)) remember(this.#expected, taskId)
    }
  }

  expects(taskId: string): boolean {
    return this.#expected.has(taskId) || this.#live(taskId) !== undefined
  }

  /** Its result came, and went again because of others. */
  wasDropped(taskId: string): boolean {
    return this.#dropped.has(taskId)
  }

  /** Nothing more comes of what was expected. */
  expectNothing(): void {
    this.#expected.clear()
  }

  #live(taskId: string): Reply | undefined {
    const reply = this.#kept.get(taskId)
    if (reply === undefined || reply.untilMs > this.#clock.now()) return reply
    this.#remove(taskId)
    return undefined
  }

  #remove(taskId: string): void {
    this.#dropped.delete(taskId)
    const reply = this.#kept.get(taskId)
    if (reply === undefined) return
    this.#kept.delete(taskId)
    this.#bytes -= reply.bytes
  }

  #makeRoom(newest: string): void {
    for (const taskId of this.#kept.keys()) {
      if (taskId === newest || (this.#kept.size <= this.#max && this.#bytes <= maxBytes)) return
      this.#remove(taskId)
      remember(this.#dropped, taskId)
    }
  }
}

function remember(ids: Set<string>, taskId: string): void {
  ids.add(taskId)
  if (ids.size <= maxIds) return
  for (const oldest of ids) {
    ids.delete(oldest)
    return
  }
}
