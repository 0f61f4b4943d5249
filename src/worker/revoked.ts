/** Ids of revoked tasks that this worker was told of: bounded as Celery's (50 000 ids, 3 hours), the oldest go first. */
class RevokedSet {
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
    if (this.#ids.size > this.#maxIds) this.#purge(this.#maxIds * 0.98)
  }

  has(id: string): boolean {
    const at = this.#ids.get(id)
    return at !== undefined && this.#now() - at <= this.#maxAgeMs
  }

  /** Oldest first. */
  ids(): readonly string[] {
    this.#purge()
    return [...this.#ids.keys()]
  }

  get size(): number {
    return this.#ids.size
  }

  /** Many at once: a map is slow to find its first entry after others before it went. */
  #purge(most = this.#maxIds): void {
    for (const [oldest, at] of this.#ids) {
      if (this.#ids.size <= most && this.#now() - at <= this.#maxAgeMs) break
      this.#ids.delete(oldest)
    }
  }
}

/** Of stamps: each has as many values as there may be ids. */
const mostHeaders = 100

/** What is revoked: tasks by their ids, and all tasks that carry one of certain stamps. */
export class RevokedTasks {
  readonly ids: RevokedSet
  readonly #stamps = new Map<string, RevokedSet>()
  readonly #now: () => number
  /** Called when there is something new to keep. */
  onChange: () => void = () => {}

  constructor(now: () => number) {
    this.#now = now
    this.ids = new RevokedSet(now)
  }

  add(ids: readonly string[]): void {
    for (const id of ids) this.ids.add(id)
    if (ids.length > 0) this.onChange()
  }

  addStamp(header: string, values: readonly string[]): void {
    const set = this.#stamps.get(header) ?? new RevokedSet(this.#now)
    this.#stamps.delete(header)
    this.#stamps.set(header, set)
    const [oldest] = this.#stamps.keys()
    if (this.#stamps.size > mostHeaders && oldest !== undefined) this.#stamps.delete(oldest)
    for (const value of values) set.add(value)
  }

  has(id: string, stampedHeaders: readonly string[] | null, stamps: Readonly<Record<string, unknown>>): boolean {
    return this.ids.has(id) || (this.#stamps.size > 0 && this.#hasStamp(stampedHeaders, stamps))
  }

  #hasStamp(stampedHeaders: readonly string[] | null, stamps: Readonly<Record<string, unknown>>): boolean {
    for (const header of stampedHeaders ?? Object.keys(stamps)) {
      const revoked = this.#stamps.get(header)
      if (revoked !== undefined && stampValues(stamps[header]).some((value) => revoked.has(value))) return true
    }
    return false
  }
}

/** A stamp is a value or a list of values; all of them count as text. */
export function stampValues(value: unknown): readonly string[] {
  if (value === undefined || value === null) return []
  return (Array.isArray(value) ? value : [value]).map(String)
}
