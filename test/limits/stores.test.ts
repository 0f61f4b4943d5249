import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { openLimitStore } from '../../dist/limits/index.js'
import { testLimitStore } from '../conformance/limit-store.js'

testLimitStore({
  name: 'memory',
  open: async (clock) => ({ store: () => openLimitStore('memory://limits', { clock }), dispose: async () => undefined }),
})

testLimitStore({
  name: 'sqlite',
  open: async (clock) => {
    const cwd = mkdtempSync(join(tmpdir(), 'celeriac-'))
    return {
      store: () => openLimitStore('sqlite://./queue.db', { clock, cwd }),
      dispose: async () => rmSync(cwd, { recursive: true }),
    }
  },
})

test('an address that cannot keep limits is refused, without its password', async () => {
  await expect(openLimitStore(undefined, { clock: systemClock })).rejects.toThrow('Set limitStore to')
  await expect(openLimitStore('amqp://me:secret@host', { clock: systemClock })).rejects.toThrow(/"redis:".* got: "amqp:\/\/me:\*\*@host"/)
})
