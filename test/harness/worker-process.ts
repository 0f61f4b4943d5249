/** A worker as a user starts it: `celeriac -A app worker`, in a process group of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { until, within } from '../conformance/wait.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface WorkerSettings {
  readonly app: string
  readonly folder: string
  /** `-P`; prefork by default. */
  readonly pool?: 'prefork' | 'threads' | 'async' | 'solo'
  /** `-c`; 2 by default. */
  readonly concurrency?: number
  /** Further arguments of the command. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly [field: string]: unknown
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The environment of this process without the options of celeriac that it may have. */
export function cleanEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(([name, value]) => value !== undefined && !/^(CELERIAC|CELERY)_/.test(name))
  return Object.fromEntries(kept) as Record<string, string> // the undefined ones are filtered out
}

export class WorkerProcess {
  /** All that it and its children wrote. */
  output = ''
  readonly exited: Promise<Exit>
  readonly #child: ChildProcess

  constructor({ app, folder, pool = 'prefork', concurrency = 2, args = [], env = {} }: WorkerSettings) {
    const flags = ['-A', app, 'worker', '-P', pool, '-c', String(concurrency), '--log-format', 'json', ...args]
    this.#child = spawn(process.execPath, [main, ...flags], {
      cwd: folder,
      env: { ...cleanEnvironment(), FAULTS_FOLDER: folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    // 'exit' and not 'close': children that outlive it would hold its pipes open, and are what some tests look for.
    this.exited = once(this.#child, 'exit').then(([code, signal]) => ({ code, signal }))
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the worker could not be started')
    return this.#child.pid
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Its log lines, as they are so far. */
  log(): readonly LogLine[] {
    const lines: LogLine[] = []
    for (const text of this.output.split('\n')) {
      if (!text.startsWith('{"level":') || !text.endsWith('}')) continue
      lines.push(JSON.parse(text))
    }
    return lines
  }

  async says(text: string | RegExp, ms?: number): Promise<void> {
    const said = (): boolean => (typeof text === 'string' ? this.output.includes(text) : text.test(this.output))
    try {
      await until(() => said() || !this.isRunning, `the worker says ${text}`, ms)
      if (!said()) throw new Error(`the worker ended before it said ${text}`)
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${this.output.slice(-4_000)}`)
    }
  }

  async ready(): Promise<this> {
    await this.says(/ready\./)
    return this
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Its exit after this signal. */
  async end(name: NodeJS.Signals = 'SIGTERM', ms = 30_000): Promise<Exit> {
    if (this.isRunning) this.signal(name)
    return within(this.exited, `the exit of the worker after ${name}\n${this.output.slice(-2_000)}`, ms)
  }
}

/** Processes that have this folder in their environment: the workers of one test, their children, and what those have started. A zombie is none. */
export function processesOf(folder: string): readonly number[] {
  const mark = `FAULTS_FOLDER=${folder}`
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return pid !== process.pid && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark)
      } catch {
        return false
      }
    })
}

/** One number of /proc/pid/status: `VmRSS` is the memory now, `VmHWM` the most it ever was; MiB. */
export function memoryOf(pid: number, what: 'VmRSS' | 'VmHWM'): number {
  const kib = new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  if (kib === undefined) throw new Error(`process ${pid} has ended`)
  return Number(kib) / 1024
}
