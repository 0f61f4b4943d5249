import { expect, test } from 'vitest'
import { DriverNotInstalledError } from '../../dist/errors.js'
import { importPeer } from '../../dist/internal/import-peer.js'

test('an optional package is loaded on first use', async () => {
  expect(await importPeer<{ parse(text: string): unknown }>('YAML', 'yaml')).toHaveProperty('parse')
})

test('a package that is missing is told with the command that installs it', async () => {
  const attempt = importPeer('the thing', 'no-such-package-of-celeriac')
  await expect(attempt).rejects.toThrow(DriverNotInstalledError)
  await expect(attempt).rejects.toThrow(
    'the thing needs the "no-such-package-of-celeriac" package. Run: npm install no-such-package-of-celeriac',
  )
})

test('an error of a package that is there is not taken for its absence', async () => {
  await expect(importPeer('the thing', 'data:text/javascript,throw new RangeError("broken")')).rejects.toThrow(RangeError)
  await expect(importPeer('the thing', 'data:text/javascript,import "no-such-package-of-celeriac"')).rejects.not.toThrow(
    DriverNotInstalledError,
  )
})
