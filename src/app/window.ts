/** Keeps so many operations under way at most. The first that fails ends it: no more are let in, and whoever waits is told. */
export class Window {
  readonly #size: number
  #underWay = 0
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(size: number) {
    this.#size = size
  }

  /** Undefined when there is room for the next one; else settles when there is. Rejects with what an earlier one has failed with, once those that are under way have ended. */
  add(operation: Promise<unknown>): Promise<void> | undefined {
    this.#underWay++
    operation.then(
      () => this.#ended(),
      (error: unknown) => {
        this.#failure ??= { error }
        this.#ended()
      },
    )
    if (this.#failure !== undefined) return this.settled()
    return this.#underWay >= this.#size ? this.#change() : undefined
  }

  /** Settles when all have ended. Throws what the first one failed with. */
  async settled(): Promise<void> {
    while (this.#underWay > 0) await this.#change()
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #ended(): void {
    this.#underWay--
    this.#wake?.()
    this.#wake = undefined
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
