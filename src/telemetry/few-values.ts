/** The first values of a label as they are, all others as one: each value is a series that its reader keeps. */
export class FewValues {
  readonly #most: number
  readonly #seen = new Set<string>()

  constructor(most: number) {
    this.#most = most
  }

  of(value: string): string {
    if (this.#seen.has(value)) return value
    if (this.#seen.size >= this.#most) return '(others)'
    this.#seen.add(value)
    return value
  }

  has(value: string): boolean {
    return this.#seen.has(value)
  }

  /** It comes no more: its place is free. */
  forget(value: string): void {
    this.#seen.delete(value)
  }
}
