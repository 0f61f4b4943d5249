import { FencedError } from '../../errors.js'
import type { Fence } from '../../transport.js'

/** The fences of one memory broker: they last as long as it does. */
export class MemoryFences {
  readonly #orders = new Map<string, number>()

  /** Throws FencedError, and has changed nothing then. */
  pass(fences: readonly Fence[]): void {
    for (const { key, order, again = false } of fences) {
      const passed = this.#orders.get(key)
      if (passed !== undefined && (again ? order < passed : order <= passed)) throw new FencedError(key, order)
    }
    for (const { key, order } of fences) this.#orders.set(key, order)
  }
}
