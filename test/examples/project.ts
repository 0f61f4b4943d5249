/** The folder of an example, copied to where a user would have it: beside a node_modules that has celeriac. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const deadlineMs = 25_000

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class ExampleProject implements AsyncDisposable {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-example-')))
  readonly #running = new Set<ChildProcess>()

  constructor(example: string, { packages = [] }: { readonly packages?: readonly string[] } = {}) {
    cpSync(join(repository, 'examples', example), this.folder, { recursive: true, filter: (path) => !path.endsWith('.celeriac') })
    writeFileSync(join(this.folder, 'package.json'), '{ "type": "module" }')
    mkdirSync(join(this.folder, 'node_modules'))
    symlinkSync(repository, join(this.folder, 'node_modules/celeriac'))
    for (const name of packages) symlinkSync(join(repository, 'node_modules', name), join(this.folder, 'node_modules', name))
  }

  /** `celeriac ...args` */
  celeriac(...args: readonly string[]): Promise<Ended> {
    return this.#start([join(repository, 'dist/cli/main.js'), ...args]).ended
  }

  /** A TypeScript file as a program. */
  script(file: string): Promise<Ended> {
    return this.#start([join(repository, 'node_modules/jiti/lib/jiti-cli.mjs'), file]).ended
  }

  /** Settles when the worker takes tasks. */
  async worker(...args: readonly string[]): Promise<void> {
    const { child, ended } = this.#start([join(repository, 'dist/cli/main.js'), ...args])
    let said = ''
    child.stderr?.on('data', (text: string) => {
      said += text
    })
    while (!said.includes('ready.')) {
      const over = await Promise.race([ended, once(child.stderr ?? child, 'data')])
      if (!Array.isArray(over)) throw new Error(`the worker ended before it was ready: ${over.stderr}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) {
      child.kill('SIGTERM')
      await once(child, 'close')
    }
    rmSync(this.folder, { recursive: true })
  }

  #start(args: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CELERIAC|CELERY)_/.test(name)))
    const child = spawn(process.execPath, args, {
      cwd: this.folder,
      env: own,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: deadlineMs,
      killSignal: 'SIGKILL',
    })
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
    return { child, ended }
  }
}
