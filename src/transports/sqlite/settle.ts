/** Moves of messages between the tables of the embedded broker. Each runs inside a transaction; each settling one is fenced by the lease's row. */
import type { SqliteLocation } from '../../internal/sqlite/location.js'
import { type ResultRow, storeResults } from '../../internal/sqlite/result-rows.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { delayedMark } from './publisher.js'

export type Settlement =
  | { readonly kind: 'ack'; readonly id: number }
  | End
  | { readonly kind: 'release'; readonly id: number; readonly counted: boolean }
  | { readonly kind: 'defer'; readonly id: number; readonly untilMs: number }
  | { readonly kind: 'reject'; readonly id: number; readonly reason: string }

/** An ack that comes with the end of its task: only if that is stored. A class, as all that lives as long as a message: see decision 40. */
export class End implements ResultRow {
  readonly kind = 'end'
  readonly taskId: string
  readonly key: number
  readonly ready: boolean
  readonly expires: number | null
  readonly text: string

  /** `ended`: as `AckEnded`. */
  constructor(
    readonly id: number,
    row: ResultRow,
    readonly ended: (stored: boolean | undefined) => void,
  ) {
    this.taskId = row.taskId
    this.key = row.key
    this.ready = row.ready
    this.expires = row.expires
    this.text = row.text
  }
}

export interface SettleLimits {
  readonly deliveryLimit: number
  readonly deadLetterLimit: number
  readonly nowMs: number
}

const deadLetterLimit = 10_000

export function settleLimits({ deliveryLimit }: SqliteLocation, nowMs: number): SettleLimits {
  return { deliveryLimit, deadLetterLimit, nowMs }
}

/** How many came too late, how many old dead letters made room, and which ends were stored. */
export interface Settled {
  late: number
  deadLettersDropped: number
  stored: ReadonlySet<End>
}

const noEnds: ReadonlySet<End> = new Set()

export function settle(sql: Sql, owner: number, settlements: readonly Settlement[], limits: SettleLimits): Settled {
  const ends = settlements.filter((settlement) => settlement.kind === 'end')
  const stored = ends.length === 0 ? noEnds : storeResults(sql, ends, limits.nowMs)
  const settled: Settled = { late: 0, deadLettersDropped: 0, stored }
  const take = (ids: readonly number[]): readonly number[] => {
    const held = takeLeases(sql, owner, ids)
    settled.late += ids.length - held.length
    return held
  }
  const acks: number[] = []
  const releases: number[] = []
  const counted: number[] = []
  const others: Exclude<Settlement, { kind: 'ack' | 'end' | 'release' }>[] = []
  for (const settlement of settlements) {
    if (settlement.kind === 'ack' || (settlement.kind === 'end' && stored.has(settlement))) acks.push(settlement.id)
    else if (settlement.kind === 'end') continue
    else if (settlement.kind === 'release') (settlement.counted ? counted : releases).push(settlement.id)
    else others.push(settlement)
  }
  if (acks.length > 0) settled.late += acks.length - remove(sql, owner, acks)
  if (releases.length > 0) requeue(sql, take(releases))
  if (counted.length > 0) settled.deadLettersDropped += requeueCounted(sql, take(counted), 'its runs ended abnormally too often', limits)
  for (const other of others) {
    const [held] = take([other.id])
    if (held === undefined) continue
    if (other.kind === 'reject') settled.deadLettersDropped += bury(sql, [held], other.reason, limits)
    else {
      sql.run('INSERT INTO delayed (due, id, queue) SELECT ?, id, queue FROM messages WHERE id = ?', [Math.ceil(other.untilMs), held])
      sql.ring('tasks', delayedMark)
    }
  }
  return settled
}

/** The leases of owners that are gone: their runs count as ended abnormally. */
export function requeueOrphans(sql: Sql, limits: SettleLimits): number {
  const orphans = sql.all<{ id: number }>('DELETE FROM leases WHERE owner NOT IN (SELECT id FROM owners) RETURNING id').map((row) => row.id)
  return requeueCounted(sql, orphans, 'its workers were lost too often', limits)
}

/** All that the owner still holds goes back, uncounted. */
export function releaseAll(sql: Sql, owner: number): void {
  requeue(
    sql,
    sql.all<{ id: number }>('DELETE FROM leases WHERE owner = ? RETURNING id', [owner]).map((row) => row.id),
  )
}

/** Drops messages whose time in the queue is over, before anybody claims them. */
export function deleteExpiredMessages(sql: Sql, nowMs: number): void {
  const expired = sql
    .all<{ id: number }>(
      'SELECT id FROM messages WHERE expires <= ? AND id NOT IN (SELECT id FROM leases) AND id NOT IN (SELECT id FROM delayed)',
      [nowMs],
    )
    .map((row) => row.id)
  if (expired.length === 0) return
  sql.run('DELETE FROM waiting WHERE id IN (SELECT value FROM json_each(?))', [JSON.stringify(expired)])
  deleteMessages(sql, expired)
}

/** Puts what is due in line; the time of the next that is not, or undefined. */
export function promoteDue(sql: Sql, nowMs: number): number | undefined {
  for (;;) {
    const next = sql.first<{ due: number | null }>('SELECT min(due) AS due FROM delayed')
    const due = next?.due ?? undefined
    if (due === undefined || due > nowMs) return due
    sql.run(
      'INSERT INTO waiting (queue, rank, at, id) SELECT d.queue, -m.priority, d.due, d.id FROM delayed d JOIN messages m ON m.id = d.id WHERE d.due <= ?',
      [nowMs],
    )
    for (const { queue } of sql.all<{ queue: string }>('SELECT DISTINCT queue FROM delayed WHERE due <= ?', [nowMs]))
      sql.ring('tasks', queue)
    sql.run('DELETE FROM delayed WHERE due <= ?', [nowMs])
  }
}

export function deleteMessages(sql: Sql, ids: readonly number[]): void {
  if (ids.length > 0) sql.run('DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))', [JSON.stringify(ids)])
}

/** Deletes those of the messages that the owner still held; how many they were. */
function remove(sql: Sql, owner: number, ids: readonly number[]): number {
  const list = JSON.stringify(ids)
  sql.run(
    'DELETE FROM messages WHERE id IN (SELECT l.id FROM json_each(?) AS done CROSS JOIN leases AS l ON l.id = done.value AND l.owner = ?)',
    [list, owner],
  )
  return sql.run('DELETE FROM leases WHERE owner = ? AND id IN (SELECT value FROM json_each(?))', [owner, list])
}

/** Those of the ids that the owner still held. */
function takeLeases(sql: Sql, owner: number, ids: readonly number[]): readonly number[] {
  const list = JSON.stringify(ids)
  // The common case needs no list of what was deleted: all are held.
  const held = sql.first<{ count: number }>(
    'SELECT count(*) AS count FROM leases WHERE owner = ? AND id IN (SELECT value FROM json_each(?))',
    [owner, list],
  )
  if (held?.count === ids.length) {
    sql.run('DELETE FROM leases WHERE id IN (SELECT value FROM json_each(?))', [list])
    return ids
  }
  return sql
    .all<{ id: number }>('DELETE FROM leases WHERE owner = ? AND id IN (SELECT value FROM json_each(?)) RETURNING id', [owner, list])
    .map((row) => row.id)
}

function requeue(sql: Sql, ids: readonly number[]): void {
  if (ids.length === 0) return
  const list = JSON.stringify(ids)
  sql.run('UPDATE messages SET redelivered = 1 WHERE id IN (SELECT value FROM json_each(?))', [list])
  putInLine(sql, list)
}

/** Raises the count of deliveries; what reaches the limit is buried. How many dead letters were dropped for it. */
function requeueCounted(sql: Sql, ids: readonly number[], reason: string, limits: SettleLimits): number {
  if (ids.length === 0) return 0
  const rows = sql.all<{ id: number; deliveries: number }>(
    'UPDATE messages SET deliveries = deliveries + 1, redelivered = 1 WHERE id IN (SELECT value FROM json_each(?)) RETURNING id, deliveries',
    [JSON.stringify(ids)],
  )
  const back: number[] = []
  const dead: number[] = []
  for (const { id, deliveries } of rows) (deliveries >= limits.deliveryLimit ? dead : back).push(id)
  if (back.length > 0) putInLine(sql, JSON.stringify(back))
  return dead.length === 0 ? 0 : bury(sql, dead, reason, limits)
}

function putInLine(sql: Sql, list: string): void {
  sql.run(
    'INSERT INTO waiting (queue, rank, at, id) SELECT queue, -priority, at, id FROM messages WHERE id IN (SELECT value FROM json_each(?))',
    [list],
  )
  const queues = sql.all<{ queue: string }>('SELECT DISTINCT queue FROM messages WHERE id IN (SELECT value FROM json_each(?))', [list])
  for (const { queue } of queues) sql.ring('tasks', queue)
}

function bury(sql: Sql, ids: readonly number[], reason: string, { deadLetterLimit, nowMs }: SettleLimits): number {
  sql.run(
    `INSERT INTO dead_letters (queue, reason, died_at, task_key, priority, deliveries, head, body)
     SELECT queue, ?, ?, task_key, priority, deliveries, head, body FROM messages WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id`,
    [reason, nowMs, JSON.stringify(ids)],
  )
  deleteMessages(sql, ids)
  // Counting reads them all: only when the span of their ids does not show already that there are few.
  const span = sql.first<{ ids: number | null }>('SELECT max(id) - min(id) + 1 AS ids FROM dead_letters')
  if ((span?.ids ?? 0) <= deadLetterLimit) return 0
  const count = sql.first<{ count: number }>('SELECT count(*) AS count FROM dead_letters')
  const surplus = (count?.count ?? 0) - deadLetterLimit
  if (surplus > 0) sql.run('DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY id LIMIT ?)', [surplus])
  return Math.max(0, surplus)
}
