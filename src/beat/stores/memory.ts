import { randomUUID } from 'node:crypto'
import { ConnectionError } from '../../errors.js'
import type { Clock } from '../../internal/clock.js'
import type { HistoryRow, Leadership, ScheduleStore, StoreChange, StoredEntry, WriteOutcome } from '../../schedule-store.js'
import { LeaseWatch } from './lease-watch.js'
import { emptyContent, type StoreContent, writeTo } from './store-content.js'

/** What the stores of one name and one clock of this process share. Held by clock, so that tests share nothing. */
const contents = new WeakMap<Clock, Map<string, { content: StoreContent }>>()

/** Schedules in this process: for tests, and for programs that need none to outlive it. */
export class MemoryScheduleStore implements ScheduleStore {
  readonly name = 'memory'
  readonly #shared: { content: StoreContent }
  readonly #watch: LeaseWatch
  #isClosed = false

  constructor(name: string, clock: Clock) {
    const byName = contents.get(clock) ?? new Map<string, { content: StoreContent }>()
    contents.set(clock, byName)
    const shared = byName.get(name) ?? { content: emptyContent(randomUUID()) }
    byName.set(name, shared)
    this.#shared = shared
    this.#watch = new LeaseWatch(clock)
  }

  get id(): string {
    return this.#shared.content.id
  }

  async entries(since: number): Promise<readonly StoredEntry[]> {
    return this.#content().entries.filter((entry) => entry.revision > since)
  }

  async revision(): Promise<number> {
    return this.#content().revision
  }

  async write(change: StoreChange): Promise<WriteOutcome> {
    const { content, outcome } = writeTo(this.#content(), change)
    this.#shared.content = content
    return outcome
  }

  async history({ entry, limit }: { readonly entry?: string; readonly limit: number }): Promise<readonly HistoryRow[]> {
    return newestOf(this.#content(), entry, limit)
  }

  async lead(owner: string, leaseMs: number): Promise<Leadership> {
    const content = this.#content()
    const lease = this.#watch.ask(content.lease, owner, leaseMs)
    this.#shared.content = { ...content, lease }
    return { leads: lease.owner === owner, token: lease.token, owner: lease.owner, revision: content.revision }
  }

  async resign(owner: string): Promise<void> {
    const content = this.#content()
    if (content.lease.owner === owner) this.#shared.content = { ...content, lease: { ...content.lease, owner: '' } }
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  #content(): StoreContent {
    if (this.#isClosed) throw new ConnectionError('the store of schedules is closed')
    return this.#shared.content
  }
}

export function newestOf({ history }: StoreContent, entry: string | undefined, limit: number): readonly HistoryRow[] {
  const rows = entry === undefined ? history : history.filter((row) => row.entry === entry)
  return rows.slice(-limit).reverse()
}
