/** The worker's side of one child process: its pipes, what it holds, how it ends. Which run goes where is the pool's decision. */
import { type ChildProcess as NodeChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Clock } from '../internal/clock.js'
import type { Outcome, PoolHost } from '../pool.js'
import { decodeOutcome, decodeState, encodeRun, type FromChild, fromChildHead, type ToChild } from './child-frames.js'
import { encodeFrame, FrameDecoder } from './frames.js'
import type { Kill, PoolRun } from './pool-run.js'

export interface ChildOptions {
  /** The script that calls `serveChild`. */
  readonly entry: string
  readonly args: readonly string[]
  readonly execArgv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly output: 'inherit' | 'ignore'
  readonly concurrency: number
  readonly reportRss: boolean
  readonly watchParent: boolean
  readonly clock: Clock
  readonly host: PoolHost
}

export interface ChildEvents {
  onReady(child: ChildProcess): void
  onOutcome(child: ChildProcess, run: PoolRun): void
  onGaveBack(child: ChildProcess, runs: readonly PoolRun[]): void
  /** The process is gone and its pipe is read to the end; `child.runs` is what it still held, in order. */
  onExit(child: ChildProcess): void
}

/** After a signal that should end the process. */
const killPatienceMs = 1_000
/** From a crash report, or the end of the last run of a draining child, to its exit. */
const exitPatienceMs = 5_000
/**
 * A child whose event loop turns gives back what it has not started well within it; from a blocked one it is taken back after it. Not shorter: a process
 * that only had to wait for a CPU may start a run in the same moment, and it would run twice.
 */
const giveBackPatienceMs = 1_000

export class ChildProcess {
  readonly pid: number
  state: 'booting' | 'ready' | 'draining' | 'dying' | 'gone' = 'booting'
  /** What was sent and has not ended, in the order in which the child starts it. */
  readonly runs = new Map<number, PoolRun>()
  /** How many runs were sent in its life and not taken back. */
  taken = 0
  /** Whether it ever started a run. */
  worked = false
  /** Moving average of the run times that the child measured; unknown before the first. */
  averageMs = Number.POSITIVE_INFINITY
  /** It has as many ahead as it may have. Not refilled before half of them are done: eight in one write cost little more than one. */
  full = false
  /** RSS in KiB after its last run, where the pool asked for it. */
  rssKib = 0
  /** Why it could not boot, or the uncaught error that it died of. */
  reportedError: string | undefined
  exit: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined
  /** Settles when the process is ready, or gone. */
  readonly booted: Promise<void>
  readonly gone: Promise<void>
  /** It was asked to give back what it has not started, and has not answered yet. */
  givingBack = false
  /** How often it was asked. */
  #asked = 0
  readonly #process: NodeChildProcess
  readonly #options: ChildOptions
  readonly #events: ChildEvents
  readonly #input: Socket | undefined
  #out: Buffer[] = []
  #drained = false
  #isBooted!: () => void
  #isGone!: () => void
  #whoKills: { readonly run: PoolRun | undefined; readonly kill: Kill } | undefined

  constructor(options: ChildOptions, events: ChildEvents) {
    this.#options = options
    this.#events = events
    this.booted = new Promise((resolve) => {
      this.#isBooted = resolve
    })
    this.gone = new Promise((resolve) => {
      this.#isGone = resolve
    })
    const { entry, args, execArgv, env, output } = options
    // A process group of its own: Ctrl-C in a terminal reaches the worker only, and what a task starts can be killed with it.
    // On Windows it would take the child out of the job object that ends it with its parent.
    this.#process = spawn(process.execPath, [...execArgv, entry, ...args], {
      env,
      stdio: ['ignore', output, output, 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
    })
    this.pid = this.#process.pid ?? 0
    this.#input = this.#process.stdio[3] as Socket | undefined // 'pipe' gives a socket, or nothing when the spawn failed
    const written = this.#process.stdio[4] as Socket | undefined // likewise
    this.#input?.on('error', () => {}) // EPIPE of a process that died: its exit follows
    this.#read(written)
    const { concurrency, reportRss, watchParent } = options
    this.#write(encodeFrame({ t: 'setup', concurrency, reportRss, watchParent } satisfies ToChild))
  }

  /** @throws TooLargeError, EncodeError for a request that has no frame; the child is untouched then. */
  send(run: PoolRun): void {
    const frame = encodeRun(run.n, run.request)
    const first = this.runs.size < this.#options.concurrency
    run.state = 'sent'
    run.since = this.#options.clock.monotonic()
    this.runs.set(run.n, run)
    this.taken++
    if (first) run.startLimits()
    this.#write(frame)
    if (run.abortCause !== undefined) this.abort(run)
  }

  abort(run: PoolRun): void {
    if (run.abortCause !== undefined) this.#write(encodeFrame({ t: 'abort', n: run.n, cause: run.abortCause } satisfies ToChild))
  }

  /**
   * Takes back what has not started; `onGaveBack` names what is safe to run elsewhere. The pool sends nothing to this child while `givingBack`.
   *
   * A child whose event loop is blocked does not answer. But it starts nothing without having read its pipe (child-frames.ts). So once the request
   * lies in the pipe, and all that the child wrote until then is read, whatever stands behind its first unfinished run can be taken; its answer,
   * whenever it comes, tells about that first run.
   */
  giveBack(): void {
    if (this.givingBack || this.state === 'gone') return
    this.givingBack = true
    const asked = ++this.#asked
    this.#write(encodeFrame({ t: 'giveBack' } satisfies ToChild))
    this.#flush()
    const look = (): void => {
      // What was answered is over: if it is asked again by now, that has a look, and the whole patience, of its own.
      if (!this.givingBack || this.#asked !== asked || this.state === 'gone') return
      if ((this.#input?.writableLength ?? 0) > 0) lookLater()
      else this.#events.onGaveBack(this, this.#take([...this.runs.keys()].slice(1)))
    }
    // After the timers of a turn, what lies in the pipes is read: the look comes behind that.
    const lookLater = (): void => void this.#options.clock.setTimer(giveBackPatienceMs, () => setImmediate(look))
    lookLater()
  }

  /** No more runs: it finishes what it has and exits. */
  drain(): void {
    if (this.state === 'draining' || this.state === 'dying' || this.state === 'gone') return
    this.state = 'draining'
    this.#drained = true
    this.#write(encodeFrame({ t: 'drain' } satisfies ToChild))
    this.#expectExitWhenIdle()
  }

  /** Kills the process and all that it started; `run` is the one meant, the others in it are lost. Without effect when it is being killed. */
  kill(kill: Kill, run?: PoolRun): void {
    if (this.state === 'dying' || this.state === 'gone') return
    this.state = 'dying'
    this.#whoKills = { run, kill }
    this.#signal(kill.signal)
    if (kill.signal !== 'SIGKILL') this.#options.clock.setTimer(killPatienceMs, () => this.#signal('SIGKILL'))
  }

  /** At once, whatever was asked before. */
  killNow(kill: Kill): void {
    if (this.state === 'gone') return
    this.kill(kill)
    this.#signal('SIGKILL')
  }

  /** Since when it has had its first run; `now` when it has none. */
  busySince(now: number): number {
    const [first] = this.runs.values()
    return first?.since ?? now
  }

  /** It runs, or is the next one to start. */
  isFirst(run: PoolRun): boolean {
    return this.runs.keys().next().value === run.n
  }

  /** It is, or will be, there for runs. */
  get isServing(): boolean {
    return this.state === 'booting' || this.state === 'ready'
  }

  /** What the death of this process means for a run that it had started. */
  fateOf(run: PoolRun): { readonly by: Kill['by']; readonly detail: string } {
    const killer = this.#whoKills
    const how = this.describeExit()
    if (killer === undefined) return { by: 'lost', detail: how }
    if (killer.run === run || killer.kill.by === 'shutdown') return { by: killer.kill.by, detail: `${killer.kill.detail}; ${how}` }
    return {
      by: 'lost',
      detail: `${how}, because of ${killer.run === undefined ? killer.kill.detail : `task ${killer.run.request.id} in it (${killer.kill.detail})`}`,
    }
  }

  /** The pool wanted it to end. */
  get endedOnPurpose(): boolean {
    return this.#whoKills !== undefined || (this.#drained && this.exit?.code === 0)
  }

  describeExit(): string {
    const error = this.reportedError === undefined ? '' : `: ${this.reportedError}`
    if (this.exit === undefined) return `process ${this.pid} could not be started${error}`
    const { code, signal } = this.exit
    if (signal === 'SIGABRT') return `process ${this.pid} was killed by SIGABRT (out of memory, or aborted)${error}`
    return signal === null ? `process ${this.pid} exited with code ${code}${error}` : `process ${this.pid} was killed by ${signal}${error}`
  }

  #onFrame(head: FromChild, body: Buffer): void {
    switch (head.t) {
      case 'ready':
        if (this.state === 'booting') this.state = 'ready'
        this.#isBooted()
        this.#events.onReady(this)
        return
      case 'bootFailed':
      case 'crashed':
        this.reportedError = head.error
        if (this.state === 'ready') this.state = 'draining'
        this.#expectExit(killPatienceMs)
        return
      case 'accepted': {
        const run = this.runs.get(head.n)
        if (run === undefined) return
        this.worked = true
        run.since = this.#options.clock.monotonic()
        run.started(this.pid, head.continuations ?? null)
        return
      }
      case 'outcome':
        this.#onOutcome(head.n, head.ms, head.rss, decodeOutcome(head.outcome, body))
        return
      case 'gaveBack':
        this.givingBack = false
        this.#events.onGaveBack(this, this.#take(head.runs))
        return
      case 'state':
        void this.#storeState(head, body)
        return
      default:
        head satisfies never
    }
  }

  #onOutcome(n: number, ms: number, rss: number | undefined, outcome: Outcome): void {
    const run = this.runs.get(n)
    if (run === undefined) return
    this.runs.delete(n)
    this.worked = true
    this.averageMs = this.averageMs === Number.POSITIVE_INFINITY ? ms : this.averageMs * 0.8 + ms * 0.2
    if (rss !== undefined) this.rssKib = rss / 1024
    run.end(outcome)
    const [next] = this.runs.values()
    if (next?.state === 'sent') {
      next.since = this.#options.clock.monotonic()
      next.startLimits()
    }
    this.#events.onOutcome(this, run)
    if (this.state === 'draining') this.#expectExitWhenIdle()
  }

  async #storeState(head: Extract<FromChild, { t: 'state' }>, body: Buffer): Promise<void> {
    const run = this.runs.get(head.n)
    let error: string | null = null
    try {
      if (run === undefined) throw new Error('the task has ended')
      await this.#options.host.storeState(run.request.id, head.state, decodeState(head, body))
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown)
    }
    this.#write(encodeFrame({ t: 'stored', s: head.s, error } satisfies ToChild))
  }

  #take(numbers: readonly number[]): readonly PoolRun[] {
    const taken: PoolRun[] = []
    for (const n of numbers) {
      const run = this.runs.get(n)
      if (run?.state !== 'sent') continue
      this.runs.delete(n)
      this.taken--
      run.wait()
      taken.push(run)
    }
    return taken
  }

  #expectExitWhenIdle(): void {
    if (this.runs.size === 0) this.#expectExit(exitPatienceMs)
  }

  #expectExit(patienceMs: number): void {
    const timer = this.#options.clock.setTimer(patienceMs, () => this.#signal('SIGKILL'))
    void this.gone.then(() => timer.cancel())
  }

  #signal(signal: NodeJS.Signals): void {
    // After the exit the number may be another's.
    if (this.pid === 0 || this.exit !== undefined) return
    try {
      if (process.platform === 'win32') this.#process.kill(signal)
      else process.kill(-this.pid, signal)
    } catch {
      this.#process.kill(signal) // the group is not there yet, or not any more
    }
  }

  /** Frames of one turn go out in one write. */
  #write(frame: Buffer): void {
    if (this.state === 'gone') return
    this.#out.push(frame)
    if (this.#out.length === 1) queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    const frames = this.#out
    if (frames.length === 0) return
    this.#out = []
    const [first] = frames
    this.#input?.write(frames.length === 1 && first !== undefined ? first : Buffer.concat(frames))
  }

  #read(output: Socket | undefined): void {
    const decoder = new FrameDecoder()
    const allRead = new Promise<void>((resolve) => {
      if (output === undefined) return resolve()
      output.once('close', resolve)
      output.on('error', () => output.destroy())
      output.on('data', (chunk: Buffer) => {
        try {
          decoder.push(chunk, (frame) => this.#onFrame(fromChildHead(frame), frame.body))
        } catch (error) {
          // Only a task that wrote to the pool's own file descriptor can do this: nothing that follows can be trusted.
          this.reportedError ??= `the channel to the worker is broken: ${String(error)}`
          output.destroy()
          this.#signal('SIGKILL')
        }
      })
    })
    this.#process.once('error', (error) => {
      this.reportedError ??= error.message
      if (this.pid === 0) this.#onGone()
    })
    this.#process.once('exit', (code, signal) => {
      if (code !== 0 || this.runs.size > 0) this.#signal('SIGKILL') // the group: programs that a task started die with the process that lost it
      this.exit = { code, signal }
      // A program that a task started may hold the pipe open: what was written before the exit is here within the patience.
      const timer = this.#options.clock.setTimer(killPatienceMs, () => output?.destroy())
      void allRead.then(() => {
        timer.cancel()
        this.#onGone()
      })
    })
  }

  #onGone(): void {
    if (this.state === 'gone') return
    this.state = 'gone'
    this.#input?.destroy()
    this.#isBooted()
    this.#events.onExit(this)
    this.#isGone()
  }
}
