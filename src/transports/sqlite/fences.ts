/** Fences (transport.ts) as rows: passed in the transaction that writes the message. */
import { FencedError } from '../../errors.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import type { Fence } from '../../transport.js'

const keptMs = 30 * 86_400_000

/** Throws FencedError, and then nothing of the caller's transaction may stay. */
export function passFences(sql: Sql, fences: readonly Fence[], nowMs: number): void {
  for (const { key, order, again = false } of fences) {
    const row = sql.first<{ position: number }>('SELECT position FROM fences WHERE key = ?', [key])
    if (row !== undefined && (again ? order < row.position : order <= row.position)) throw new FencedError(key, order)
  }
  for (const { key, order } of fences) {
    sql.run(
      'INSERT INTO fences (key, position, used_at) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET position = excluded.position, used_at = excluded.used_at',
      [key, order, Math.floor(nowMs)],
    )
  }
}

/** Forgets those that nobody has used for long. */
export function forgetOldFences(sql: Sql, nowMs: number): void {
  sql.run('DELETE FROM fences WHERE used_at < ?', [Math.floor(nowMs) - keptMs])
}
