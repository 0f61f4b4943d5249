/** A project of a user's in a folder of its own, and the command line run in it as a process. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Ended, type Program, Programs } from '../harness/programs.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const deadlineMs = 60_000

export class Project implements AsyncDisposable {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-cli-')))
  readonly #programs = new Programs(this.folder)

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
  ): Program {
    return this.#programs.start([join(repository, 'dist/cli/main.js'), ...args], { env, timeoutMs, input })
  }

  run(args: readonly string[], env?: Record<string, string>, input?: string): Promise<Ended> {
    return this.start(args, env, input === undefined ? {} : { input }).ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#programs.end('SIGKILL')
    rmSync(this.folder, { recursive: true })
  }
}

export const shop = `import { Celeriac } from 'celeriac'
export const app = new Celeriac('shop', { resultExpires: '2h' })
export const add = app.task('add', (x: number, y: number): number => x + y)
export const greet = app.task('greet', { params: ['name'] }, (name: string): string => 'hello ' + name)
export const fail = app.task('fail', (): void => { throw new TypeError('no way') })
`
