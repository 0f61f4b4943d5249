/** A process of transport-process.mjs, driven by commands and watched by its events. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { until } from './wait.js'

export interface ProcessEvent {
  readonly event: string
  readonly id?: string
  readonly deliveries?: number
  readonly redelivered?: boolean
  readonly lateSettlements?: number
  readonly message?: string
  readonly count?: number
  readonly worstMs?: number
}

export class OtherProcess {
  readonly events: ProcessEvent[] = []
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  static async start(url: string, environment: Readonly<Record<string, string>> = {}): Promise<OtherProcess> {
    const other = new OtherProcess(url, environment)
    await other.tells('ready')
    return other
  }

  private constructor(url: string, environment: Readonly<Record<string, string>>) {
    const script = fileURLToPath(new URL('./transport-process.mjs', import.meta.url))
    const child = spawn(process.execPath, [script, url], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...environment } })
    this.#child = child
    this.#exited = once(child, 'exit')
    // A process that is killed breaks the pipe of its commands.
    child.stdin?.on('error', () => undefined)
    createInterface({ input: child.stdout }).on('line', (line) => this.events.push(JSON.parse(line)))
  }

  send(command: string, options: Readonly<Record<string, unknown>> = {}): void {
    this.#child.stdin?.write(`${JSON.stringify({ command, ...options })}\n`)
  }

  of(event: string): ProcessEvent[] {
    return this.events.filter((told) => told.event === event)
  }

  /** The nth event of that name. */
  async tells(event: string, count = 1): Promise<ProcessEvent> {
    await until(
      () => this.of(event).length >= count,
      `${count} times ${event} of the other process (it told ${JSON.stringify(this.events.slice(-5))})`,
    )
    const told = this.of(event)[count - 1]
    if (told === undefined) throw new Error('unreachable')
    return told
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  async exited(): Promise<void> {
    await this.#exited
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }
}
