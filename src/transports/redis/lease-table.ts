/** The numbers of the leases that this process holds, in memory that another thread can read: whoever refreshes them needs no message for each. */
export class LeaseTable {
  /** One number a slot; 0 is a free one. The first slot counts the signs of life of the owner's event loop. */
  readonly #numbers: Float64Array<SharedArrayBuffer>
  readonly #free: number[] = []
  #used = 1

  constructor(readonly memory: SharedArrayBuffer = new SharedArrayBuffer(8 * 65_536)) {
    this.#numbers = new Float64Array(memory)
  }

  /** The slot, or -1 when there is none left: such a lease is refreshed by the event loop alone. */
  add(lease: number): number {
    const slot = this.#free.pop() ?? (this.#used < this.#numbers.length ? this.#used++ : -1)
    if (slot >= 0) this.#numbers[slot] = lease
    return slot
  }

  remove(slot: number): void {
    if (slot < 0) return
    this.#numbers[slot] = 0
    this.#free.push(slot)
  }

  list(): readonly number[] {
    const leases: number[] = []
    for (let slot = 1; slot < this.#numbers.length; slot++) {
      const lease = this.#numbers[slot]
      if (lease !== undefined && lease !== 0) leases.push(lease)
    }
    return leases
  }

  /** Rises with each sign of life. */
  get beats(): number {
    return this.#numbers[0] ?? 0
  }

  beat(): void {
    this.#numbers[0] = this.beats + 1
  }
}
