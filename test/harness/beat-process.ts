/** A beat as a user starts it: `celeriac -A app beat`, in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { until, within } from '../conformance/wait.js'
import { cleanEnvironment } from './worker-process.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface BeatSettings {
  readonly app: string
  readonly folder: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

interface LogLine {
  readonly time: string
  readonly msg: string
  readonly id?: string
}

export class BeatProcess {
  output = ''
  readonly exited: Promise<unknown>
  readonly #child: ChildProcess

  constructor({ app, folder, args = [], env = {} }: BeatSettings) {
    this.#child = spawn(process.execPath, [main, '-A', app, 'beat', '--log-format', 'json', ...args], {
      cwd: folder,
      env: { ...cleanEnvironment(), FAULTS_FOLDER: folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    this.exited = once(this.#child, 'exit')
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the beat could not be started')
    return this.#child.pid
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  log(): readonly LogLine[] {
    const complete = this.output.split('\n').filter((text) => text.startsWith('{"level":') && text.endsWith('}'))
    return complete.map((text) => JSON.parse(text))
  }

  /** How often it has begun to lead. */
  get led(): number {
    return this.log().filter(({ msg }) => msg.startsWith('beat: leading')).length
  }

  /** When it last said that it sends something; undefined when it has not. */
  get lastSentMs(): number | undefined {
    const last = this.log().findLast(({ msg }) => msg.startsWith('Scheduler: Sending'))
    return last === undefined ? undefined : Date.parse(last.time)
  }

  async says(text: string, ms = 40_000): Promise<void> {
    await until(() => this.output.includes(text) || !this.isRunning, `the beat says ${text}`, ms).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.output.slice(-3_000)}`)
    })
    if (!this.output.includes(text)) throw new Error(`the beat ended before it said ${text}\n${this.output.slice(-3_000)}`)
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name)
  }

  async end(name: NodeJS.Signals = 'SIGTERM', ms = 30_000): Promise<void> {
    if (this.isRunning) {
      // One that is stopped hears nothing else.
      if (name !== 'SIGKILL') this.signal('SIGCONT')
      this.signal(name)
    }
    await within(this.exited, `the exit of the beat after ${name}\n${this.output.slice(-2_000)}`, ms)
  }
}
