import type { BellName } from './bells.js'
import type { SqlValue } from './engine.js'

/** Inside a read or a write. */
export interface Sql {
  run(sql: string, params?: readonly SqlValue[]): number
  all<Row>(sql: string, params?: readonly SqlValue[]): Row[]
  first<Row>(sql: string, params?: readonly SqlValue[]): Row | undefined
  /** After the COMMIT: wakes the listeners of this process, with `what` changed, and other processes. */
  ring(bell: BellName, what: string): void
}
