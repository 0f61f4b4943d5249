import type { TaskHead } from '../protocol/task-head.js'
import { encodeJson } from '../serializers/json.js'
import { RevokedSet } from './revoked.js'

/** Stamps whose tasks may not start: pairs of a name and a value, bounded as revoked ids are. */
export class RevokedStamps {
  readonly #pairs: RevokedSet

  constructor(now: () => number) {
    this.#pairs = new RevokedSet(now)
  }

  add(stamps: ReadonlyMap<string, readonly unknown[]>): void {
    for (const [name, values] of stamps) for (const value of values) this.#pairs.add(pairOf(name, value))
  }

  /** As Celery: one of the values of one of its stamps is enough. */
  matches({ stampedHeaders, stamps }: TaskHead): boolean {
    if (this.#pairs.size === 0) return false
    for (const name of stampedHeaders ?? []) {
      const stamp = stamps[name]
      const values = Array.isArray(stamp) ? stamp : [stamp]
      if (values.some((value) => this.#pairs.has(pairOf(name, value)))) return true
    }
    return false
  }
}

function pairOf(name: string, value: unknown): string {
  return encodeJson([name, value], 'stamp')
}
