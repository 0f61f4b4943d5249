/** Ids of revoked tasks that this worker was told of: bounded as Celery's (50 000 ids, 3 hours), the oldest go first. */
export class RevokedSet {
  readonly #ids = new Map<string, number>()
  readonly #now: () => number
  readonly #maxIds: number
  readonly #maxAgeMs: number

  constructor(now: () => number, { maxIds = 50_000, maxAgeMs = 10_800_000 } = {}) {
    this.#now = now
    this.#maxIds = maxIds
    this.#maxAgeMs = maxAgeMs
  }

  add(id: string): void {
    this.#ids.delete(id)
    this.#ids.set(id, this.#now())
    for (const [oldest, at] of this.#ids) {
      if (this.#ids.size <= this.#maxIds && this.#now() - at <= this.#maxAgeMs) break
      this.#ids.delete(oldest)
    }
  }

  has(id: string): boolean {
    const at = this.#ids.get(id)
    return at !== undefined && this.#now() - at <= this.#maxAgeMs
  }

  get size(): number {
    return this.#ids.size
  }
}
