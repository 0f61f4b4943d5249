import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testTransportProcesses } from '../conformance/transport-processes.js'

testTransportProcesses({
  name: 'sqlite',
  open: async () => {
    const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
    return {
      url: `sqlite://${directory}/queue.db?lease_ttl=1&sweep_interval=0.1&delivery_limit=5`,
      dispose: async () => rmSync(directory, { recursive: true }),
    }
  },
})
