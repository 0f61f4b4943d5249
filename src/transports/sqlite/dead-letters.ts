import { QueueMissingError } from '../../errors.js'
import type { Clock } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import { bytesOf } from '../../internal/sqlite/engine.js'
import type { Message } from '../../protocol/message.js'
import type { DeadLetter, DeadLetterActions, DeadLetters } from '../../transport.js'
import { decodeStored, type StoredMessage } from './stored-message.js'

interface Row extends StoredMessage {
  readonly id: number
  readonly queue: string
  readonly reason: string
  readonly died_at: number
  readonly deliveries: number
}

/** The dead letters of the embedded broker: a table that every process of the file sees. */
export class SqliteDeadLetters implements DeadLetters {
  readonly #database: SqliteDatabase
  readonly #clock: Clock

  constructor(database: SqliteDatabase, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  async list({ queue, limit = 100 }: { readonly queue?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    const rows = await this.#database.read((sql) =>
      sql.all<Row>(
        'SELECT id, queue, reason, died_at, deliveries, head, body FROM dead_letters WHERE queue = coalesce(?, queue) ORDER BY id LIMIT ?',
        [queue ?? null, limit],
      ),
    )
    return rows.map(letterOf)
  }

  async visit(see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>): Promise<void> {
    // Their numbers are few bytes each, and few thousand.
    const ids = await this.#database.read((sql) => sql.all<{ id: number }>('SELECT id FROM dead_letters ORDER BY id'))
    for (const { id } of ids) {
      const row = await this.#database.read((sql) =>
        sql.first<Row>('SELECT id, queue, reason, died_at, deliveries, head, body FROM dead_letters WHERE id = ?', [id]),
      )
      if (row === undefined) continue
      const key = String(id)
      if (!(await see(letterOf(row), { replay: () => this.replay(key), drop: () => this.drop(key) }))) return
    }
  }

  async replay(id: string): Promise<boolean> {
    const key = rowId(id)
    if (key === undefined) return false
    return this.#database.write((sql) => {
      const [letter] = sql.all<{ queue: string }>('SELECT queue FROM dead_letters WHERE id = ?', [key])
      if (letter === undefined) return false
      if (sql.all('SELECT 1 FROM queues WHERE name = ?', [letter.queue]).length === 0) throw new QueueMissingError(letter.queue)
      const next = (sql.all<{ id: number | null }>('SELECT max(id) AS id FROM messages')[0]?.id ?? 0) + 1
      sql.run(
        `INSERT INTO messages (id, task_key, queue, priority, at, redelivered, head, body)
         SELECT ?, task_key, queue, priority, ?, 1, head, body FROM dead_letters WHERE id = ?`,
        [next, Math.floor(this.#clock.now()), key],
      )
      sql.run('INSERT INTO waiting (queue, rank, at, id) SELECT queue, -priority, at, id FROM messages WHERE id = ?', [next])
      sql.run('DELETE FROM dead_letters WHERE id = ?', [key])
      sql.ring('tasks', letter.queue)
      return true
    })
  }

  async drop(id: string): Promise<boolean> {
    const key = rowId(id)
    if (key === undefined) return false
    return (await this.#database.write((sql) => sql.run('DELETE FROM dead_letters WHERE id = ?', [key]), { essential: true })) === 1
  }

  async count(): Promise<number> {
    const rows = await this.#database.read((sql) => sql.all<{ count: number }>('SELECT count(*) AS count FROM dead_letters'))
    return rows[0]?.count ?? 0
  }
}

function letterOf(row: Row): DeadLetter {
  return {
    id: String(row.id),
    queue: row.queue,
    reason: row.reason,
    diedAtMs: row.died_at,
    deliveries: row.deliveries,
    message: messageOf(row),
  }
}

function rowId(id: string): number | undefined {
  return /^\d{1,15}$/.test(id) ? Number(id) : undefined
}

/** A message may lie here because its own headers are damaged: then its body is all that there is to show. */
function messageOf(row: StoredMessage): Message {
  try {
    return decodeStored(row).message
  } catch {
    const body = typeof row.body === 'string' ? row.body : bytesOf(row.body)
    return { body, contentType: 'application/octet-stream', contentEncoding: 'binary', headers: {}, properties: {} }
  }
}
