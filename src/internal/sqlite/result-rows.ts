/** The rows of results, which the backend writes, and the broker with acks of the same tick when both live in one file. */
import { taskIdKey } from '../task-id.js'
import type { SqlValue } from './engine.js'
import { insertRows } from './insert-rows.js'
import type { Sql } from './sql.js'

export interface ResultRow {
  readonly taskId: string
  readonly key: number
  /** The task has ended. */
  readonly ready: boolean
  /** When it may go, ms since the epoch; null is never. */
  readonly expires: number | null
  /** The meta as JSON. */
  readonly text: string
}

interface Existing {
  readonly seq: number
  readonly task_id: string
  readonly ready: number
  readonly expires: number | null
}

/** `expiresSeconds`: null is never. */
export function resultRow(
  taskId: string,
  {
    ready,
    text,
    expiresSeconds,
    nowMs,
  }: Pick<ResultRow, 'ready' | 'text'> & { readonly expiresSeconds: number | null; readonly nowMs: number },
): ResultRow {
  return { taskId, key: taskIdKey(taskId), ready, expires: expiresSeconds === null ? null : Math.ceil(nowMs + expiresSeconds * 1000), text }
}

/** Gives those that count and were written: of one task the first end wins, and before it the last state. */
export function storeResults<Row extends ResultRow>(sql: Sql, batch: readonly Row[], nowMs: number): ReadonlySet<Row> {
  const existing = new Map<string, Existing>()
  const keys = JSON.stringify(batch.map((row) => row.key))
  for (const row of sql.all<Existing>(
    'SELECT r.seq, r.task_id, r.ready, r.expires FROM json_each(?) AS wanted CROSS JOIN results AS r ON r.task_key = wanted.value',
    [keys],
  )) {
    existing.set(row.task_id, row)
  }
  const stored = new Set<Row>()
  const latest = new Map<string, Row>()
  const replaced = new Set<number>()
  for (const row of batch) {
    const old = existing.get(row.taskId)
    const isLive = old !== undefined && (old.expires === null || old.expires > nowMs)
    if ((isLive && old.ready === 1) || latest.get(row.taskId)?.ready === true) continue
    if (old !== undefined) replaced.add(old.seq)
    latest.set(row.taskId, row)
    stored.add(row)
  }
  if (replaced.size > 0) sql.run('DELETE FROM results WHERE seq IN (SELECT value FROM json_each(?))', [JSON.stringify([...replaced])])
  const values: SqlValue[][] = []
  for (const [taskId, row] of latest) {
    values.push([row.key, taskId, row.ready ? 1 : 0, row.expires, row.text])
    sql.ring('results', taskId)
  }
  insertRows(sql, 'results (task_key, task_id, ready, expires, meta)', values)
  return stored
}
