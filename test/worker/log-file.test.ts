import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LogFile } from '../../dist/worker/log-file.js'
import { until } from '../conformance/wait.js'

test('lines are added to the file, and to a new one of its name when it was renamed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-log-'))
  try {
    const path = join(folder, 'deep/worker.log')
    const [log, other] = [new LogFile(path), new LogFile(path)]
    log.write('one\n')
    other.write('two\n')
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
    renameSync(path, `${path}.1`)
    await until(
      () => {
        log.write('more\n')
        try {
          return readFileSync(path, 'utf8').startsWith('more\n')
        } catch {
          return false
        }
      },
      'a new file',
      20_000,
    )
    expect(readFileSync(`${path}.1`, 'utf8')).toMatch(/^one\ntwo\n(more\n)+$/)
    log.close()
    other.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a line for which there is no room stops nobody', () => {
  // What every write to it meets is a full disk.
  const log = new LogFile('/dev/full')
  log.write('one\n')
  log.write('two\n')
  log.close()
})
