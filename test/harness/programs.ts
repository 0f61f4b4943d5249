/** Programs that a test starts in a folder, and what they say. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Rejects when it ends before it said that. */
  says(text: string, where?: 'stderr' | 'stdout'): Promise<void>
}

export interface ProgramOptions {
  /** Default: Node. */
  readonly command?: string
  /** Beside this process' own, without the machine's options of Celery and celeriac. */
  readonly env?: Readonly<Record<string, string>>
  /** It is killed after so long. */
  readonly timeoutMs: number
  readonly input?: string | undefined
}

export class Programs {
  readonly #folder: string
  readonly #running = new Set<ChildProcess>()

  constructor(folder: string) {
    this.#folder = folder
  }

  start(args: readonly string[], { command = process.execPath, env = {}, timeoutMs, input }: ProgramOptions): Program {
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CELERIAC|CELERY)_/.test(name)))
    const child = spawn(command, args, {
      cwd: this.#folder,
      env: { ...own, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
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

  /** Ends those that still run. */
  async end(signal: NodeJS.Signals): Promise<void> {
    for (const child of this.#running) {
      child.kill(signal)
      await once(child, 'close')
    }
  }
}
