/** What is sent in a thousand years comes before; from here on, numbers would soon be the same. */
const latest = 2 ** 52

/** A Lamport clock: numbers what one process sends so that events of many processes have an order that no wall clock could give. */
export class LamportClock {
  #value = 0

  get value(): number {
    return this.#value
  }

  /** For what is sent now. */
  forward(): number {
    this.#value += 1
    return this.#value
  }

  /** After something was received: later than both. What is no whole number of 0 or more, or one near the end of all numbers, moves nothing. */
  adjust(other: unknown): number {
    if (Number.isSafeInteger(other) && (other as number) > this.#value && (other as number) < latest) this.#value = other as number // a safe integer, checked
    return this.forward()
  }
}
