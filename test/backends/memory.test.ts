import { MemoryBackend } from '../../dist/backends/memory.js'
import { testBackend } from '../conformance/backend.js'

let stores = 0

testBackend({
  name: 'memory',
  open: async (clock) => {
    const url = `memory://store-${++stores}`
    return { backend: async () => new MemoryBackend(url, { clock }), dispose: async () => {} }
  },
})
