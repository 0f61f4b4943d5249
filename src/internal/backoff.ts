/** Waits between tries: doubling from `firstMs` to `maxMs`, each shortened at random by up to half, so that many processes do not come back at once. */
export class Backoff {
  readonly #firstMs: number
  readonly #maxMs: number
  readonly #random: () => number
  #tries = 0

  constructor({ firstMs, maxMs, random = Math.random }: { firstMs: number; maxMs: number; random?: () => number }) {
    this.#firstMs = firstMs
    this.#maxMs = maxMs
    this.#random = random
  }

  next(): number {
    const wait = Math.min(this.#maxMs, this.#firstMs * 2 ** this.#tries++)
    return wait * (1 - this.#random() / 2)
  }

  /** After a success: the next wait is the first again. */
  reset(): void {
    this.#tries = 0
  }
}
