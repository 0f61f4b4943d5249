import type { SqlValue } from './engine.js'
import type { Sql } from './sql.js'

// Crossing into SQLite costs as much as a small insert itself: rows go in groups of this size, what is left over one by one.
const groupSize = 16

/** Inserts rows of one table: `into` is `messages (id, queue)`, and each row has that many values. */
export function insertRows(sql: Sql, into: string, rows: readonly (readonly SqlValue[])[]): void {
  const [first] = rows
  if (first === undefined) return
  const row = `(${first.map(() => '?').join(', ')})`
  const single = `INSERT INTO ${into} VALUES ${row}`
  const grouped = rows.length - (rows.length % groupSize)
  if (grouped > 0) {
    const group = `INSERT INTO ${into} VALUES ${Array(groupSize).fill(row).join(', ')}`
    for (let index = 0; index < grouped; index += groupSize) sql.run(group, rows.slice(index, index + groupSize).flat())
  }
  for (let index = grouped; index < rows.length; index++) sql.run(single, rows[index])
}
