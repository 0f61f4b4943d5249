import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadEngine } from '../../dist/internal/sqlite/engine.js'
import { SqliteTransport } from '../../dist/transports/sqlite.js'
import { type TransportDriver, testTransport } from '../conformance/transport.js'
import { testTransportModel } from '../conformance/transport-model.js'

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
