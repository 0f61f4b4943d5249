/** Ends of tasks that are stored with the acks of their messages: broker and results lie in one file. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SqliteBackend } from '../../dist/backends/sqlite.js'
import { systemClock } from '../../dist/internal/clock.js'
import { loadEngine } from '../../dist/internal/sqlite/engine.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import type { PlacedEnd } from '../../dist/protocol/result.js'
import type { Connection, Delivery } from '../../dist/transport.js'
import { SqliteTransport } from '../../dist/transports/sqlite.js'
import { Inbox, message, queue, topology } from '../conformance/transport.js'
import { ackWith as sendEnd, success } from './ends.js'

const url = 'sqlite://./queue.db'
const clock = systemClock
let folder: string
let backend: SqliteBackend
let connections: Connection[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-'))
  backend = await SqliteBackend.open(url, { clock, cwd: folder })
  connections = []
})
afterEach(async () => {
  await Promise.all(connections.map((connection) => connection.close()))
  await backend.close()
  rmSync(folder, { recursive: true })
})

async function connect(): Promise<Connection> {
  const connection = await new SqliteTransport(url, { clock, cwd: folder }).connect({ signal: AbortSignal.timeout(10_000) })
  connections.push(connection)
  await connection.declare(topology(queue('q')))
  return connection
}

async function delivered(connection: Connection, id = 'a'): Promise<Delivery> {
  await connection.publish(message({ id }), { exchange: '', routingKey: 'q' }, { deadlineMs: 20_000 })
  return (await Inbox.open(connection, { prefetch: 10 })).gone(0)
}

function placed(meta = success(), expiresSeconds: number | null = 60): PlacedEnd {
  const end = backend.placed(meta, { expiresSeconds })
  if (end === undefined) throw new Error('an end has a place')
  return end
}

const ackWith = (delivery: Delivery, end = placed()) => sendEnd(delivery, end)

async function rows(): Promise<unknown[]> {
  const engine = (await loadEngine())(join(folder, 'queue.db'))
  try {
    return engine.prepare('SELECT task_key, task_id, ready, meta, expires IS NULL AS for_ever FROM results').all([])
  } finally {
    engine.close()
  }
}

test.each([60, null])('the end is stored as the backend stores it, for %s seconds, and the message is gone', async (expiresSeconds) => {
  const connection = await connect()
  expect(connection.place).toBe(backend.place)
  const delivery = await delivered(connection)
  expect(await ackWith(delivery, placed(success(), expiresSeconds))).toBe(true)
  expect(await connection.locate('a')).toBe('absent')
  expect((await backend.get('a'))?.result).toBe(5)
  const together = await rows()
  await backend.forget(['a'])
  await backend.store(success(), { expiresSeconds })
  expect(await rows()).toEqual(together)
})

test('who waits for the result is told', async () => {
  const first = backend
    .wait(['a'], { signal: AbortSignal.timeout(20_000) })
    [Symbol.asyncIterator]()
    .next()
  await ackWith(await delivered(await connect()))
  expect((await first).value).toMatchObject({ taskId: 'a', status: 'SUCCESS' })
})

test('a task that had ended already: nothing is written, and the message is still held', async () => {
  const connection = await connect()
  const delivery = await delivered(connection)
  await backend.store({ ...success(), result: new JsonText('1') }, { expiresSeconds: 60 })
  expect(await ackWith(delivery)).toBe(false)
  expect((await backend.get('a'))?.result).toBe(1)
  expect(await connection.locate('a')).toBe('leased')
  delivery.ack()
  await connection.close()
  expect(await (await connect()).locate('a')).toBe('absent')
})

test('a state that is no end is replaced', async () => {
  const delivery = await delivered(await connect())
  await backend.store({ ...success(), status: 'STARTED' }, { expiresSeconds: 60 })
  expect(await ackWith(delivery)).toBe(true)
  expect((await backend.get('a'))?.status).toBe('SUCCESS')
})

test('two messages of one task in one tick: the first end counts, and the other message is still held', async () => {
  const connection = await connect()
  for (let copy = 0; copy < 2; copy++)
    await connection.publish(message({ id: 'a' }), { exchange: '', routingKey: 'q' }, { deadlineMs: 20_000 })
  const [first, second] = await (await Inbox.open(connection, { prefetch: 10 })).gets(2)
  if (first === undefined || second === undefined) throw new Error('two came')
  const both = [ackWith(first, placed(success('a', '1'))), ackWith(second, placed(success('a', '2')))]
  expect(await Promise.all(both)).toEqual([true, false])
  expect((await backend.get('a'))?.result).toBe(1)
  expect(await connection.locate('a')).toBe('leased')
})

test('a lease that is lost: neither is done, and the one who has the message settles it', async () => {
  const connection = await connect()
  const delivery = await delivered(connection)
  const engine = (await loadEngine())(join(folder, 'queue.db'))
  engine.exec('DELETE FROM owners')
  engine.close()
  expect(await ackWith(delivery)).toBeUndefined()
  expect(delivery.isLost).toBe(true)
  expect(await backend.get('a')).toBeUndefined()
  expect(await connection.locate('a')).not.toBe('absent')
})

test('one that is under way when the connection is closed is stored, and its message is gone', async () => {
  const connection = await connect()
  const delivery = await delivered(connection)
  const stored = ackWith(delivery)
  await connection.close()
  expect(await stored).toBe(true)
  expect((await backend.get('a'))?.result).toBe(5)
  expect(await (await connect()).locate('a')).toBe('absent')
})

test('after the end of the connection nothing is known of it', async () => {
  const connection = await connect()
  const delivery = await delivered(connection)
  await connection.close()
  expect(await ackWith(delivery)).toBeUndefined()
  expect(await backend.get('a')).toBeUndefined()
})

test('results in another file than the messages are stored by themselves', async () => {
  const other = await SqliteBackend.open('sqlite://./results.db', { clock, cwd: folder })
  expect(other.place).not.toBe((await connect()).place)
  await other.close()
})
