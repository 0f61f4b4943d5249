/** Single queues of the embedded broker, for operators. */
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { QueueFacts, Queues } from '../../transport.js'
import { delayedMark } from './publisher.js'

interface Counts {
  readonly waiting: number
  readonly delayed: number
  readonly leased: number
}

/** One look for each priority: to read all that waits would take long. */
const oldest = `WITH RECURSIVE ranks (rank) AS (
  SELECT min(rank) FROM waiting WHERE queue = ?1
  UNION ALL SELECT (SELECT min(rank) FROM waiting WHERE queue = ?1 AND rank > ranks.rank) FROM ranks WHERE rank IS NOT NULL
) SELECT min((SELECT min(at) FROM waiting WHERE queue = ?1 AND rank = ranks.rank)) AS at FROM ranks WHERE rank IS NOT NULL`

export class SqliteQueues implements Queues {
  readonly #database: SqliteDatabase

  constructor(database: SqliteDatabase) {
    this.#database = database
  }

  async facts(queue: string): Promise<QueueFacts> {
    const counts = await this.#database.read((sql) =>
      sql.first<Counts>(
        `SELECT (SELECT count(*) FROM waiting WHERE queue = ?) AS waiting,
                (SELECT count(*) FROM delayed WHERE queue = ?) AS delayed,
                (SELECT count(*) FROM leases JOIN messages USING (id) WHERE queue = ?) AS leased`,
        [queue, queue, queue],
      ),
    )
    return {
      waiting: counts?.waiting ?? 0,
      delayed: counts?.delayed ?? 0,
      leased: counts?.leased ?? 0,
      // Only those of queues that go with their last one are noted.
      consumers: undefined,
      oldestAtMs: await this.oldestAtMs(queue),
    }
  }

  async oldestAtMs(queue: string): Promise<number | undefined> {
    const row = await this.#database.read((sql) => sql.first<{ at: number | null }>(oldest, [queue]))
    return row?.at ?? undefined
  }

  async paused(queues: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const rows = await this.#database.read((sql) =>
      sql.all<{ queue: string; note: string }>('SELECT queue, note FROM pauses WHERE queue IN (SELECT value FROM json_each(?))', [
        JSON.stringify(queues),
      ]),
    )
    return new Map(rows.map(({ queue, note }) => [queue, note]))
  }

  async pause(queue: string, note: string): Promise<void> {
    await this.#database.write(
      (sql) =>
        sql.run('INSERT INTO pauses (queue, note) VALUES (?, ?) ON CONFLICT (queue) DO UPDATE SET note = excluded.note', [queue, note]),
      { essential: true },
    )
  }

  async resume(queue: string): Promise<boolean> {
    return (await this.#database.write((sql) => sql.run('DELETE FROM pauses WHERE queue = ?', [queue]), { essential: true })) === 1
  }

  async hurry(queue: string): Promise<number> {
    return this.#database.write((sql) => {
      sql.run(
        'INSERT INTO waiting (queue, rank, at, id) SELECT d.queue, -m.priority, m.at, d.id FROM delayed d JOIN messages m ON m.id = d.id WHERE d.queue = ?',
        [queue],
      )
      const count = sql.run('DELETE FROM delayed WHERE queue = ?', [queue])
      if (count > 0) for (const what of [queue, delayedMark]) sql.ring('tasks', what)
      return count
    })
  }
}
