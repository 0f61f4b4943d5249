import { MemoryTransport } from '../../dist/transports/memory.js'
import { testTransport } from '../conformance/transport.js'

let brokers = 0

testTransport({
  name: 'memory',
  open: async (clock) => {
    const url = `memory://broker-${++brokers}`
    return { transport: async () => new MemoryTransport(url, { clock }), dispose: async () => {} }
  },
})
