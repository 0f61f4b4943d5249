import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openBackend } from '../../dist/backends/index.js'
import { SqliteBackend } from '../../dist/backends/sqlite.js'
import { systemClock } from '../../dist/internal/clock.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { type BackendDriver, meta, testBackend } from '../conformance/backend.js'
import { testChords } from '../conformance/chords.js'
import { expectOneWinnerEach } from './race.js'

const driver: BackendDriver = {
  name: 'sqlite',
  open: async (clock) => {
    const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
    return {
      backend: () => SqliteBackend.open('sqlite://./queue.db', { clock, cwd: directory }),
      dispose: async () => rmSync(directory, { recursive: true }),
    }
  },
}
testBackend(driver)
testChords(driver)

test('what has expired goes while new results come, without anybody asking', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const clock = new VirtualClock()
  const backend = await SqliteBackend.open('sqlite://./queue.db', { clock, cwd: directory })
  const storeMany = (prefix: string): Promise<unknown> =>
    Promise.all(Array.from({ length: 500 }, (_, index) => backend.store(meta(`${prefix}-${index}`), { expiresSeconds: 10 })))
  await storeMany('old')
  await clock.moveTo(clock.now() + 10_000)
  for (let round = 0; round < 5; round++) await storeMany(`new${round}`)
  // Whatever was not removed on the way, a full cleanup still finds.
  expect(await backend.cleanup({ nowMs: clock.now() })).toBe(0)
  await backend.close()
  rmSync(directory, { recursive: true })
})

test('of two processes that end the same 1 000 tasks, one wins each, and a wait in a third sees every winner', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const url = `sqlite://${directory}/queue.db`
  const backend = await openBackend(url, { clock: systemClock })
  try {
    await expectOneWinnerEach(url, backend)
  } finally {
    await backend.close()
    rmSync(directory, { recursive: true })
  }
})
