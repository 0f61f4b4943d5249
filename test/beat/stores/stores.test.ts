import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openScheduleStore } from '../../../dist/beat/stores/index.js'
import { systemClock } from '../../../dist/internal/clock.js'
import { testScheduleStore } from '../../conformance/schedule-store.js'

const log = { debug() {}, info() {}, warn() {}, error() {} }

testScheduleStore({
  name: 'memory',
  open: async (clock) => ({ store: (app = 'shop') => openScheduleStore('memory://', { app, clock, log }), dispose: async () => undefined }),
})

for (const url of ['sqlite://./queue.db', 'file://./schedules.json']) {
  testScheduleStore({
    name: url.slice(0, url.indexOf(':')),
    open: async (clock) => {
      const cwd = mkdtempSync(join(tmpdir(), 'celeriac-'))
      return {
        store: (app = 'shop') => openScheduleStore(url, { app, clock, log, cwd }),
        dispose: async () => rmSync(cwd, { recursive: true }),
      }
    },
  })
}

test('apps that share a database have their own schedules and leaders', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const stores = await Promise.all(
    ['shop', 'mail'].map((app) => openScheduleStore('sqlite://./queue.db', { app, clock: systemClock, log, cwd })),
  )
  try {
    const [shop, mail] = stores
    await shop?.write({ entries: [{ name: 'a', from: 0, data: '1' }] })
    expect(await mail?.entries(0)).toEqual([])
    expect([(await shop?.lead('one', 60_000))?.leads, (await mail?.lead('two', 60_000))?.leads]).toEqual([true, true])
  } finally {
    for (const store of stores) await store.close()
    rmSync(cwd, { recursive: true })
  }
})

test('a damaged file of schedules is put aside with a word, and a new one is made', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'celeriac-'))
  const errors: unknown[] = []
  const options = {
    app: 'shop',
    clock: systemClock,
    cwd,
    log: { ...log, error: (_: unknown, message?: string) => void errors.push(message) },
  }
  try {
    writeFileSync(join(cwd, 'schedules.json'), '{"format": 1, "ent', { mode: 0o600 })
    const store = await openScheduleStore('file://./schedules.json', options)
    expect(await store.entries(0)).toEqual([])
    await store.close()
    expect(errors).toEqual([expect.stringContaining('is damaged: it was moved to')])
    const aside = readdirSync(cwd).find((name) => name.includes('.damaged-')) ?? ''
    expect(readFileSync(join(cwd, aside), 'utf8')).toBe('{"format": 1, "ent')
  } finally {
    rmSync(cwd, { recursive: true })
  }
})

test('a file of schedules of a newer version is refused and left as it is', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'celeriac-'))
  try {
    writeFileSync(join(cwd, 'schedules.json'), '{"format": 99}', { mode: 0o600 })
    await expect(openScheduleStore('file://./schedules.json', { app: 'shop', clock: systemClock, log, cwd })).rejects.toMatchObject({
      code: 'ERR_DATABASE_UNUSABLE',
      message: expect.stringContaining('format 99'),
    })
    expect(readFileSync(join(cwd, 'schedules.json'), 'utf8')).toBe('{"format": 99}')
  } finally {
    rmSync(cwd, { recursive: true })
  }
})

test('a lock that a killed process has left is broken', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'celeriac-'))
  try {
    const store = await openScheduleStore('file://./schedules.json', { app: 'shop', clock: systemClock, log, cwd })
    const { identifyThisProcess } = await import('../../../dist/internal/process-identity.js')
    writeFileSync(join(cwd, 'schedules.json.lock'), JSON.stringify({ ...identifyThisProcess(), pid: 2 ** 22 + 1 }))
    expect((await store.write({ entries: [{ name: 'a', from: 0, data: '1' }] })).status).toBe('written')
    await store.close()
  } finally {
    rmSync(cwd, { recursive: true })
  }
})

test('addresses that are none are refused in words', async () => {
  const options = { app: 'shop', clock: systemClock, log }
  await expect(openScheduleStore('sqlit://', options)).rejects.toThrow('Did you mean "sqlite:"?')
  await expect(openScheduleStore('postgres://user:secret@host/db', options)).rejects.toMatchObject({ code: 'ERR_NOT_SUPPORTED' })
})
