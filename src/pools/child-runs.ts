import { ConnectionError, EncodeError, TooLargeError } from '../errors.js'
import type { Continuations, Execute, Outcome, TaskRequest } from '../pool.js'
import { decodeRun, type FromChild, type Message, outcomeMessage, stateMessage, type ToChild } from './child-frames.js'
import { TaskSignal } from './task-signal.js'

/** What the child does: made by `boot`, after the app is loaded. */
export interface ChildApp {
  readonly execute: Execute
  /** Runs once before the child exits in good order (recycled, resized, stopped): close connections here. */
  close?(): Promise<void>
}

/** A child's way to its worker. */
export interface ChildOutput {
  /** Returns when the worker will see the message, and all that was held before it, even if the child dies the next moment. */
  write(message: Message<FromChild>): void
  /** Goes out with the next message. Whoever holds one sees to it that this is soon. */
  hold(message: Message<FromChild>): void
  flush(): void
}

interface ChildRunsParts {
  readonly app: ChildApp
  readonly output: ChildOutput
  /** How many runs at the same time. */
  readonly concurrency: number
  /** Bytes that the child has after a run, where the pool asked for them. */
  readonly memory: (() => number) | undefined
  /** Takes what was sent and not yet read, before anything is started. Where it is missing, that is read between two turns of the event loop. */
  readonly takeAll?: () => void
}

interface ChildRun {
  readonly n: number
  readonly request: TaskRequest
  readonly task: TaskSignal
}

/** What was read so long ago is taken for all that was sent. */
const freshMs = 1

/** The runs of one child, in a process or a thread: starts what it is sent, in order, and tells how it ended. See child-frames.ts. */
export class ChildRuns {
  readonly #parts: ChildRunsParts
  #waiting: ChildRun[] = []
  readonly #running = new Map<number, ChildRun>()
  readonly #storing = new Map<number, { resolve(): void; reject(error: Error): void }>()
  #lastStored = 0
  #draining = false
  #exiting: Promise<void> | undefined
  #nextStart: NodeJS.Immediate | undefined
  /** When it was read last what the worker sent. */
  #readMs = 0

  constructor(parts: ChildRunsParts) {
    this.#parts = parts
  }

  /** Nothing is started by it: `startNext` is to follow when all that came together was told. */
  onMessage(head: ToChild, body: string | Buffer): void {
    switch (head.t) {
      case 'run': {
        const request = decodeRun(head, body)
        this.#waiting.push({ n: head.n, request, task: new TaskSignal(request) })
        return
      }
      case 'abort':
        ;(this.#running.get(head.n) ?? this.#waiting.find((run) => run.n === head.n))?.task.abort(head.cause)
        return
      case 'giveBack': {
        const runs = this.#waiting.map((run) => run.n)
        this.#waiting = []
        this.#parts.output.write({ head: { t: 'gaveBack', runs } })
        return
      }
      case 'stored': {
        const waiter = this.#storing.get(head.s)
        this.#storing.delete(head.s)
        if (head.error === null) waiter?.resolve()
        else waiter?.reject(new ConnectionError(`the state could not be stored: ${head.error}`))
        return
      }
      case 'drain':
        this.#draining = true
        return
      case 'setup':
        return // read before the channel opened
      default:
        head satisfies never
    }
  }

  /** To be called when what was sent is read. */
  startNext(): void {
    this.#readMs = performance.now()
    this.#startWaiting()
  }

  #startWaiting(): void {
    this.#parts.takeAll?.()
    while (this.#running.size < this.#parts.concurrency) {
      const run = this.#waiting.shift()
      if (run === undefined) break
      this.#running.set(run.n, run)
      void this.#run(run)
    }
    if (this.#draining && this.#running.size === 0 && this.#waiting.length === 0) this.#exiting ??= this.#exit()
  }

  async #run(run: ChildRun): Promise<void> {
    let startedAt = performance.now()
    const { task } = run
    const { output, memory } = this.#parts
    let follow: Continuations | null = null
    const outcome: Outcome = await this.#parts.app.execute(run.request, {
      get signal() {
        return task.signal
      },
      get abortCause() {
        return task.cause
      },
      storeState: (state, meta) => this.#storeState(run.n, state, meta),
      accepted: (continuations) => {
        startedAt = performance.now()
        follow = continuations
        output.write({ head: continuations === null ? { t: 'accepted', n: run.n } : { t: 'accepted', n: run.n, continuations } })
      },
    })
    const endedAt = performance.now()
    this.#tell(run.n, endedAt - startedAt, outcome, { memory: memory?.(), follow })
    this.#running.delete(run.n)
    if (this.#waiting.length > 0 && endedAt - this.#readMs < freshMs) {
      this.#startWaiting()
      output.flush()
      return
    }
    // Not at once: what was sent is read first, so that nothing starts that the worker has taken back.
    this.#nextStart ??= setImmediate(() => {
      this.#nextStart = undefined
      this.startNext()
      output.flush()
    })
  }

  #tell(n: number, ms: number, outcome: Outcome, { memory, follow }: { memory: number | undefined; follow: Continuations | null }): void {
    const { output } = this.#parts
    // Together with the word that the next one starts, which comes in the next turn of the event loop: half the writes for short tasks.
    const tell = (told: Outcome): void => {
      const message = outcomeMessage(n, ms, told, memory)
      if (this.#waiting.length > 0) output.hold(message)
      else output.write(message)
    }
    try {
      tell(outcome)
    } catch (error) {
      if (!(error instanceof TooLargeError || error instanceof EncodeError)) throw error
      const failure = { excType: error.name, excModule: 'node', excMessage: [error.message], traceback: null }
      tell({ status: 'failure', error: failure, expected: false, runtimeMs: ms, children: [], continuations: follow })
    }
  }

  async #storeState(n: number, state: string, meta: unknown): Promise<void> {
    const s = ++this.#lastStored
    const message = stateMessage(n, s, state, meta)
    return new Promise((resolve, reject) => {
      this.#storing.set(s, { resolve, reject })
      this.#parts.output.write(message)
    })
  }

  async #exit(): Promise<void> {
    try {
      await this.#parts.app.close?.()
    } finally {
      process.exit()
    }
  }
}

/** An error as text for the worker. */
export function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error)
}
