import { MemoryBackend } from '../../dist/backends/memory.js'
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
