/**
 * Who holds leases. Each connection that consumes has one row and lets its `beat` rise; others watch it.
 *
 * No clock is compared between processes: whoever looks measures, on its own monotonic clock, for how long a beat did not rise. So a step of the wall
 * clock loses no lease; and a watcher that slept itself (stopped, suspended) starts its watch anew.
 */

import { isGone, type ProcessIdentity } from '../../internal/process-identity.js'
import { lockDeadlineMs } from '../../internal/sqlite/group-commit.js'
import type { Sql } from '../../internal/sqlite/sql.js'

interface OwnerRow extends ProcessIdentity {
  readonly id: number
  readonly ttl_ms: number
  readonly beat: number
}

/** For so long whoever holds leases waits for a file that another process keeps locked: meanwhile nobody can take them away. */
export function leasePatienceMs(leaseTtlMs: number): number {
  return Math.max(lockDeadlineMs, leaseTtlMs)
}

export interface DeadOwner {
  readonly id: number
  readonly beat: number
}

/** The id of this connection's row; a new one when it has none yet, or somebody found it dead and removed it. Ids are never used twice. */
export function ensureOwner(sql: Sql, token: string, identity: ProcessIdentity, ttlMs: number): number {
  const existing = sql.first<{ id: number }>('SELECT id FROM owners WHERE token = ?', [token])
  if (existing !== undefined) return existing.id
  sql.run('INSERT INTO owners (token, space, pid, started, ttl_ms) VALUES (?, ?, ?, ?, ?)', [
    token,
    identity.space,
    identity.pid,
    identity.started,
    ttlMs,
  ])
  return ensureOwner(sql, token, identity, ttlMs)
}

/** False: somebody found this owner dead and took its leases. */
export function refreshOwner(sql: Sql, id: number): boolean {
  return sql.run('UPDATE owners SET beat = beat + 1 WHERE id = ?', [id]) === 1
}

export function isOwner(sql: Sql, id: number): boolean {
  return sql.all('SELECT 1 FROM owners WHERE id = ?', [id]).length === 1
}

export class OwnerWatch {
  readonly #own: ProcessIdentity
  readonly #longestGapMs: number
  readonly #seen = new Map<number, { readonly beat: number; readonly sinceMs: number }>()
  #lookedMs: number | undefined

  /** `longestGapMs`: a longer pause between two looks means that this process slept. */
  constructor(own: ProcessIdentity, { longestGapMs }: { readonly longestGapMs: number }) {
    this.#own = own
    this.#longestGapMs = longestGapMs
  }

  /** Reads the owners; those that are dead, as far as this process can tell. */
  look(sql: Sql, nowMs: number, self: number | undefined): readonly DeadOwner[] {
    if (this.#lookedMs !== undefined && nowMs - this.#lookedMs > this.#longestGapMs) this.#seen.clear()
    this.#lookedMs = nowMs
    const rows = sql.all<OwnerRow>('SELECT id, space, pid, started, ttl_ms, beat FROM owners')
    const dead: DeadOwner[] = []
    for (const row of rows) {
      if (row.id === self) continue
      if (isGone(row, this.#own) || this.#hasStopped(row, nowMs)) dead.push({ id: row.id, beat: row.beat })
    }
    const ids = new Set(rows.map((row) => row.id))
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id)
    return dead
  }

  #hasStopped({ id, beat, ttl_ms }: OwnerRow, nowMs: number): boolean {
    const seen = this.#seen.get(id)
    if (seen?.beat === beat) return nowMs - seen.sinceMs >= ttl_ms
    this.#seen.set(id, { beat, sinceMs: nowMs })
    return false
  }
}
