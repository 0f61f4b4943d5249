/** The folder of an example, copied to where a user would have it: beside a node_modules that has celeriac. */
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Ended, type Program, Programs } from '../harness/programs.js'
import { python } from '../python.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))

export interface ExampleOptions {
  /** Of this repository, that the example imports. */
  readonly packages?: readonly string[]
  /** Of all its programs, beside this process' own. */
  readonly env?: Readonly<Record<string, string>>
  /** Each of its programs is killed after so long. */
  readonly deadlineMs?: number
}

export class ExampleProject implements AsyncDisposable {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-example-')))
  readonly #programs = new Programs(this.folder)
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
    return this.#start([join(repository, 'dist/cli/main.js'), ...args]).says('ready.')
  }

  /** The same for a worker of Celery. */
  pythonWorker(...args: readonly string[]): Promise<void> {
    return this.#start(['-m', 'celery', ...args], python()).says('ready.')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#programs.end('SIGTERM')
    rmSync(this.folder, { recursive: true })
  }

  #start(args: readonly string[], command?: string): Program {
    return this.#programs.start(args, { env: this.#env, timeoutMs: this.#deadlineMs, ...(command === undefined ? {} : { command }) })
  }
}
