import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Clock } from '../internal/clock.js'
import { foreignIn, fromChildHead, type ToChild } from './child-frames.js'
import type { ChildLink, ChildLinkEvents } from './child-link.js'
import { encodeFrame, FrameDecoder } from './frames.js'

export interface ProcessLinkOptions {
  /** The script that calls `serveChild`. */
  readonly entry: string
  readonly args: readonly string[]
  readonly execArgv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly output: 'inherit' | 'ignore'
  readonly setup: Extract<ToChild, { t: 'setup' }>
  readonly clock: Clock
}

/** From the exit of a process to the end of its pipe: a program that a task started may hold that open. */
const readPatienceMs = 1_000

/** A child process, and a pipe in each direction. */
export class ProcessLink implements ChildLink {
  readonly pid: number
  readonly #process: ChildProcess
  readonly #events: ChildLinkEvents
  readonly #clock: Clock
  readonly #input: Socket | undefined
  readonly #output: Socket | undefined
  readonly #decoder = new FrameDecoder()
  /** What came, as it came. */
  #unread: Buffer[] = []
  #out: Buffer[] = []
  #exited = false
  #closed = false

  constructor({ entry, args, execArgv, env, output, setup, clock }: ProcessLinkOptions, events: ChildLinkEvents) {
    this.#events = events
    this.#clock = clock
    // A process group of its own: Ctrl-C in a terminal reaches the worker only, and what a task starts can be killed with it.
    // On Windows it would take the child out of the job object that ends it with its parent.
    this.#process = spawn(process.execPath, [...execArgv, entry, ...args], {
      env,
      stdio: ['ignore', output, output, 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
    })
    this.pid = this.#process.pid ?? 0
    // Its type does not say that there is none where no file descriptor was left for it: the 'error' event follows.
    const pipes = this.#process.stdio as ChildProcess['stdio'] | undefined
    this.#input = pipes?.[3] as Socket | undefined // 'pipe' gives a socket, or nothing when the spawn failed
    this.#output = pipes?.[4] as Socket | undefined // likewise
    this.#input?.on('error', () => {}) // EPIPE of a process that died: its exit follows
    this.#listen(this.#output)
    this.send(setup)
  }

  get label(): string {
    return `process ${this.pid}`
  }

  get isDelivered(): boolean {
    return (this.#input?.writableLength ?? 0) === 0
  }

  /** Frames of one turn go out in one write. */
  send(message: ToChild, body?: string | Uint8Array): void {
    const frame = encodeFrame(message, body, { foreign: foreignIn(message) })
    if (this.#closed) return
    this.#out.push(frame)
    if (this.#out.length === 1) queueMicrotask(() => this.flush())
  }

  flush(): void {
    const frames = this.#out
    if (frames.length === 0) return
    this.#out = []
    const [first] = frames
    this.#input?.write(frames.length === 1 && first !== undefined ? first : Buffer.concat(frames))
  }

  read(): void {
    const pieces = this.#unread
    if (pieces.length === 0) return
    this.#unread = []
    try {
      for (const piece of pieces) this.#decoder.push(piece, (frame) => this.#events.onMessage(fromChildHead(frame), frame.body))
    } catch (error) {
      // Only a task that wrote to the pool's own file descriptor can do this: nothing that follows can be trusted.
      this.#events.onError(`the channel to the worker is broken: ${String(error)}`)
      this.#output?.destroy()
      this.kill('SIGKILL')
    }
  }

  kill(signal: NodeJS.Signals): void {
    // After the exit the number may be another's.
    if (this.pid === 0 || this.#exited) return
    try {
      if (process.platform === 'win32') this.#process.kill(signal)
      else process.kill(-this.pid, signal)
    } catch {
      this.#process.kill(signal) // the group is not there yet, or not any more
    }
  }

  close(): void {
    this.#closed = true
    this.#input?.destroy()
  }

  #listen(output: Socket | undefined): void {
    const allRead = new Promise<void>((resolve) => {
      if (output === undefined) return resolve()
      output.once('close', () => {
        this.read()
        resolve()
      })
      output.on('error', () => output.destroy())
      output.on('data', (piece: Buffer) => {
        this.#unread.push(piece)
        if (!this.#events.mayWait(this.#unread.length)) this.read()
      })
    })
    this.#process.once('error', (error) => {
      this.#events.onError(error.message)
      if (this.pid === 0) this.#events.onGone()
    })
    this.#process.once('exit', (code, signal) => {
      const words = signal === 'SIGABRT' ? { words: 'was killed by SIGABRT (out of memory, or aborted)' } : {}
      this.#events.onExit({ code, signal, ...words })
      this.#exited = true
      const timer = this.#clock.setTimer(readPatienceMs, () => output?.destroy())
      void allRead.then(() => {
        timer.cancel()
        this.#events.onGone()
      })
    })
  }
}
