/** Jepsen's verdict on a queue, after it was drained: what was confirmed has ended, what has started was sent. */
import type { RunLine } from './recorder.js'

/** What the producer knows: an id is attempted before its publish, confirmed after it. */
export class Ledger {
  readonly attempted = new Set<string>()
  readonly confirmed = new Set<string>()
}

export interface Facts {
  readonly ledger: Ledger
  readonly runs: readonly RunLine[]
  /** Ids in the dead letters: kept with their reason, so not lost. */
  readonly dead: ReadonlySet<string>
  /** Ids with a terminal state. */
  readonly terminal: ReadonlySet<string>
}

export interface Verdict {
  /** Confirmed, and neither ended nor in the dead letters. */
  readonly lost: readonly string[]
  /** Started, and never attempted. */
  readonly unexpected: readonly string[]
  /** Confirmed, and without a terminal state. */
  readonly stuck: readonly string[]
  /** Starts beyond the first of each task. */
  readonly dup: number
  readonly ended: number
}

export function judge({ ledger, runs, dead, terminal }: Facts): Verdict {
  const starts = new Map<string, number>()
  const ended = new Set<string>()
  for (const { what, id } of runs) {
    if (what === 'end') ended.add(id)
    else starts.set(id, (starts.get(id) ?? 0) + 1)
  }
  return {
    lost: [...ledger.confirmed].filter((id) => !ended.has(id) && !dead.has(id)),
    unexpected: [...starts.keys()].filter((id) => !ledger.attempted.has(id)),
    stuck: [...ledger.confirmed].filter((id) => !terminal.has(id)),
    dup: [...starts.values()].reduce((sum, count) => sum + count - 1, 0),
    ended: ended.size,
  }
}
