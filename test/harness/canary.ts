/** A password that must not be seen, the forms in which it might be, and where to look. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { expect } from 'vitest'
import { within } from '../conformance/wait.js'
import { cleanEnvironment, processesOf } from './worker-process.js'

export const user = 'shop'
export const canary = 'kAn4ry/Zwei+drei'
const forms = [
  canary,
  encodeURIComponent(canary),
  encodeURIComponent(canary).toLowerCase(),
  JSON.stringify(canary).slice(1, -1).replaceAll('/', '\\/'),
  Buffer.from(canary).toString('base64').replace(/=+$/, ''),
  Buffer.from(`${user}:${canary}`).toString('base64').replace(/=+$/, ''),
  'kAn4ry',
]

/** Fails where the text shows the password in any form. */
export function expectNone(text: string, where: string): void {
  for (const form of forms) if (text.includes(form)) expect.fail(`${where} shows the password as ${form}:\n${text.slice(0, 2_000)}`)
}

/** All that an error may tell of itself. */
export function everything(error: unknown): string {
  return [
    inspect(error, { depth: 10, showHidden: true }),
    String(error),
    error instanceof Error ? error.stack : '',
    JSON.stringify(error),
  ].join('\n')
}

/** In what `ps` shows of the scene's processes. */
export function expectNoneInProcesses(folder: string): void {
  for (const pid of processesOf(folder)) {
    for (const file of ['cmdline', 'comm']) expectNone(readFileSync(join('/proc', String(pid), file), 'utf8'), `ps, ${file}`)
  }
}

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const app = fileURLToPath(new URL('../faults/fixtures/app.mjs', import.meta.url))

/** A command of the CLI to its end: what it said. */
export async function run(folder: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  const child = spawn(process.execPath, [main, '-A', app, ...args], {
    cwd: folder,
    env: { ...cleanEnvironment(), FAULTS_FOLDER: folder, CELERIAC_BROKER_CONNECTION_RETRY_ON_STARTUP: 'false', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  await within(once(child, 'close'), `the end of ${args[0]}`, 60_000)
  return output
}
