// Not the global one, here and where the memory broker and senders need it: test runners have fake timers, which would hold all of this up.
import { setImmediate } from 'node:timers'
import type { Clock, Timer } from '../internal/clock.js'

interface Waiting {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
}

/** A clock that moves only when it is told to. Timers fire in order, each at its own time. */
export class VirtualClock implements Clock {
  #nowMs: number
  #order = 0
  readonly #timers = new Set<Waiting>()

  constructor(startMs = Date.now()) {
    this.#nowMs = startMs
  }

  now(): number {
    return this.#nowMs
  }

  monotonic(): number {
    return this.#nowMs
  }

  setTimer(ms: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order++, callback }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer) }
  }

  /** Fires every timer up to `untilMs`, and lets what they started go on before the next one. */
  async moveTo(untilMs: number): Promise<void> {
    for (;;) {
      const next = this.#next(untilMs)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.callback()
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs)
  }

  #next(untilMs: number): Waiting | undefined {
    let first: Waiting | undefined
    for (const timer of this.#timers) {
      if (timer.atMs > untilMs) continue
      if (first === undefined || timer.atMs < first.atMs || (timer.atMs === first.atMs && timer.order < first.order)) first = timer
    }
    return first
  }
}
