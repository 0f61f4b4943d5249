import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SqliteTransport } from '../../dist/transports/sqlite.js'
import { testTransport } from '../conformance/transport.js'

testTransport({
  name: 'sqlite',
  open: async (clock) => {
    const directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
    return {
      transport: async () => new SqliteTransport('sqlite://./queue.db', { clock, cwd: directory }),
      dispose: async () => rmSync(directory, { recursive: true }),
    }
  },
})
