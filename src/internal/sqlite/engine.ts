/**
 * One small interface over the two SQLite drivers: `node:sqlite` where Node has it without a flag, else the optional package `libsql`.
 * Both are synchronous. Rows are objects; numbers must fit a double; a blob may come back as a view of any kind, see `bytesOf`.
 */
import { createRequire } from 'node:module'
import { ConnectionError, DatabaseUnusableError, DriverNotInstalledError } from '../../errors.js'

export type SqlValue = string | number | null | Uint8Array

export interface SqlEngine {
  readonly name: 'node:sqlite' | 'libsql'
  exec(sql: string): void
  prepare(sql: string): SqlStatement
  close(): void
}

export interface SqlStatement {
  /** Runs a statement that returns no rows; how many it changed. */
  run(params: readonly SqlValue[]): number
  /** All rows. The caller names their shape, which its own SQL decides. */
  all<Row>(params: readonly SqlValue[]): Row[]
  /** The first row, which costs half of what a list does. */
  first<Row>(params: readonly SqlValue[]): Row | undefined
}

/** Opens files; which of the two drivers it uses is decided once, when it is loaded. */
export type OpenEngine = (path: string) => SqlEngine

/** Finds the SQLite driver of this machine, or throws DriverNotInstalledError. */
export async function loadEngine(): Promise<OpenEngine> {
  const builtIn = loadBuiltIn()
  if (builtIn !== undefined) return (path) => new NodeEngine(new builtIn.DatabaseSync(path))
  let Libsql: LibsqlModule
  try {
    // The shape is libsql's documented API (that of better-sqlite3).
    Libsql = createRequire(import.meta.url)('libsql') as LibsqlModule
  } catch (cause) {
    throw new DriverNotInstalledError('the embedded database ("sqlite:") on this version of Node', 'libsql', { cause })
  }
  return (path) => new LibsqlEngine(new Libsql(path, { timeout: 0 }))
}

// The parts of the two drivers that are used.
interface NodeSqliteModule {
  readonly DatabaseSync: new (path: string) => NodeDatabase
}
interface NodeDatabase {
  exec(sql: string): void
  prepare(sql: string): {
    run(...params: SqlValue[]): { changes: number | bigint }
    all(...params: SqlValue[]): unknown[]
    get(...params: SqlValue[]): unknown
  }
  close(): void
}
type LibsqlModule = new (path: string, options: { timeout: number }) => LibsqlDatabase
interface LibsqlDatabase {
  exec(sql: string): void
  prepare(sql: string): LibsqlStatement
  close(): void
}
interface LibsqlStatement {
  /** Whether it gives rows. */
  readonly reader: boolean
  /** From here on, rows are arrays. */
  raw(raw: true): LibsqlStatement
  columns(): { readonly name: string }[]
  run(params: readonly SqlValue[]): { changes: number }
  all(params: readonly SqlValue[]): unknown[][]
  get(params: readonly SqlValue[]): unknown[] | undefined
}

/** Undefined on Node < 22.13, where node:sqlite is missing or behind a flag. */
function loadBuiltIn(): NodeSqliteModule | undefined {
  // Node's types for version 20 do not know it; it exists from 22.3 on.
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown }
  if (getBuiltinModule === undefined) return undefined
  // node:sqlite warns on its first load that it is experimental. The user did not choose it and can do nothing about it, so that one warning is
  // not shown: the call is synchronous, and the function is put back before anything else can run.
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    // What the module holds is documented; a Node without it gives undefined.
    return getBuiltinModule('node:sqlite') as NodeSqliteModule | undefined
  } finally {
    process.emitWarning = emitWarning
  }
}

class NodeEngine implements SqlEngine {
  readonly name = 'node:sqlite'
  constructor(private readonly database: NodeDatabase) {
    this.database.exec('PRAGMA busy_timeout = 0')
  }
  exec(sql: string): void {
    this.database.exec(sql)
  }
  prepare(sql: string): SqlStatement {
    const statement = this.database.prepare(sql)
    return {
      run: (params) => Number(statement.run(...params).changes),
      // The SQL decides the shape of its rows.
      all: <Row>(params: readonly SqlValue[]) => statement.all(...params) as Row[],
      first: <Row>(params: readonly SqlValue[]) => statement.get(...params) as Row | undefined,
    }
  }
  close(): void {
    this.database.close()
  }
}

class LibsqlEngine implements SqlEngine {
  readonly name = 'libsql'
  constructor(private readonly database: LibsqlDatabase) {}
  exec(sql: string): void {
    this.database.exec(sql)
  }
  prepare(sql: string): SqlStatement {
    const statement = this.database.prepare(sql)
    // Rows as arrays cost libsql half of what rows as objects do.
    const columns = statement.reader
      ? statement
          .raw(true)
          .columns()
          .map(({ name }) => name)
      : []
    const toRow = (values: readonly unknown[]): Record<string, unknown> => {
      const row: Record<string, unknown> = {}
      for (let index = 0; index < columns.length; index++) row[columns[index] as string] = values[index]
      return row
    }
    return {
      run: (params) => statement.run(params).changes,
      // The SQL decides the shape of its rows.
      all: <Row>(params: readonly SqlValue[]) => statement.all(params).map(toRow) as Row[],
      first: <Row>(params: readonly SqlValue[]) => {
        const values = statement.get(params)
        return (values === undefined ? undefined : toRow(values)) as Row | undefined
      },
    }
  }
  close(): void {
    this.database.close()
  }
}

export type SqlErrorKind = 'busy' | 'full' | 'damaged' | 'input-output' | 'other'

/** What an error of either driver means: by SQLite's primary result code, never by its message. */
export function sqlErrorKind(error: unknown): SqlErrorKind {
  if (!(error instanceof Error)) return 'other'
  // node:sqlite gives `errcode`, libsql `rawCode`; both are SQLite's extended result codes.
  const { errcode, rawCode } = error as { errcode?: unknown; rawCode?: unknown }
  const code = typeof errcode === 'number' ? errcode : typeof rawCode === 'number' ? rawCode : undefined
  switch (code === undefined ? undefined : code & 0xff) {
    case 5: // SQLITE_BUSY
    case 6: // SQLITE_LOCKED
      return 'busy'
    case 13: // SQLITE_FULL
      return 'full'
    case 11: // SQLITE_CORRUPT
    case 26: // SQLITE_NOTADB
      return 'damaged'
    case 10: // SQLITE_IOERR
      return 'input-output'
    default:
      return 'other'
  }
}

/** The error that callers see for one of SQLite's own. */
export function translateSqlError(error: unknown, path: string): unknown {
  switch (sqlErrorKind(error)) {
    case 'damaged':
      return new DatabaseUnusableError(
        `the embedded database ${path} is damaged. Stop its processes, keep a copy of the file and its -wal, and start with a new one ("sqlite3 ${path} .recover" salvages rows).`,
        { cause: error },
      )
    case 'busy':
      return new ConnectionError(`the embedded database ${path} was locked by another process for too long`, { cause: error })
    case 'input-output':
      return new ConnectionError(`the embedded database ${path} cannot be read or written`, { cause: error })
    default:
      return error
  }
}

/** A blob column as bytes: the drivers give a Buffer, a Uint8Array or an ArrayBuffer. */
export function bytesOf(blob: Uint8Array | ArrayBuffer): Uint8Array {
  if (!(blob instanceof Uint8Array)) return new Uint8Array(blob)
  // libsql gives Buffers.
  return blob.constructor === Uint8Array ? blob : new Uint8Array(blob.buffer, blob.byteOffset, blob.byteLength)
}
