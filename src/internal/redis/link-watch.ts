import type { Clock, Timer } from '../clock.js'

/** Finds a connection that is silent although answers are due: a half-open one ends nowhere else. Each answer starts the wait anew. */
export class LinkWatch {
  readonly #clock: Clock
  readonly #longestSilenceMs: number
  readonly #onSilence: () => void
  #due = 0
  #sinceMs = 0
  #timer: Timer | undefined

  constructor(clock: Clock, longestSilenceMs: number, onSilence: () => void) {
    this.#clock = clock
    this.#longestSilenceMs = longestSilenceMs
    this.#onSilence = onSilence
  }

  sent(): void {
    if (this.#due++ > 0) return
    this.#sinceMs = this.#clock.monotonic()
    this.#timer ??= this.#arm(this.#longestSilenceMs)
  }

  answered(): void {
    this.#due--
    this.#sinceMs = this.#clock.monotonic()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#due = 0
  }

  #arm(ms: number): Timer {
    return this.#clock.setTimer(ms, () => {
      this.#timer = undefined
      if (this.#due === 0) return
      const leftMs = this.#longestSilenceMs - (this.#clock.monotonic() - this.#sinceMs)
      if (leftMs <= 0) this.#onSilence()
      else this.#timer = this.#arm(leftMs)
    })
  }
}
