import { expect, test } from 'vitest'
import { MemoryBackend } from '../../dist/backends/memory.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { type BackendDriver, testBackend } from '../conformance/backend.js'
import { testChords } from '../conformance/chords.js'

let stores = 0

const driver: BackendDriver = {
  name: 'memory',
  open: async (clock) => {
    const url = `memory://store-${++stores}`
    return { backend: async () => new MemoryBackend(url, { clock }), dispose: async () => {} }
  },
}
testBackend(driver)
testChords(driver)

test('results that have expired take no memory, though nobody cleans up', async () => {
  const clock = new VirtualClock()
  const backend = new MemoryBackend('memory://expires', { clock })
  const storeMany = async (name: string) => {
    for (let index = 0; index < 5_000; index++) {
      const meta = { taskId: `${name}${index}`, status: 'SUCCESS', result: 1, traceback: null, children: [], dateDone: null }
      await backend.store(meta, { expiresSeconds: 60 })
    }
  }
  await storeMany('old')
  await clock.moveTo(clock.now() + 61_000)
  await storeMany('new')
  expect(await backend.get('new0')).toMatchObject({ result: 1 })
  // Nothing is left for it to remove.
  expect(await backend.cleanup({ nowMs: clock.now() })).toBe(0)
  await backend.close()
})
