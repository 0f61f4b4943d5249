/** The folder of an example, copied to where a user would have it: beside a node_modules that has celeriac. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { python } from '../python.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface ExampleOptions {
  /** Of this repository, that the example imports. */
  readonly packages?: readonly string[]
  /** Of all its programs, beside this process' own. */
  readonly env?: Readonly<Record<string, string>>
  /** Each of its programs is killed after so long. */
  readonly deadlineMs?: number
}

interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

export class ExampleProject implements AsyncDisposable {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-example-')))
  readonly #running = new Set<ChildProcess>()
  readonly #env: Readonly<Record<string, string>>
  readonly #deadlineMs: number

  constructor(example: string, { packages = [], env = {}, deadlineMs = 80_000 }: ExampleOptions = {}) {
    this.#env = env
    this.#deadlineMs = deadlineMs
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

  /** A Python program of the example. */
  python(...args: readonly string[]): Promise<Ended> {
    return this.#start(args, python()).ended
  }

  /** Settles when the worker takes tasks. */
  worker(...args: readonly string[]): Promise<void> {
    return this.#ready(this.#start([join(repository, 'dist/cli/main.js'), ...args]))
  }

  /** The same for a worker of Celery. */
  pythonWorker(...args: readonly string[]): Promise<void> {
    return this.#ready(this.#start(['-m', 'celery', ...args], python()))
  }

  async #ready({ child, ended }: Started): Promise<void> {
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

  #start(args: readonly string[], command = process.execPath): Started {
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CELERIAC|CELERY)_/.test(name)))
    const child = spawn(command, args, {
      cwd: this.folder,
      env: { ...own, ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: this.#deadlineMs,
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
