/** Faults of reliability.md B.5: kills inside a transaction (S1), many writers (S2), a full disk (S3), two writers that wait for the disk (G8). */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openBackend } from '../../dist/backends/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { loadEngine } from '../../dist/internal/sqlite/engine.js'
import type { Connection } from '../../dist/transport.js'
import { openTransport } from '../../dist/transports/index.js'
import { OtherProcess } from '../conformance/other-process.js'
import { Inbox, message, queue, topology } from '../conformance/transport.js'
import { until } from '../conformance/wait.js'
import { isFullRun } from '../harness/depth.js'

let directory: string
let processes: OtherProcess[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  processes = []
})

afterEach(async () => {
  for (const other of processes) await other.kill()
  rmSync(directory, { recursive: true, force: true })
})

const url = (query = '?lease_ttl=1&sweep_interval=0.1'): string => `sqlite://${directory}/queue.db${query}`

async function connect(to = url()): Promise<Connection> {
  const connection = await (await openTransport(to, { clock: systemClock })).connect({ signal: new AbortController().signal })
  await connection.declare(topology(queue('q')))
  return connection
}

async function start(environment: Readonly<Record<string, string>> = {}, to = url()): Promise<OtherProcess> {
  const other = await OtherProcess.start(to, environment)
  processes.push(other)
  return other
}

/** Nothing is torn: SQLite's own check, and each message is in exactly one place. */
async function expectWhole(): Promise<void> {
  const engine = (await loadEngine())(join(directory, 'queue.db'))
  try {
    expect(engine.prepare('PRAGMA integrity_check').all([])).toEqual([{ integrity_check: 'ok' }])
    const places = 'SELECT id FROM waiting UNION ALL SELECT id FROM delayed UNION ALL SELECT id FROM leases'
    const wrong = engine.prepare(`SELECT id FROM messages m WHERE (SELECT count(*) FROM (${places}) p WHERE p.id = m.id) <> 1`).all([])
    const orphans = engine.prepare(`SELECT id FROM (${places}) WHERE id NOT IN (SELECT id FROM messages)`).all([])
    expect([wrong, orphans]).toEqual([[], []])
  } finally {
    engine.close()
  }
}

const kills = ['sqlite.before-commit', 'sqlite.after-commit'].flatMap((point) => [1, 2, 5, 9].map((count) => [point, count] as const))

test.each(kills)(
  'a publisher killed at %s, time %i: what was confirmed is there, once, and nothing that was never sent',
  async (point, count) => {
    await (await connect()).close()
    const other = await OtherProcess.start(url(), { CELERIAC_FAILPOINTS: `${point}=kill9@${count}` })
    processes.push(other)
    other.send('publish', { queue: 'q', count: 100, atOnce: 5 })
    await other.exited()
    await expectWhole()
    const confirmed = other.of('published').map((told) => told.id)
    const connection = await connect()
    const inbox = await Inbox.open(connection, { prefetch: 200 })
    await inbox.gets(await connection.size('q').then((waiting) => Math.max(waiting, inbox.deliveries.length)))
    expect(inbox.ids).toEqual(expect.arrayContaining(confirmed))
    expect(new Set(inbox.ids).size).toBe(inbox.ids.length)
    await connection.close()
  },
)

test.each(kills)('a worker killed at %s, time %i: nothing is lost, and what was acked does not come back', async (point, count) => {
  const connection = await connect()
  const ids = Array.from({ length: 60 }, (_, index) => `m${index}`)
  await Promise.all(ids.map((id) => connection.publish(message({ id }), { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 })))
  const other = await OtherProcess.start(url(), { CELERIAC_FAILPOINTS: `${point}=kill9@${count}` })
  processes.push(other)
  other.send('consume', { queues: ['q'], prefetch: 10, acks: true })
  // One commit may be the last that it ever needs; then it is killed from here.
  await Promise.race([
    other.exited(),
    until(async () => (await connection.size('q')) === 0 && other.of('delivery').length === 60, 'all are taken'),
  ])
  await other.kill()
  await expectWhole()
  const inbox = await Inbox.open(connection, { prefetch: 100 })
  const seen = (): Set<string> => new Set([...other.of('delivery').map((told) => told.id ?? ''), ...inbox.ids])
  await until(async () => seen().size === 60 && (await connection.size('q')) === 0, 'every message is seen')
  for (const delivery of inbox.deliveries) expect(delivery.deliveries).toBeLessThanOrEqual(1)
  expect(new Set(inbox.ids).size).toBe(inbox.ids.length)
  await connection.close()
})

test('8 processes publish and consume at once without an error', async () => {
  const connection = await connect()
  const publishers = await Promise.all([0, 1, 2, 3].map(() => start()))
  const consumers = await Promise.all([0, 1, 2, 3].map(() => start()))
  for (const consumer of consumers) consumer.send('consume', { queues: ['q'], prefetch: 20, acks: true })
  for (const [index, publisher] of publishers.entries()) publisher.send('publish', { queue: 'q', count: 500, prefix: `p${index}-` })
  const delivered = (): string[] => consumers.flatMap((consumer) => consumer.of('delivery').map((told) => told.id ?? ''))
  await until(() => delivered().length >= 2_000, 'all messages', 20_000)
  expect(new Set(delivered()).size).toBe(2_000)
  for (const publisher of publishers) await publisher.tells('published', 500)
  for (const other of processes) expect(other.events.filter((told) => told.event === 'error' || told.event === 'failed')).toEqual([])
  await until(async () => (await connection.locate('p0-0')) === 'absent', 'the acks')
  await expectWhole()
  await connection.close()
})

test('two processes that wait for the disk at each commit: neither starves', async () => {
  const to = url('?synchronous=full')
  const connection = await connect(to)
  const pair = [await start({}, to), await start({}, to)]
  const from = performance.now()
  for (const other of pair) other.send('flood', { queue: 'q', ms: 1_500, atOnce: 20 })
  const results = await Promise.all(pair.map((other) => other.tells('flooded')))
  const counts = results.map((told) => told.count ?? 0)
  // How fair they are to each other, and how long the slowest publish takes, is measured in bench/: row "fairness".
  expect(Math.min(...counts) / Math.max(...counts)).toBeGreaterThanOrEqual(0.1)
  expect(performance.now() - from).toBeGreaterThan(1_500)
  await connection.close()
})

test.runIf(isFullRun)(
  'a process that hangs in a transaction for 6 s costs no lease: what is held is acked when the file is free',
  async () => {
    const connection = await connect(url('?lease_ttl=30'))
    await connection.publish(message({ id: 'a' }), { exchange: '', routingKey: 'q' }, { deadlineMs: 20_000 })
    const [delivery] = await (await Inbox.open(connection)).gets(1)
    const engine = (await loadEngine())(join(directory, 'queue.db'))
    engine.exec('BEGIN IMMEDIATE')
    let hasEnded = false
    void connection.closed.then(() => {
      hasEnded = true
    })
    delivery?.ack()
    const lockedMs = performance.now()
    await until(() => performance.now() - lockedMs > 6_000, 'six seconds')
    engine.exec('ROLLBACK')
    engine.close()
    const other = await connect(url('?lease_ttl=30'))
    await until(async () => (await other.locate('a')) === 'absent', 'the ack')
    expect([hasEnded, delivery?.isLost]).toEqual([false, false])
    await Promise.all([connection.close(), other.close()])
  },
)

test('a wake-up of another process needs no poll', async () => {
  const connection = await connect(url('?poll_interval=0&sweep_interval=30'))
  const other = await start({}, url('?poll_interval=0&sweep_interval=30'))
  other.send('consume', { queues: ['q'], prefetch: 1, acks: true })
  await other.tells('consuming')
  for (let count = 1; count <= 20; count++) {
    await connection.publish(message(), { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 })
    await other.tells('delivery', count)
  }
  await connection.close()
})

test('a queue whose headers somebody damaged goes to the dead letters and does not stop the others', async () => {
  const connection = await connect()
  for (const id of ['a', 'b', 'c']) await connection.publish(message({ id }), { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 })
  const engine = (await loadEngine())(join(directory, 'queue.db'))
  engine.prepare("UPDATE messages SET head = '{broken' WHERE id = 2").run([])
  engine.close()
  const inbox = await Inbox.open(connection)
  await inbox.gets(2)
  expect(inbox.ids).toEqual(['a', 'c'])
  await until(async () => (await connection.deadLetters.count()) === 1, 'the dead letter')
  expect(await connection.deadLetters.list()).toMatchObject([
    { reason: expect.stringContaining('damaged'), message: { body: '[[2, 3], {}, null]' } },
  ])
  await connection.close()
})

const mounts = canMount()

test.skipIf(mounts !== true)(
  `a full disk: publishes are refused, acks and results go on, and it heals${mounts === true ? '' : ` (${mounts})`}`,
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m,mode=700', 'tmpfs', directory])
    try {
      const connection = await connect()
      const backend = await openBackend(url(), { clock: systemClock })
      let published = 0
      let refused: unknown
      while (refused === undefined) {
        const big = message({ id: `m${published}`, body: 'x'.repeat(2_000) })
        await connection.publish(big, { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 }).then(
          () => published++,
          (error) => {
            refused = error
          },
        )
      }
      expect(refused).toMatchObject({ code: 'ERR_BROKER_FULL' })
      expect(published).toBeGreaterThan(50)
      await expect(connection.publish(message(), { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 })).rejects.toMatchObject({
        code: 'ERR_BROKER_FULL',
      })
      const inbox = await Inbox.open(connection, { prefetch: 10 })
      for (let index = 0; index < published; index++) {
        await until(() => inbox.deliveries.length > index, `delivery ${index}`)
        const id = `m${index}`
        await backend.store(
          { taskId: id, status: 'SUCCESS', result: 'r'.repeat(100), traceback: null, children: [], dateDone: null },
          { expiresSeconds: 60 },
        )
        inbox.deliveries[index]?.ack()
      }
      await until(async () => (await connection.locate(`m${published - 1}`)) === 'absent', 'the last ack')
      await until(
        () =>
          connection.publish(message({ id: 'healed' }), { exchange: '', routingKey: 'q' }, { deadlineMs: 5_000 }).then(
            () => true,
            () => false,
          ),
        'it heals',
      )
      await inbox.gets(published + 1)
      expect((await backend.get('m0'))?.status).toBe('SUCCESS')
      await expectWhole()
      await backend.close()
      await connection.close()
    } finally {
      // Lazily: libsql closes its file only when its statements are collected.
      execFileSync('umount', ['-l', directory])
    }
  },
  30_000,
)

/** True, or why not. */
function canMount(): true | string {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux, for a small tmpfs'
  const probe = mkdtempSync(join(tmpdir(), 'celeriac-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe], { stdio: 'ignore' })
    writeFileSync(join(probe, 'x'), '')
    execFileSync('umount', [probe])
    return true
  } catch {
    return 'this machine does not let root mount a tmpfs'
  } finally {
    rmSync(probe, { recursive: true, force: true })
  }
}
