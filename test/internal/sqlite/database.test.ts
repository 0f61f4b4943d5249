import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../dist/internal/clock.js'
import { SqliteDatabase } from '../../../dist/internal/sqlite/database.js'
import { loadEngine, type SqlEngine } from '../../../dist/internal/sqlite/engine.js'
import { parseSqliteUrl } from '../../../dist/internal/sqlite/location.js'
import { openDatabase } from '../../../dist/internal/sqlite/open-database.js'
import { VirtualClock } from '../../../dist/testing/virtual-clock.js'
import { openTransport } from '../../../dist/transports/index.js'
import { message, queue, topology } from '../../conformance/transport.js'
import { until } from '../../conformance/wait.js'

let directory: string
let database: SqliteDatabase

const location = (query = ''): ReturnType<typeof parseSqliteUrl> => parseSqliteUrl(`sqlite://./queue.db${query}`, directory)
const rows = (): string[] => database.all<{ v: string }>('SELECT v FROM t ORDER BY rowid').map((row) => row.v)
const insert = (v: string): Promise<number> => database.write((sql) => sql.run('INSERT INTO t (v) VALUES (?)', [v]))
/** A connection of its own, as another process has one. */
const another = async (): Promise<SqlEngine> => (await loadEngine())(join(directory, 'queue.db'))

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  database = await openDatabase(location(), { clock: systemClock })
  await database.migrate('test', ['CREATE TABLE t (v TEXT UNIQUE)'])
})

afterEach(async () => {
  await database.close()
  rmSync(directory, { recursive: true })
})

test('writes of one tick are one transaction, in their order, with those that come last at its end', async () => {
  let transactions = 0
  const counting = (await another()).prepare('SELECT count(*) AS n FROM t')
  const last = database.write((sql) => sql.run("INSERT INTO t (v) VALUES ('last')"), { last: true })
  const writes = ['a', 'b', 'c'].map((v) =>
    database.write((sql) => {
      sql.run('INSERT INTO t (v) VALUES (?)', [v])
      if (counting.all<{ n: number }>([])[0]?.n === 0) transactions = 1
    }),
  )
  await Promise.all([...writes, last])
  expect(rows()).toEqual(['a', 'b', 'c', 'last'])
  expect(transactions).toBe(1)
})

test('a write that fails is undone and rejected alone', async () => {
  const outcomes = await Promise.allSettled([
    insert('a'),
    database.write((sql) => {
      sql.run("INSERT INTO t (v) VALUES ('half')")
      throw new Error('no')
    }),
    insert('a'),
    insert('b'),
  ])
  expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
  expect(rows()).toEqual(['a', 'b'])
})

test('a write that fails costs those of its tick nothing, also when another process is faster meanwhile', async () => {
  const [engine, other] = [await another(), await another()]
  let wasFaster = false
  const overtaken = new Proxy(engine, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        const given: unknown = value.apply(target, args)
        if (args[0] === 'ROLLBACK' && !wasFaster) {
          wasFaster = true
          other.exec('BEGIN IMMEDIATE')
          setTimeout(() => other.exec('COMMIT'), 20)
        }
        return given
      }
    },
  })
  const mine = new SqliteDatabase(overtaken, location(), systemClock, () => {})
  mine.share(location())
  try {
    const failing = mine.write(() => {
      throw new Error('no')
    })
    const outcomes = await Promise.allSettled([failing, mine.write((sql) => sql.run("INSERT INTO t (v) VALUES ('a')"))])
    expect(wasFaster).toBe(true)
    expect(outcomes).toMatchObject([{ reason: { message: 'no' } }, { status: 'fulfilled' }])
    expect(rows()).toEqual(['a'])
  } finally {
    await mine.close()
    other.close()
  }
})

test('a file that another process keeps locked is waited for with the patience of each write', async () => {
  const other = await another()
  other.exec('BEGIN IMMEDIATE')
  const impatient = database.write((sql) => sql.run("INSERT INTO t (v) VALUES ('impatient')"), { patienceMs: 50 })
  const patient = insert('patient')
  await expect(impatient).rejects.toMatchObject({ code: 'ERR_CONNECTION', message: expect.stringContaining('locked by another process') })
  other.exec('COMMIT')
  await patient
  other.close()
  expect(rows()).toEqual(['patient'])
})

test('drivers of one process share the handle, and the stricter durability holds', async () => {
  const same = await openDatabase(location('?synchronous=full'), { clock: systemClock })
  expect(same).toBe(database)
  expect(database.all('PRAGMA synchronous')).toMatchObject([{ synchronous: 2 }])
  await same.close()
  await insert('still open')
  const other = await openDatabase(location(), { clock: new VirtualClock() })
  expect(other).not.toBe(database)
  await other.close()
})

test('a handle can be opened again after its close, and while it closes', async () => {
  const closing = database.close()
  database = await openDatabase(location(), { clock: systemClock })
  await closing
  await insert('a')
  expect(rows()).toEqual(['a'])
})

test('what is queued at the close is written', async () => {
  const writing = insert('a')
  await database.close()
  await writing
  database = await openDatabase(location(), { clock: systemClock })
  expect(rows()).toEqual(['a'])
})

test('a write waits for the lock of another process, and goes on when it is free', async () => {
  const other = await another()
  other.exec('BEGIN IMMEDIATE')
  let isWritten = false
  const writing = insert('a').then(() => {
    isWritten = true
  })
  const from = performance.now()
  await until(() => performance.now() - from > 50, 'a while')
  expect(isWritten).toBe(false)
  other.exec('COMMIT')
  await writing
  other.close()
})

test('a lock that is held for 5 s is an error that says so', async () => {
  const other = await another()
  other.exec('BEGIN IMMEDIATE')
  await expect(insert('a')).rejects.toMatchObject({
    code: 'ERR_CONNECTION',
    message: expect.stringContaining('locked by another process for 5 s'),
  })
  other.exec('COMMIT')
  await insert('b')
  expect(rows()).toEqual(['b'])
  other.close()
})

test('a publish that does not get the lock until its deadline is not published, not even later', async () => {
  const transport = await openTransport(`sqlite://${directory}/queue.db`, { clock: systemClock })
  const connection = await transport.connect({ signal: new AbortController().signal })
  await connection.declare(topology(queue('q')))
  const other = await another()
  other.exec('BEGIN IMMEDIATE')
  const early = connection.publish(message({ id: 'early' }), { exchange: '', routingKey: 'q' }, { deadlineMs: 50 })
  const patient = connection.publish(message({ id: 'patient' }), { exchange: '', routingKey: 'q' }, { deadlineMs: 4_000 })
  await expect(early).rejects.toMatchObject({ code: 'ERR_NOT_PUBLISHED' })
  other.exec('COMMIT')
  await patient
  expect([await connection.locate('early'), await connection.locate('patient')]).toEqual(['absent', 'waiting'])
  other.close()
  await connection.close()
})

test('a listener hears of the commits of this process and of others, and not of its own twice', async () => {
  const heard: (readonly string[] | 'another process')[] = []
  const deaf = database.listen('results', () => heard.push(['wrong bell']))
  const stop = database.listen('tasks', (what) => heard.push(what === undefined ? 'another process' : [...what]))
  await database.write((sql) => {
    sql.run("INSERT INTO t (v) VALUES ('a')")
    sql.ring('tasks', 'q')
    sql.ring('tasks', 'r')
  })
  expect(heard).toEqual([['q', 'r']])
  // A clock of its own makes a handle of its own: for the first one it is as good as another process.
  const other = await openDatabase(location(), { clock: new VirtualClock() })
  await other.write((sql) => {
    sql.run("INSERT INTO t (v) VALUES ('b')")
    sql.ring('tasks', 'q')
  })
  await until(() => heard.length > 1, 'the bell')
  expect(heard).toEqual([['q', 'r'], 'another process'])
  stop()
  deaf()
  await other.close()
})

test('a bell rings without the safety poll', async () => {
  await database.close()
  database = await openDatabase(location('?poll_interval=0'), { clock: new VirtualClock() })
  let heard = 0
  const stop = database.listen('results', () => heard++)
  const other = await openDatabase(location(), { clock: systemClock })
  await other.write((sql) => {
    sql.run("INSERT INTO t (v) VALUES ('b')")
    sql.ring('results', 'x')
  })
  await until(() => heard === 1, 'the bell')
  stop()
  await other.close()
})

test('the safety poll finds what no bell told of', async () => {
  await database.close()
  const clock = new VirtualClock()
  database = await openDatabase(location(), { clock })
  let heard = 0
  const stop = database.listen('tasks', () => heard++)
  const other = await another()
  other.exec("INSERT INTO t (v) VALUES ('silent')")
  await clock.moveTo(clock.now() + 499)
  expect(heard).toBe(0)
  await clock.moveTo(clock.now() + 1)
  expect(heard).toBe(1)
  await clock.moveTo(clock.now() + 2_000)
  expect(heard).toBe(1)
  stop()
  other.close()
})

test('a file of a newer celeriac is refused and left alone', async () => {
  await database.write((sql) => sql.run("UPDATE celeriac_schema SET version = 99 WHERE part = 'test'"))
  await expect(database.migrate('test', ['CREATE TABLE t (v TEXT)'])).rejects.toMatchObject({
    code: 'ERR_DATABASE_UNUSABLE',
    message: expect.stringContaining('version 99'),
  })
  expect(database.all('SELECT version FROM celeriac_schema')).toEqual([{ version: 99 }])
})

test('a part grows by the steps that it has not seen', async () => {
  const steps = ['CREATE TABLE grown (a)', 'ALTER TABLE grown ADD COLUMN b']
  await database.migrate('grown', steps.slice(0, 1))
  await Promise.all([database.migrate('grown', steps), database.migrate('grown', steps)])
  expect(database.all('SELECT a, b FROM grown')).toEqual([])
})

test('a damaged file is refused', async () => {
  for (let index = 0; index < 500; index++) void insert(`${index}${'x'.repeat(200)}`)
  await insert('end')
  await database.close()
  const path = join(directory, 'damaged.db')
  const bytes = readFileSync(join(directory, 'queue.db'))
  for (const damage of [
    Buffer.from('this is no database'.repeat(300)),
    Buffer.concat([bytes.subarray(0, 20), Buffer.alloc(100, 0xff), bytes.subarray(120)]),
  ]) {
    writeFileSync(path, damage, { mode: 0o600 })
    await expect(openDatabase(parseSqliteUrl(`sqlite://${path}`, '/'), { clock: systemClock })).rejects.toMatchObject({
      code: 'ERR_DATABASE_UNUSABLE',
    })
  }
  database = await openDatabase(location(), { clock: systemClock })
})

test.each(['removed', 'replaced'])('a file that is %s takes nothing more: who wrote would be alone with it', async (how) => {
  await insert('a')
  const lost = database.gone
  let n = 0
  for (const suffix of ['', '-wal', '-shm', '-reserve']) rmSync(join(directory, `queue.db${suffix}`), { force: true })
  if (how === 'replaced') writeFileSync(join(directory, 'queue.db'), '', { mode: 0o600 })
  await until(
    () =>
      insert(String(++n)).then(
        () => false,
        () => true,
      ),
    'a refusal',
    20_000,
  )
  expect(await lost).toMatchObject({ code: 'ERR_CONNECTION', message: expect.stringContaining('removed or replaced') })
  await expect(insert('c')).rejects.toBe(await lost)
  await expect(database.read(() => 1)).rejects.toBe(await lost)
  // Whoever opens it now has the file of that name.
  const next = await openDatabase(location(), { clock: systemClock })
  await next.migrate('test', ['CREATE TABLE t (v TEXT UNIQUE)'])
  expect(next.all('SELECT v FROM t')).toEqual([])
  await next.close()
})
