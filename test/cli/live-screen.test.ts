/** The live screen on a real terminal: what is seen, what keys do, and that the terminal is left as it was. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { needs } from '../../scripts/needs.mjs'
import { until } from '../conformance/wait.js'
import { cleanEnvironment } from '../harness/worker-process.js'
import { Project, shop } from './project.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const deadlineMs = 30_000

/** Why it cannot run here, false when it can. In CI it must. */
function withoutTmux(): string | false {
  if (needs.tmux?.find() !== undefined) return false
  const reason = 'there is no tmux: run node scripts/install.mjs --test'
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(reason)
  return reason
}

/** A terminal with a shell in it, that nobody looks at. */
class Terminal implements Disposable {
  readonly #socket: string

  constructor(folder: string) {
    this.#socket = join(folder, 'tmux')
    const size = ['-x', '100', '-y', '24']
    this.#tmux('-f', '/dev/null', 'new-session', '-d', ...size, '-c', folder, 'env', 'PS1=$ ', 'sh')
  }

  #tmux(...args: readonly string[]): string {
    return execFileSync('tmux', ['-S', this.#socket, ...args], { encoding: 'utf8', env: cleanEnvironment() })
  }

  type(...keys: readonly string[]): void {
    this.#tmux('send-keys', ...keys)
  }

  get screen(): string {
    return this.#tmux('capture-pane', '-p')
  }

  resize(columns: number, rows: number): void {
    this.#tmux('resize-window', '-x', String(columns), '-y', String(rows))
  }

  /** Which program has the terminal, whether a full screen stands over what was there, and whether the cursor is seen. */
  get state(): { readonly program: string; readonly isFull: boolean; readonly hasCursor: boolean } {
    const [program = '', alternate, cursor] = this.#tmux('display', '-p', '#{pane_current_command} #{alternate_on} #{cursor_flag}')
      .trim()
      .split(' ')
    return { program, isFull: alternate === '1', hasCursor: cursor === '1' }
  }

  async shows(text: string | RegExp): Promise<void> {
    let seen = ''
    const look = (): boolean => {
      seen = this.screen
      return typeof text === 'string' ? seen.includes(text) : text.test(seen)
    }
    await until(look, `the screen shows ${text}`, deadlineMs).catch((cause) => {
      throw new Error(`it shows\n${seen}`, { cause })
    })
  }

  [Symbol.dispose](): void {
    this.#tmux('kill-server')
  }
}

const skipped = withoutTmux()

describe.skipIf(skipped)(`celeriac events on a terminal${skipped === false ? '' : ` (skipped: ${skipped})`}`, () => {
  test('workers and tasks are seen as they change, a task is looked at, and the terminal is left as it was', async () => {
    await using project = new Project({ 'tasks.ts': shop })
    const broker = `sqlite://${join(project.folder, 'queue.db')}`
    await using app = new Celeriac('shop', { broker, workerSendTaskEvents: true, workerHeartbeatInterval: '500ms' })
    const greet = app.task('greet', (name: string): string => `hello ${name}`)
    await using _worker = await app.worker({ pool: 'async', hostname: 'one@here' }).start()
    using terminal = new Terminal(project.folder)
    // A short line, wherever the checkout and the temporary folder lie: a terminal breaks a long one in two.
    writeFileSync(join(project.folder, 'live'), `exec ${process.execPath} ${main} -b ${broker} events\n`)
    const start = (): void => terminal.type('sh live', 'Enter')

    await terminal.shows(/^\$/m)
    start()
    await terminal.shows(/workers 1\/1.*\n(.*\n)*.*one@here +● online/)
    const ids: string[] = []
    for (const name of ['ada', 'grace']) {
      const sent = await greet.delay(name)
      await sent.get()
      ids.push(sent.id)
    }
    await terminal.shows(new RegExp(`> ${ids[1]}  greet .*✓ SUCCESS\\n  ${ids[0]}  greet .*✓ SUCCESS`))
    expect(terminal.state).toEqual({ program: 'node', isFull: true, hasCursor: false })
    terminal.type('j')
    await terminal.shows(`> ${ids[0]}`)
    terminal.type('i')
    await terminal.shows(new RegExp(`Task ${ids[0]}\\n(.*\\n)*result +'hello ada'`))
    terminal.type('x')
    await terminal.shows(`> ${ids[0]}`)
    terminal.type('l')
    await terminal.shows('Rate limit of greet')
    terminal.type('5/m', 'Enter')
    await terminal.shows('one@here: new rate limit set successfully')
    terminal.resize(60, 10)
    await terminal.shows(/^workers 1\/1[^\n]*\n(.*\n){8}.*\n?$/)
    terminal.resize(100, 24)
    terminal.type('q')
    await until(() => terminal.state.program !== 'node', 'the program has ended', deadlineMs)
    expect(terminal.state).toMatchObject({ isFull: false, hasCursor: true })
    // What was there before is seen again, and what is typed, too.
    terminal.type('echo ended with $?', 'Enter')
    await terminal.shows(/ sh live\n(.*\n)*\$ echo ended with \$\?\nended with 0/)

    start()
    await until(() => terminal.state.isFull, 'the screen is there again', deadlineMs)
    terminal.type('C-c')
    await until(() => !terminal.state.isFull, 'the terminal is as it was', deadlineMs)
  }, 90_000)
})
