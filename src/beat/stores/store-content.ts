/** All of a store as one value, for those that keep it so: in memory, or in one file. */
import type { HistoryRow, StoreChange, StoredEntry, WriteOutcome } from '../../schedule-store.js'
import { type LeaseRecord, noLease } from './lease-watch.js'

export interface StoreContent {
  readonly id: string
  readonly revision: number
  readonly lease: LeaseRecord
  readonly entries: readonly StoredEntry[]
  /** The oldest first. */
  readonly history: readonly HistoryRow[]
}

/** Removed entries are kept so that readers of changes learn of them; no reader is older than so many revisions for long. */
const removedKept = 1_000

export function emptyContent(id: string): StoreContent {
  return { id, revision: 0, lease: noLease, entries: [], history: [] }
}

/** The content after a change, and what to tell the one who asked for it. */
export function writeTo(content: StoreContent, change: StoreChange): { readonly content: StoreContent; readonly outcome: WriteOutcome } {
  if (change.token !== undefined && change.token !== content.lease.token) return { content, outcome: { status: 'deposed' } }
  const entries = new Map(content.entries.map((entry) => [entry.name, entry]))
  const names = change.entries.filter(({ name, from }) => revisionOf(entries.get(name)) !== from).map(({ name }) => name)
  if (names.length > 0) return { content, outcome: { status: 'changed', names } }
  const revision = content.revision + 1
  for (const { name, data } of change.entries) entries.set(name, { name, revision, data })
  return {
    content: {
      ...content,
      revision,
      entries: [...entries.values()].filter((entry) => entry.data !== null || entry.revision > revision - removedKept),
      history: keepNewest([...content.history, ...(change.history ?? [])], change),
    },
    outcome: { status: 'written', revision },
  }
}

/** A removed entry counts as none. */
function revisionOf(entry: StoredEntry | undefined): number {
  return entry === undefined || entry.data === null ? 0 : entry.revision
}

function keepNewest(rows: readonly HistoryRow[], { history = [], historyKept = 100 }: StoreChange): readonly HistoryRow[] {
  if (history.length === 0) return rows
  const left = new Map(history.map(({ entry }) => [entry, historyKept]))
  const kept: HistoryRow[] = []
  for (const row of [...rows].reverse()) {
    const count = left.get(row.entry)
    if (count === 0) continue
    if (count !== undefined) left.set(row.entry, count - 1)
    kept.push(row)
  }
  return kept.reverse()
}
