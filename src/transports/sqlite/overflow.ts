/** Keeps queues to the lengths that they were declared with (`x-max-length`, `x-max-length-bytes`). */
import type { Sql } from '../../internal/sqlite/sql.js'
import { bodyBytes, isLimited, isOver, type QueueLimits, type QueueLoad, refuseOverflow } from '../../protocol/routing.js'

/** To count a long queue costs as much as to publish a hundred messages: one that is full may grow by this part of it before it is looked at again. */
const patience = 0.1

/** Queues that are remembered: the queues of monitors have a new name each time. */
const mostQueues = 1_000

/** Of one publishing connection. Queues that refuse what is too much are exact; into others each connection may put a tenth too much. */
export class Overflow {
  /** What was put into each limited queue since it was last counted. */
  readonly #added = new Map<string, QueueLoad>()

  /** For the messages of one transaction. */
  room(sql: Sql): { refuse(queue: string, limits: QueueLimits, body: string | Uint8Array): void } {
    const loads = new Map<string, QueueLoad>()
    return {
      refuse: (queue, limits, body) => {
        if (!limits.refusesOverflow || !isLimited(limits)) return
        const load = loads.get(queue) ?? loadOf(sql, queue)
        refuseOverflow(queue, limits, load, body)
        loads.set(queue, { messages: load.messages + 1, bytes: load.bytes + bodyBytes(body) })
      },
    }
  }

  /** Drops what is too much after these were put in, the next to be delivered first. */
  keep(sql: Sql, rows: readonly { readonly queue: string; readonly limits: QueueLimits; readonly body: string | Uint8Array }[]): void {
    const touched = new Map<string, QueueLimits>()
    for (const { queue, limits, body } of rows) {
      if (limits.refusesOverflow || !isLimited(limits)) continue
      touched.set(queue, limits)
      // One that was never counted is at once: a program that publishes little must not add a tenth each time that it is started.
      const { messages, bytes } = this.#added.get(queue) ?? { messages: Number.POSITIVE_INFINITY, bytes: 0 }
      this.#added.set(queue, { messages: messages + 1, bytes: bytes + bodyBytes(body) })
    }
    for (const [queue, limits] of touched) {
      const { messages, bytes } = this.#added.get(queue) ?? nothing
      if (messages < limits.maxLength * patience && bytes < limits.maxBytes * patience) continue
      this.#added.delete(queue)
      this.#added.set(queue, nothing)
      if (isOver(limits, loadOf(sql, queue))) drop(sql, queue, limits)
    }
    for (const queue of this.#added.keys()) if (this.#added.size > mostQueues) this.#added.delete(queue)
  }
}

const nothing: QueueLoad = { messages: 0, bytes: 0 }

function loadOf(sql: Sql, queue: string): QueueLoad {
  const load = sql.first<QueueLoad>(
    'SELECT count(*) AS messages, coalesce(sum(octet_length(body)), 0) AS bytes FROM waiting JOIN messages USING (id) WHERE waiting.queue = ?',
    [queue],
  )
  return load ?? { messages: 0, bytes: 0 }
}

/** Counted from the last to be delivered on: what lies beyond the limits goes. */
function drop(sql: Sql, queue: string, { maxLength, maxBytes }: QueueLimits): void {
  const surplus = sql.all<{ id: number }>(
    `SELECT id FROM (
       SELECT w.id AS id, row_number() OVER line AS place, sum(octet_length(m.body)) OVER line AS bytes
       FROM waiting w JOIN messages m ON m.id = w.id WHERE w.queue = ?
       WINDOW line AS (ORDER BY w.rank DESC, w.at DESC, w.id DESC ROWS UNBOUNDED PRECEDING)
     ) WHERE place > ? OR bytes > ?`,
    [queue, sqlLimit(maxLength), sqlLimit(maxBytes)],
  )
  const ids = JSON.stringify(surplus.map(({ id }) => id))
  sql.run('DELETE FROM waiting WHERE queue = ? AND id IN (SELECT value FROM json_each(?))', [queue, ids])
  sql.run('DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))', [ids])
}

/** SQLite has no infinity that a whole number is compared with safely. */
const sqlLimit = (limit: number): number => Math.min(limit, Number.MAX_SAFE_INTEGER)
