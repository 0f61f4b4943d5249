/** Keeps so many operations under way at most. The first that fails ends it: no more are let in, and whoever waits is told. */
export class Window {
  readonly #size: number
  #underWay = 0
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(size: number) {
    this.#size = size
  }

  /** Settles when there is room for the next one. Throws what an earlier one has failed with, once those that are under way have ended. */
  async add(operation: Promise<unknown>): Promise<void> {
    this.#underWay++
    operation.then(
      () => this.#ended(),
      (error: unknown) => {
        this.#failure ??= { error }
        this.#ended()
      },
    )
    if (this.#failure !== undefined) return this.settled()
    if (this.#underWay >= this.#size) await this.#change()
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
