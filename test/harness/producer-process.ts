/** A producer that may be killed: its lines are its ledger. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { within } from '../conformance/wait.js'
import type { Scene } from './scene.js'
import { cleanEnvironment } from './worker-process.js'

const script = fileURLToPath(new URL('../faults/fixtures/producer.mjs', import.meta.url))

/** Sends `count` calls, five at a time, and enters them into the scene's ledger; how it ended, and what it said of errors. */
export async function produce(
  scene: Scene,
  count: number,
  call: readonly [task: string, ...args: readonly unknown[]],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly errors: string }> {
  const [task, ...args] = call
  const child = spawn(process.execPath, [script, String(count), task, ...args.map((arg) => JSON.stringify(arg))], {
    cwd: scene.folder,
    env: { ...cleanEnvironment(), FAULTS_FOLDER: scene.folder, CELERIAC_BROKER_URL: scene.url, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text
    })
  }
  const [code, signal] = await within(once(child, 'close'), 'the end of the producer')
  for (const [, what, id] of said.stdout.matchAll(/^(attempted|confirmed) (\S+)$/gm)) {
    if (id !== undefined) scene.ledger[what === 'attempted' ? 'attempted' : 'confirmed'].add(id)
  }
  return { code, signal, errors: said.stderr }
}
