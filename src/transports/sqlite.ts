/** The embedded broker: one SQLite file, many processes of one host, no server. */
import type { Clock } from '../internal/clock.js'
import { parseSqliteUrl, type SqliteLocation } from '../internal/sqlite/location.js'
import { openDatabase } from '../internal/sqlite/open-database.js'
import { routedExchangeTypes } from '../protocol/routing.js'
import type { Connection, Transport, TransportSupports } from '../transport.js'
import { SqliteConnection } from './sqlite/connection.js'
import { schemaPart, schemaSteps } from './sqlite/schema.js'

export class SqliteTransport implements Transport {
  readonly name = 'sqlite'
  readonly supports: TransportSupports = {
    exchangeTypes: routedExchangeTypes,
    priority: 'higher-first',
    nativeDelay: true,
    persistent: true,
    shared: true,
    queueAge: 'all',
  }
  readonly #location: SqliteLocation
  readonly #clock: Clock

  constructor(url: string, { clock, cwd }: { readonly clock: Clock; readonly cwd: string }) {
    this.#location = parseSqliteUrl(url, cwd)
    this.#clock = clock
  }

  async connect({ signal }: { readonly signal: AbortSignal }): Promise<Connection> {
    signal.throwIfAborted()
    const database = await openDatabase(this.#location, { clock: this.#clock })
    try {
      await database.migrate(schemaPart, schemaSteps)
      signal.throwIfAborted()
      return new SqliteConnection(database, this.#location, this.#clock)
    } catch (error) {
      await database.close()
      throw error
    }
  }
}
