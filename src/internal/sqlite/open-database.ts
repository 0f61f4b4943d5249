import { CeleriacError, ConnectionError } from '../../errors.js'
import type { Clock } from '../clock.js'
import { SqliteDatabase } from './database.js'
import { loadEngine, type SqlEngine, sqlErrorKind, translateSqlError } from './engine.js'
import { prepareDatabaseFile } from './file-safety.js'
import { lockDeadlineMs } from './group-commit.js'
import type { SqliteLocation } from './location.js'

/** Opens the database, or shares the handle that this process has already. Close it as often as it was opened. */
export async function openDatabase(location: SqliteLocation, { clock }: { readonly clock: Clock }): Promise<SqliteDatabase> {
  const byPath = openDatabases.get(clock) ?? new Map<string, Promise<SqliteDatabase>>()
  openDatabases.set(clock, byPath)
  for (;;) {
    let opening = byPath.get(location.path)
    if (opening === undefined) {
      const fresh = openFresh(location, clock, () => forget())
      const forget = (): void => {
        if (byPath.get(location.path) === fresh) byPath.delete(location.path)
      }
      fresh.catch(forget)
      byPath.set(location.path, fresh)
      opening = fresh
    }
    const database = await opening
    // Its last owner may have closed it since: then there is a new one to open.
    if (database.share(location)) return database
  }
}

// Mutable module state, because the drivers that share a file know neither each other nor who else opened it. Held by clock, so that a test with a
// clock of its own shares nothing with others.
const openDatabases = new WeakMap<Clock, Map<string, Promise<SqliteDatabase>>>()

async function openFresh(location: SqliteLocation, clock: Clock, onClosed: () => void): Promise<SqliteDatabase> {
  const openEngine = await loadEngine()
  prepareDatabaseFile(location.path, location)
  const startedMs = performance.now()
  for (;;) {
    let engine: SqlEngine | undefined
    try {
      engine = openEngine(location.path)
      return new SqliteDatabase(engine, location, clock, onClosed)
    } catch (error) {
      engine?.close()
      // Several processes that start together take turns at making the file.
      if (sqlErrorKind(error) !== 'busy' || performance.now() - startedMs > lockDeadlineMs) {
        const translated = translateSqlError(error, location.path)
        throw translated instanceof CeleriacError
          ? translated
          : new ConnectionError(`the embedded database ${location.path} cannot be opened`, { cause: error })
      }
      await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 10))
    }
  }
}
