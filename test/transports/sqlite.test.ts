import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { loadEngine } from '../../dist/internal/sqlite/engine.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { SqliteTransport } from '../../dist/transports/sqlite.js'
import { Inbox, message, queue, type TransportDriver, testTransport, topology } from '../conformance/transport.js'
import { testTransportModel } from '../conformance/transport-model.js'
import { settled, until } from '../conformance/wait.js'

const driver: TransportDriver = {
  name: 'sqlite',
  open: async (clock) => {
    const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
    return {
      transport: async () => new SqliteTransport('sqlite://./queue.db?delivery_limit=5', { clock, cwd: directory }),
      loseLeases: async () => {
        const engine = (await loadEngine())(join(directory, 'queue.db'))
        engine.exec('DELETE FROM owners')
        engine.close()
      },
      dispose: async () => rmSync(directory, { recursive: true }),
    }
  },
}

testTransport(driver)
testTransportModel(driver, { runs: 60 })

/** A consumer that holds as many messages as it may, t0 to t7. */
async function holdingEight() {
  const clock = new VirtualClock()
  const broker = await driver.open(clock)
  const connect = async () => (await broker.transport()).connect({ signal: AbortSignal.timeout(10_000) })
  const connection = await connect()
  await connection.declare(topology(queue('q')))
  for (let index = 0; index < 8; index++)
    await connection.publish(message({ id: `t${index}` }), { exchange: '', routingKey: 'q' }, { deadlineMs: 20_000 })
  const { deliveries } = await Inbox.open(connection, { prefetch: 8 })
  await until(() => deliveries.length === 8, '8 deliveries')
  const isGone = (id: string) => async () => (await connection.locate(id)) === 'absent'
  return { clock, connection, connect, deliveries, isGone, dispose: () => broker.dispose() }
}

test('while a consumer holds plenty its acks wait for each other, for moments only', async () => {
  const { clock, connection, deliveries, isGone, dispose } = await holdingEight()
  deliveries[0]?.ack()
  await settled()
  expect(await connection.locate('t0')).toBe('leased')
  await clock.moveTo(clock.now() + 10)
  await until(isGone('t0'), 'the ack is written')
  deliveries[1]?.ack()
  deliveries[2]?.ack()
  await until(isGone('t1'), 'acks are written together')
  expect(await connection.locate('t2')).toBe('absent')
  await connection.close()
  await dispose()
})

test('a publish whose deadline passes while its own process is busy is written all the same', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  try {
    const transport = new SqliteTransport('sqlite://./queue.db', { clock: systemClock, cwd: directory })
    const connection = await transport.connect({ signal: AbortSignal.timeout(10_000) })
    await connection.declare(topology(queue('q')))
    const sent = connection.publish(message(), { exchange: '', routingKey: 'q' }, { deadlineMs: 1 })
    const untilMs = performance.now() + 20
    while (performance.now() < untilMs);
    await sent
    expect(await connection.size('q')).toBe(1)
    await connection.close()
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('an ack that waits for others is written by close()', async () => {
  const { connection, connect, deliveries, dispose } = await holdingEight()
  deliveries[0]?.ack()
  await connection.close()
  const later = await connect()
  expect(await later.locate('t0')).toBe('absent')
  expect(await later.size('q')).toBe(7)
  await later.close()
  await dispose()
})
