/** A worker in a terminal that is closed. Only Python's standard library opens a terminal here. */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { python, withoutPython } from '../python.js'
import { Project } from './project.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Starts the worker in a terminal, sends it a task, closes the terminal while that runs, and prints how the worker ended. */
const script = `
import os, pty, subprocess, sys
node, main = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0: os.execv(node, [node, main, '-A', './app.mjs', 'worker', '-c', '1'])
said = b''
def until(text):
    global said
    while text not in said: said += os.read(terminal, 4096)
until(b'ready.')
subprocess.run([node, main, '-A', './app.mjs', 'call', 'patient'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
until(b'started')
os.close(terminal)
status = os.waitpid(pid, 0)[1]
print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status))
`

test.skipIf(withoutPython())(
  'a worker whose terminal is closed lets its task finish, and then ends by SIGHUP',
  { timeout: 90_000 },
  async () => {
    await using project = new Project({
      'app.mjs': `import { existsSync, writeFileSync } from 'node:fs'
import { Celeriac } from 'celeriac'
export const app = new Celeriac('shop')
app.on('workerShuttingDown', () => writeFileSync('told', ''))
app.task('patient', async () => {
  console.log('started')
  while (!existsSync('told')) await new Promise((resolve) => setTimeout(resolve, 10))
  console.log('nobody reads this')
  writeFileSync('ended', '')
})
`,
    })
    writeFileSync(join(project.folder, 'hangup.py'), script)
    const { stdout, stderr } = spawnSync(python(), ['hangup.py', process.execPath, main], {
      cwd: project.folder,
      encoding: 'utf8',
      timeout: 60_000,
    })
    expect({ stdout, stderr }).toEqual({ stdout: '1\n', stderr: '' })
    expect(existsSync(join(project.folder, 'ended'))).toBe(true)
  },
)
