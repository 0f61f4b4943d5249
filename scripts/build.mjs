// @ts-check
// Builds the package into dist/ with tsc, from nothing, so that a deleted source leaves no file behind.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(`${root}/dist`, { recursive: true, force: true })
const built = spawnSync(process.execPath, [`${root}/node_modules/typescript/bin/tsc`, '-p', root], { stdio: 'inherit' })
if (built.status !== 0) process.exit(built.status ?? 1)
const cli = `${root}/dist/cli/main.js`
if (existsSync(cli)) chmodSync(cli, 0o755)
