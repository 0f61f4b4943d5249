import type { SqlValue } from './engine.js'
import type { Sql } from './sql.js'

// Crossing into SQLite costs as much as a small insert itself: rows go in groups of these sizes, what is left over one by one.
const groupSizes = [64, 16, 1]

/** Inserts rows of one table: `into` is `messages (id, queue)`, and each row has that many values. */
export function insertRows(sql: Sql, into: string, rows: readonly (readonly SqlValue[])[]): void {
  const row = `(${rows[0]?.map(() => '?').join(', ')})`
  let from = 0
  for (const size of groupSizes) {
    if (rows.length - from < size) continue
    const group = `INSERT INTO ${into} VALUES ${Array(size).fill(row).join(', ')}`
    for (; rows.length - from >= size; from += size) sql.run(group, rows.slice(from, from + size).flat())
  }
}
