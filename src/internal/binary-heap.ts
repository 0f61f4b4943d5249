/** A heap over one order: adding and taking the first cost O(log n), looking at it nothing. */
export class BinaryHeap<T> {
  readonly #isBefore: (a: T, b: T) => boolean
  #items: T[] = []

  /** `isBefore` must be a strict order in which no two items are equal, or their order is not defined. */
  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore
  }

  get size(): number {
    return this.#items.length
  }

  get first(): T | undefined {
    return this.#items[0]
  }

  /** In no order. */
  values(): Iterable<T> {
    return this.#items
  }

  add(item: T): void {
    const items = this.#items
    let index = items.length
    items.push(item)
    while (index > 0) {
      const above = (index - 1) >> 1
      // Always there: `above` is between 0 and the length. `T` may include undefined, so a check could not tell.
      const parent = items[above] as T
      if (!this.#isBefore(item, parent)) break
      items[index] = parent
      index = above
    }
    items[index] = item
  }

  takeFirst(): T | undefined {
    const items = this.#items
    const first = items[0]
    const last = items.pop()
    if (items.length === 0 || last === undefined) return first
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= items.length) break
      // Both are inside the array by the comparison above.
      if (child + 1 < items.length && this.#isBefore(items[child + 1] as T, items[child] as T)) child += 1
      const below = items[child] as T
      if (!this.#isBefore(below, last)) break
      items[index] = below
      index = child
    }
    items[index] = last
    return first
  }

  /** Takes out every item that `drop` names, in O(n log n): for purges, not for single removals. In no order. */
  remove(drop: (item: T) => boolean): T[] {
    const dropped: T[] = []
    const kept: T[] = []
    for (const item of this.#items) (drop(item) ? dropped : kept).push(item)
    // A sorted array is a heap already.
    if (dropped.length > 0) this.#items = kept.sort((a, b) => (this.#isBefore(a, b) ? -1 : 1))
    return dropped
  }
}
