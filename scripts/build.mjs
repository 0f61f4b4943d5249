// @ts-check
// Builds the package into dist/ from nothing, so that a deleted source leaves no file behind: tsc checks and writes the declarations, and at the same
// time the code is put into chunks.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bundle } from './bundle.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const outDir = `${root}dist`
rmSync(outDir, { recursive: true, force: true })
const tsc = spawn(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', root, '--emitDeclarationOnly'], { stdio: 'inherit' })
const [[status]] = await Promise.all([once(tsc, 'close'), bundle({ root, outDir })])
chmodSync(`${outDir}/cli/main.js`, 0o755)
process.exitCode = status ?? 1
