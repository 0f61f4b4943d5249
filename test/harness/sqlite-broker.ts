import { join } from 'node:path'
import { loadEngine } from '../../dist/internal/sqlite/engine.js'
import { type KeptMessage, leaseTtlMs, queueName, type SceneBroker } from './scene-broker.js'

/** The embedded broker, in a file of its own. */
export class SqliteBroker implements SceneBroker {
  readonly name = 'sqlite'
  readonly url: string
  readonly options = {}
  readonly #file: string

  constructor(folder: string, query = `?lease_ttl=${leaseTtlMs / 1000}&sweep_interval=0.25`) {
    this.#file = join(folder, 'broker/queue.db')
    this.url = `sqlite://${this.#file}${query}`
  }

  /** Rows of its own tables. */
  async rows<Row>(sql: string, params: readonly (string | number)[] = []): Promise<Row[]> {
    return this.withEngine((engine) => engine.prepare(sql).all<Row>(params))
  }

  async withEngine<T>(use: (engine: ReturnType<Awaited<ReturnType<typeof loadEngine>>>) => T): Promise<T> {
    const engine = (await loadEngine())(this.#file)
    try {
      engine.exec('PRAGMA busy_timeout = 5000')
      return use(engine)
    } finally {
      engine.close()
    }
  }

  messages(): Promise<KeptMessage[]> {
    return this.rows(
      `SELECT json_extract(head, '$[2].id') AS id, deliveries,
         CASE WHEN id IN (SELECT id FROM leases) THEN 'leased' WHEN id IN (SELECT id FROM delayed) THEN 'delayed' ELSE 'waiting' END AS state
       FROM messages WHERE queue = ? AND json_valid(head)
       UNION ALL SELECT NULL, deliveries, 'waiting' FROM messages WHERE queue = ? AND NOT json_valid(head)`,
      [queueName, queueName],
    )
  }

  async multiplyDeadLetters(count: number): Promise<void> {
    await this.withEngine((engine) =>
      engine
        .prepare(
          `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
           INSERT INTO dead_letters (queue, reason, died_at, task_key, priority, deliveries, head, body) SELECT queue, reason, died_at, task_key, priority, deliveries, head, body FROM n, (SELECT * FROM dead_letters LIMIT 1)`,
        )
        .run([count]),
    )
  }

  /** Its file goes with the scene's folder. */
  async leftovers(): Promise<readonly string[]> {
    return []
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
