/** Programs whose output nobody reads any more: `celeriac worker | head`, a terminal that was closed, a log on a full disk. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { within } from '../conformance/wait.js'
import { cleanEnvironment } from '../harness/worker-process.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'celeriac-output-'))

beforeAll(() => {
  writeFileSync(
    join(folder, 'app.mjs'),
    `import { Celeriac } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
export const app = new Celeriac('talkative')
app.task('talk', (words) => { for (const word of words) { console.log(word); console.error(word) } return words.length })
`,
  )
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(...args: string[]): ChildProcess {
  return spawn(process.execPath, [main, '-A', './app.mjs', ...args], {
    cwd: folder,
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

test('a worker goes on when nobody reads what it and its tasks write', async () => {
  const worker = run('worker', '-c', '1', '--log-format', 'human', '-l', 'debug')
  const exit = once(worker, 'exit')
  const app = new Celeriac('talkative', { broker: `sqlite://${folder}/.celeriac/queue.db` })
  try {
    const call = () => app.sendTask<number>('talk', { args: [['one', 'two']] }).get({ timeout: 30 })
    expect(await call()).toBe(2)
    worker.stdout?.destroy()
    worker.stderr?.destroy()
    for (let n = 0; n < 3; n++) expect(await call()).toBe(2)
    expect(await app.deadLetters.list()).toEqual([])
    worker.kill('SIGTERM')
    expect(await within(exit, 'the end of the worker', 30_000)).toEqual([0, null])
  } finally {
    worker.kill('SIGKILL')
    await app.close()
  }
}, 90_000)

test('a command whose answer nobody reads ends without a word', async () => {
  const command = run('inspect-config', '--json')
  const exit = once(command, 'exit')
  let said = ''
  command.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  command.stdout?.destroy()
  expect(await within(exit, 'the end of the command', 30_000)).toEqual([0, null])
  expect(said).toBe('')
}, 60_000)
