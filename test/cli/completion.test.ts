import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { commandTable } from '../../dist/cli/command-table.js'
import { shells } from '../../dist/cli/completion/scripts.js'
import { suggest } from '../../dist/cli/completion/suggest.js'
import { until } from '../conformance/wait.js'
import { Project, shop } from './project.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const named: (string | undefined)[] = []

const values = async (line: string): Promise<string[]> => {
  const found = await suggest(line, (app) => {
    named.push(app)
    return { tasks: async () => ['mail.send', 'add'], queues: async () => ['celery', 'mail'] }
  })
  return found.map(({ value }) => value)
}

test('commands, also of half a word', async () => {
  expect(await values('celeriac ')).toEqual(commandTable.map(({ name }) => name))
  expect(await values('celeriac work')).toEqual(['worker'])
  expect(await values('celeriac --quiet work')).toEqual(['worker'])
})

test('flags of the command, and of every command', async () => {
  expect(await values('celeriac worker --con')).toEqual(['--concurrency'])
  expect(await values('celeriac worker --app x --verb')).toEqual(['--verbose'])
  expect(await values('celeriac worker --det')).toEqual(['--detach'])
  expect(await values('celeriac multi start 2 --prefetch')).toEqual(['--prefetch-multiplier'])
})

test('values that are one of a few', async () => {
  expect(await values('celeriac worker -P ')).toEqual(['prefork', 'threads', 'async', 'solo'])
  expect(await values('celeriac worker --pool=a')).toEqual(['--pool=async'])
  expect(await values('celeriac worker -c ')).toEqual([])
  expect(await values('celeriac schedule p')).toEqual(['pause'])
  expect(await values('celeriac multi st')).toEqual(['start', 'stop', 'stopwait'])
  expect(await values('celeriac inspect active')).toEqual(['active', 'active_queues'])
  expect(await values('celeriac completion f')).toEqual(['fish'])
})

test('tasks and queues of the app that the line names', async () => {
  expect(await values('celeriac -A ./shop.ts call m')).toEqual(['mail.send'])
  expect(named.at(-1)).toBe('./shop.ts')
  expect(await values("celeriac call --app='./my shop.ts' ")).toEqual(['mail.send', 'add'])
  expect(named.at(-1)).toBe('./my shop.ts')
  expect(await values('celeriac worker -Q mail,')).toEqual(['mail,celery'])
  expect(await values('celeriac control rate_limit a')).toEqual(['add'])
  expect(await values('celeriac control add_consumer c')).toEqual(['celery'])
  expect(await values('celeriac call add ')).toEqual([])
})

test('bash completes with the script that it is given, past = and :', async () => {
  await using project = new Project({ 'tasks.ts': `${shop}\nconsole.log('these words are no suggestion')\n` })
  writeFileSync(join(project.folder, 'celeriac'), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`)
  chmodSync(join(project.folder, 'celeriac'), 0o755)
  writeFileSync(
    join(project.folder, 'try.sh'),
    `source <(celeriac completion bash)
for line in "$@"; do
  COMP_LINE="$line" COMP_POINT=\${#line} COMP_WORDS=(celeriac) COMPREPLY=()
  _celeriac
  (IFS=,; echo "\${COMPREPLY[*]}")
done
`,
  )
  const lines = ['celeriac wor', 'celeriac worker --pool=pre', 'celeriac -A ./ta']
  const env = { ...process.env, PATH: `${project.folder}:${process.env.PATH}` }
  const { stdout } = await promisify(execFile)('bash', ['try.sh', ...lines], { cwd: project.folder, env, timeout: 60_000 })
  expect(stdout.split('\n').slice(0, 3)).toEqual(['worker', 'prefork', './tasks.ts'])
  // None, where loading the app takes long.
  const ofApp = async (): Promise<boolean> => (await project.run(['completion', '--suggest', 'celeriac call gr'])).stdout === 'greet\t\n'
  await until(ofApp, 'the tasks of the app', 30_000)
  for (const shell of shells) {
    const found = spawnSync(shell, ['-c', 'true']).status === 0
    const { code, stdout: script } = await project.run(['completion', shell])
    expect(code).toBe(0)
    // Where the shell is there, it reads the script without a complaint.
    writeFileSync(join(project.folder, 'script'), script)
    if (found)
      expect(spawnSync(shell, ['-n', 'script'], { cwd: project.folder, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
  }
}, 60_000)
