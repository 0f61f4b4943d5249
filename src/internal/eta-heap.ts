/** Things that are due at a time, earliest first; what is due at the same time comes in the order it was added. */
import { BinaryHeap } from './binary-heap.js'

interface Entry<T> {
  readonly dueMs: number
  readonly order: number
  readonly value: T
}

/** Holds references, not copies, and needs no timer per entry: 100 000 entries cost some megabytes. */
export class EtaHeap<T> {
  readonly #heap = new BinaryHeap<Entry<T>>((a, b) => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order))
  #added = 0

  get size(): number {
    return this.#heap.size
  }

  /** When the earliest is due; undefined when there is none. */
  get nextDueMs(): number | undefined {
    return this.#heap.first?.dueMs
  }

  add(dueMs: number, value: T): void {
    this.#heap.add({ dueMs, order: this.#added++, value })
  }

  /** Takes out everything that is due at `nowMs`, in order. */
  takeDue(nowMs: number): T[] {
    const due: T[] = []
    for (let first = this.#heap.first; first !== undefined && first.dueMs <= nowMs; first = this.#heap.first) {
      this.#heap.takeFirst()
      due.push(first.value)
    }
    return due
  }

  /** Takes out what `drop` names, whenever it is due, in O(n log n). */
  remove(drop: (value: T) => boolean): T[] {
    return this.#heap.remove((entry) => drop(entry.value)).map((entry) => entry.value)
  }
}
