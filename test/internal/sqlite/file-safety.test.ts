import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openBackend } from '../../../dist/backends/index.js'
import { systemClock } from '../../../dist/internal/clock.js'
import { prepareDatabaseFile } from '../../../dist/internal/sqlite/file-safety.js'
import { openTransport } from '../../../dist/transports/index.js'

let directory: string
let umask: number

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'celeriac-'))
  umask = process.umask()
})

afterEach(() => {
  process.umask(umask)
  rmSync(directory, { recursive: true })
})

const prepare = (path: string): void => prepareDatabaseFile(path, { allowNetwork: false })
const isRoot = process.getuid?.() === 0

test.each([0, 0o022, 0o077])('everything that is made is for its owner alone, with a umask of %o', async (mask) => {
  process.umask(mask)
  const url = `sqlite://${directory}/made/queue.db`
  const transport = await openTransport(url, { clock: systemClock })
  const connection = await transport.connect({ signal: new AbortController().signal })
  const backend = await openBackend(url, { clock: systemClock })
  try {
    expect((lstatSync(join(directory, 'made')).mode & 0o777).toString(8)).toBe('700')
    const modes = readdirSync(join(directory, 'made')).map((name) => [
      name,
      (lstatSync(join(directory, 'made', name)).mode & 0o777).toString(8),
    ])
    expect(modes.map(([name]) => name)).toEqual(
      expect.arrayContaining(['queue.db', 'queue.db-wal', 'queue.db-shm', 'queue.db-tasks.bell', 'queue.db-reserve']),
    )
    for (const [name, mode] of modes) expect(`${name} ${mode}`).toBe(`${name} 600`)
  } finally {
    await backend.close()
    await connection.close()
  }
})

test('a symbolic link is refused: the file, its directory, or what SQLite makes beside it', () => {
  mkdirSync(join(directory, 'real'), { mode: 0o700 })
  writeFileSync(join(directory, 'real', 'queue.db'), '', { mode: 0o600 })
  symlinkSync(join(directory, 'real', 'queue.db'), join(directory, 'link.db'))
  symlinkSync(join(directory, 'real'), join(directory, 'link'))
  symlinkSync('/nowhere', join(directory, 'dangling'))
  for (const path of ['link.db', 'link/queue.db', 'dangling/queue.db', 'dangling']) {
    expect(() => prepare(join(directory, path)), path).toThrow(
      expect.objectContaining({ code: 'ERR_UNSAFE_FILE', message: expect.stringContaining('symbolic link') }),
    )
  }
  symlinkSync('/etc/passwd', join(directory, 'real', 'queue.db-wal'))
  expect(() => prepare(join(directory, 'real', 'queue.db'))).toThrow(/queue\.db-wal: it is a symbolic link/)
})

test('what others may write to is refused, with the command that helps', () => {
  const path = join(directory, 'queue.db')
  prepare(path)
  chmodSync(path, 0o660)
  expect(() => prepare(path)).toThrow(`Run: chmod 600 ${path}`)
  chmodSync(path, 0o602)
  expect(() => prepare(path)).toThrow(expect.objectContaining({ code: 'ERR_UNSAFE_FILE' }))
  chmodSync(path, 0o644)
  prepare(path)
  chmodSync(directory, 0o777)
  expect(() => prepare(path)).toThrow(`Run: chmod go-w ${directory}`)
})

test.skipIf(!isRoot)('what belongs to another user is refused (needs root to give a file away)', () => {
  const path = join(directory, 'queue.db')
  prepare(path)
  chownSync(path, 12_345, 12_345)
  expect(() => prepare(path)).toThrow('it belongs to the user with id 12345')
  chownSync(path, 0, 0)
  chownSync(directory, 12_345, 12_345)
  expect(() => prepare(path)).toThrow(expect.objectContaining({ code: 'ERR_UNSAFE_FILE' }))
  chownSync(directory, 0, 0)
})

test('a directory in the place of the file, and a file in the place of the directory, are refused', () => {
  mkdirSync(join(directory, 'queue.db'))
  expect(() => prepare(join(directory, 'queue.db'))).toThrow('it is not a file')
  writeFileSync(join(directory, 'plain'), '')
  expect(() => prepare(join(directory, 'plain', 'queue.db'))).toThrow('it is not a directory')
})
