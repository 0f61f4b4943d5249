/** What runs in a child process of the `prefork` pool: it serves the runs that its worker sends. See child-frames.ts for what they say. */
import { readSync } from 'node:fs'
import { Socket } from 'node:net'
import { ConnectionError, TooLargeError } from '../errors.js'
import type { Execute, Outcome, TaskRequest } from '../pool.js'
import { childReadsFd, decodeRun, encodeOutcome, encodeState, type FromChild, type ToChild, toChildHead } from './child-frames.js'
import { ChildOutput } from './child-output.js'
import { encodeFrame, FrameDecoder } from './frames.js'
import { dieWithParent, endProcessGroup } from './parent-watchdog.js'
import { TaskSignal } from './task-signal.js'

/** What the child does: made by `boot`, after the app is loaded. */
export interface ChildApp {
  readonly execute: Execute
  /** Runs once before the process exits in good order (recycled, resized, stopped): close connections here. */
  close?(): Promise<void>
}

interface ChildRun {
  readonly n: number
  readonly request: TaskRequest
  readonly task: TaskSignal
}

/**
 * Makes this process a child of a `ProcessPool`. To be called first thing in the child's script, before the user's code is loaded: `boot` loads it.
 *
 * - `boot` throws: the error goes to the pool, which backs off and in the end rejects its `start()`; this process exits with 1.
 * - An uncaught error at any time: it goes to the pool as the reason why the running tasks are lost; this process exits with 70.
 * - The worker is gone: this process and all that it started are killed at once.
 *
 * @throws Error when this process was not started by a ProcessPool.
 */
export async function serveChild({ boot }: { boot(): Promise<ChildApp> }): Promise<void> {
  const setup = readSetup()
  const output = new ChildOutput()
  process.on('exit', () => output.flush())
  if (setup.watchParent) dieWithParent()
  // From here on nothing is known about the state of the process: it reports and ends (the running tasks are lost, the others never started).
  process.on('uncaughtException', (error: unknown) => {
    output.write(encodeFrame({ t: 'crashed', error: describe(error) } satisfies FromChild))
    process.exit(70)
  })
  let app: ChildApp
  try {
    app = await boot()
  } catch (error) {
    output.write(encodeFrame({ t: 'bootFailed', error: describe(error) } satisfies FromChild))
    process.exit(1)
  }
  new ChildChannel(app, setup, output).serve()
}

class ChildChannel {
  readonly #app: ChildApp
  readonly #output: ChildOutput
  readonly #concurrency: number
  readonly #reportRss: boolean
  #waiting: ChildRun[] = []
  readonly #running = new Map<number, ChildRun>()
  readonly #storing = new Map<number, { resolve(): void; reject(error: Error): void }>()
  #lastStored = 0
  #draining = false
  #exiting: Promise<void> | undefined
  #nextStart: NodeJS.Immediate | undefined

  constructor(app: ChildApp, setup: Extract<ToChild, { t: 'setup' }>, output: ChildOutput) {
    this.#app = app
    this.#output = output
    this.#concurrency = setup.concurrency
    this.#reportRss = setup.reportRss
  }

  serve(): void {
    const decoder = new FrameDecoder()
    const input = new Socket({ fd: childReadsFd, readable: true, writable: false })
    input.on('data', (chunk: Buffer) => {
      decoder.push(chunk, ({ head, body }) => this.#onFrame(toChildHead({ head, body }), body))
      this.#startNext()
    })
    input.on('end', endProcessGroup)
    input.on('error', endProcessGroup)
    this.#output.write(encodeFrame({ t: 'ready' } satisfies FromChild))
  }

  #onFrame(head: ToChild, body: Buffer): void {
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
        this.#output.write(encodeFrame({ t: 'gaveBack', runs } satisfies FromChild))
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

  #startNext(): void {
    while (this.#running.size < this.#concurrency) {
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
    const outcome: Outcome = await this.#app.execute(run.request, {
      get signal() {
        return task.signal
      },
      get abortCause() {
        return task.cause
      },
      storeState: (state, meta) => this.#storeState(run.n, state, meta),
      accepted: (continuations) => {
        startedAt = performance.now()
        const head: FromChild = continuations === null ? { t: 'accepted', n: run.n } : { t: 'accepted', n: run.n, continuations }
        this.#output.write(encodeFrame(head))
      },
    })
    const rss = this.#reportRss ? process.memoryUsage.rss() : undefined
    const frame = outcomeFrame(run.n, performance.now() - startedAt, outcome, rss)
    // Together with the word that the next one starts, which comes in the next turn of the event loop: half the writes for short tasks.
    if (this.#waiting.length > 0) this.#output.hold(frame)
    else this.#output.write(frame)
    this.#running.delete(run.n)
    // Not at once: the pipe is read first, so that nothing starts that the worker has taken back.
    this.#nextStart ??= setImmediate(() => {
      this.#nextStart = undefined
      this.#startNext()
      this.#output.flush()
    })
  }

  async #storeState(n: number, state: string, meta: unknown): Promise<void> {
    const s = ++this.#lastStored
    const frame = encodeState(n, s, state, meta)
    return new Promise((resolve, reject) => {
      this.#storing.set(s, { resolve, reject })
      this.#output.write(frame)
    })
  }

  async #exit(): Promise<void> {
    try {
      await this.#app.close?.()
    } finally {
      process.exit()
    }
  }
}

/** The worker writes its set-up before anything else, so that it can be read without an event loop: the watchdog is on before user code is. */
function readSetup(): Extract<ToChild, { t: 'setup' }> {
  const size = readExactly(4)
  const frame = Buffer.concat([size, readExactly(size.readUInt32BE(0))])
  let setup: ToChild | undefined
  new FrameDecoder(64 * 1024).push(frame, (decoded) => {
    setup = toChildHead(decoded)
  })
  if (setup?.t !== 'setup') throw new Error('this script is started by the worker, as a child of its process pool')
  return setup
}

function readExactly(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; ) {
    const read = readSync(childReadsFd, bytes, at, length - at, null)
    if (read === 0) process.exit(0) // the worker is gone already
    at += read
  }
  return bytes
}

function outcomeFrame(n: number, ms: number, outcome: Outcome, rss: number | undefined): Buffer {
  try {
    return encodeOutcome(n, ms, outcome, rss)
  } catch (error) {
    if (!(error instanceof TooLargeError)) throw error
    const failure = { excType: error.name, excModule: 'node', excMessage: [error.message], traceback: null }
    return encodeOutcome(
      n,
      ms,
      { status: 'failure', error: failure, expected: false, runtimeMs: ms, children: [], continuations: null },
      rss,
    )
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error)
}
