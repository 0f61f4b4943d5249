import { MemoryTransport } from '../../dist/transports/memory.js'
import { type TransportDriver, testTransport } from '../conformance/transport.js'
import { testTransportModel } from '../conformance/transport-model.js'

let brokers = 0

const driver: TransportDriver = {
  name: 'memory',
  open: async (clock) => {
    const url = `memory://broker-${++brokers}?delivery_limit=5`
    return { transport: async () => new MemoryTransport(url, { clock }), dispose: async () => {} }
  },
}

testTransport(driver)
testTransportModel(driver, { runs: 150 })
