import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type { Clock, Timer } from '../internal/clock.js'
import { bodyFromPort, type FromChild, type PortMessage, type ThreadSetup, type ToChild, toPort } from './child-frames.js'
import type { ChildLink, ChildLinkEvents } from './child-link.js'

export interface ThreadLinkOptions {
  /** The script that calls `serveThread`. */
  readonly entry: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly output: 'inherit' | 'ignore'
  readonly maxHeapMb: number | undefined
  readonly setup: Omit<ThreadSetup, 'port'>
  readonly clock: Clock
}

/** A thread that does not end so long after it was told to is in native code, which nothing interrupts: it is given up. */
const killPatienceMs = 1_000

/** A thread, and a port. */
export class ThreadLink implements ChildLink {
  readonly pid = process.pid
  readonly label: string
  /** What is posted lies in the queue of the other port. */
  readonly isDelivered = true
  readonly #thread: Worker
  readonly #port: MessagePort
  readonly #events: ChildLinkEvents
  readonly #clock: Clock
  #words: string | undefined
  #killed: Timer | undefined
  #gone = false

  constructor({ entry, args, env, output, maxHeapMb, setup, clock }: ThreadLinkOptions, events: ChildLinkEvents) {
    this.#events = events
    this.#clock = clock
    // Not the port that user code can have: `parentPort`.
    const { port1, port2 } = new MessageChannel()
    const isQuiet = output === 'ignore'
    this.#thread = new Worker(entry, {
      argv: [...args],
      env,
      workerData: { ...setup, port: port2 } satisfies ThreadSetup,
      transferList: [port2],
      stdout: isQuiet,
      stderr: isQuiet,
      ...(maxHeapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: maxHeapMb } }),
    })
    this.label = `thread ${this.#thread.threadId}`
    if (isQuiet) for (const stream of [this.#thread.stdout, this.#thread.stderr]) stream.resume()
    this.#port = port1.on('message', this.#tell)
    this.#thread.on('error', this.#onError)
    this.#thread.once('exit', (code) => this.#onExit(code))
  }

  send(message: ToChild, body?: string | Uint8Array): void {
    if (this.#gone) return
    const { pair, transfer } = toPort(message, body)
    this.#port.postMessage(pair, transfer)
  }

  flush(): void {}

  read(): void {}

  /** Threads know one way to end: whatever the signal is. */
  kill(): void {
    if (this.#killed !== undefined || this.#gone) return
    void this.#thread.terminate()
    this.#killed = this.#clock.setTimer(killPatienceMs, () => {
      this.#thread.unref()
      this.#end({ code: null, words: 'was terminated, and is in native code that cannot be interrupted: it ends when that returns' })
    })
  }

  close(): void {
    this.#port.close()
  }

  readonly #tell = ({ head, body }: PortMessage<FromChild>): void => this.#events.onMessage(head, bodyFromPort(body))

  /** Memory that ran out; an error that was thrown before the script could say so itself. */
  readonly #onError = (error: unknown): void => {
    const isOutOfMemory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
    if (isOutOfMemory) this.#words = 'ran out of memory: its heap was at its limit'
    else this.#events.onError(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }

  #onExit(code: number): void {
    if (this.#gone) return
    this.#end({
      code,
      ...(this.#words === undefined ? (this.#killed !== undefined ? { words: 'was terminated' } : {}) : { words: this.#words }),
    })
  }

  #end(exit: { readonly code: number | null; readonly words?: string }): void {
    // What it posted before its end lies in the port's queue.
    for (let left = receiveMessageOnPort(this.#port); left !== undefined; left = receiveMessageOnPort(this.#port)) this.#tell(left.message)
    this.#gone = true
    this.#killed?.cancel()
    this.#events.onExit({ ...exit, signal: null })
    this.#events.onGone()
  }
}
