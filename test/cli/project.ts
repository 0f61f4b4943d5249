/** A project of a user's in a folder of its own, and the command line run in it as a process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const deadlineMs = 60_000

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Project implements AsyncDisposable {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-cli-')))
  readonly #running = new Set<ChildProcess>()

  constructor(files: Record<string, string>) {
    for (const [path, content] of Object.entries({ 'package.json': '{ "type": "module" }', ...files })) {
      mkdirSync(dirname(join(this.folder, path)), { recursive: true })
      writeFileSync(join(this.folder, path), content)
    }
    mkdirSync(join(this.folder, 'node_modules'))
    symlinkSync(repository, join(this.folder, 'node_modules/celeriac'))
  }

  /** Starts `celeriac ...args`; its environment has none of the machine's own options. */
  start(
    args: readonly string[],
    env: Record<string, string> = {},
    { timeoutMs = deadlineMs, input }: { readonly timeoutMs?: number; readonly input?: string } = {},
  ): { readonly child: ChildProcess; readonly ended: Promise<Ended>; says(text: string, where?: 'stderr' | 'stdout'): Promise<void> } {
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CELERIAC|CELERY)_/.test(name)))
    const child = spawn(process.execPath, [join(repository, 'dist/cli/main.js'), ...args], {
      cwd: this.folder,
      env: { ...own, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
    })
    child.stdin.end(input)
    this.#running.add(child)
    const output = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        output[stream] += text
      })
    }
    const ended = once(child, 'close').then(([code]) => {
      this.#running.delete(child)
      return { code: typeof code === 'number' ? code : null, ...output }
    })
    const says = async (text: string, where: 'stderr' | 'stdout' = 'stderr'): Promise<void> => {
      while (!output[where].includes(text)) {
        const over = await Promise.race([ended, once(child[where], 'data')])
        if (!Array.isArray(over)) throw new Error(`it ended before it said ${JSON.stringify(text)}: ${over[where]}`)
      }
    }
    return { child, ended, says }
  }

  run(args: readonly string[], env?: Record<string, string>, input?: string): Promise<Ended> {
    return this.start(args, env, input === undefined ? {} : { input }).ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) {
      child.kill('SIGKILL')
      await once(child, 'close')
    }
    rmSync(this.folder, { recursive: true })
  }
}

export const shop = `import { Celeriac } from 'celeriac'
export const app = new Celeriac('shop', { resultExpires: '2h' })
export const add = app.task('add', (x: number, y: number): number => x + y)
export const greet = app.task('greet', { params: ['name'] }, (name: string): string => 'hello ' + name)
export const fail = app.task('fail', (): void => { throw new TypeError('no way') })
`
