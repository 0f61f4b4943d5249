// @ts-check
// Set-up: what is there is left alone, so that this takes no time when nothing is missing. `--test` adds what the tests need.
// With CI=true a thing that cannot be made is a failure; otherwise a warning, and the tests that need it skip.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

if (!packagesAreCurrent()) {
  process.stderr.write('set-up: npm ci\n')
  const installed = spawnSync('npm', ['ci'], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], shell: process.platform === 'win32' })
  if (installed.status !== 0) process.exit(installed.status ?? 1)
}
if (process.argv.includes('--test')) await makeNeeds()

/** npm keeps what it installed in node_modules/.package-lock.json. Contents are compared, since a checkout changes the times of files. */
function packagesAreCurrent() {
  const installedFile = `${root}/node_modules/.package-lock.json`
  if (!existsSync(installedFile)) return false
  const wanted = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8')).packages
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true
    // Optional packages for other systems are not installed.
    return installed[path] === undefined ? optional === true : installed[path].version === version
  })
}

async function makeNeeds() {
  const { needs, lastLine } = await import('./needs.mjs')
  for (const { what, find, make } of Object.values(needs)) {
    if (find() !== undefined) continue
    process.stderr.write(`set-up: installing ${what}\n`)
    try {
      make()
      if (find() === undefined) throw new Error('it is not there after its installation')
    } catch (error) {
      const fatal = process.env.CI === 'true'
      process.stderr.write(`set-up: ${what} is missing: ${lastLine(error)}${fatal ? '' : '. Tests that need it are skipped.'}\n`)
      if (fatal) process.exit(1)
    }
  }
}
