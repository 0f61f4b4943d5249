/** The worker's side of one child, a process or a thread: what it holds, how it ends. Which run goes where is the pool's decision. */
import type { Clock } from '../internal/clock.js'
import type { Outcome, PoolHost } from '../pool.js'
import { decodeOutcome, decodeState, type FromChild, runMessage } from './child-frames.js'
import type { ChildExit, ChildLink, OpenChild } from './child-link.js'
import { hearEachMs } from './pipelining.js'
import type { Kill, PoolRun } from './pool-run.js'

interface ChildOptions {
  readonly open: OpenChild
  readonly concurrency: number
  readonly clock: Clock
  readonly host: PoolHost
}

interface ChildEvents {
  onReady(child: PoolChild): void
  onOutcome(child: PoolChild, run: PoolRun): void
  onGaveBack(child: PoolChild, runs: readonly PoolRun[]): void
  /** It is gone and all that it said was told; `child.runs` is what it still held, in order. */
  onExit(child: PoolChild): void
}

/** After a signal that should end the process. */
const killPatienceMs = 1_000
/** From a crash report, or the end of the last run of a draining child, to its exit. */
const exitPatienceMs = 5_000
/**
 * A child whose event loop turns gives back what it has not started well within it; from a blocked one it is taken back after it. Not shorter: one
 * that only had to wait for a CPU may start a run in the same moment, and it would run twice.
 */
const giveBackPatienceMs = 1_000

export class PoolChild {
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
  /** Its memory in KiB after its last run, where the pool asked for it. */
  memoryKib = 0
  /** Why it could not boot, or the uncaught error that it died of. */
  reportedError: string | undefined
  exit: ChildExit | undefined
  /** Settles when it is ready, or gone. */
  readonly booted: Promise<void>
  readonly gone: Promise<void>
  /** It was asked to give back what it has not started, and has not answered yet. */
  givingBack = false
  /** How often it was asked. */
  #asked = 0
  readonly #options: ChildOptions
  readonly #events: ChildEvents
  readonly #link: ChildLink
  #drained = false
  /** Its runs report states, and wait for the answer. */
  #reports = false
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
    this.#link = options.open({
      onMessage: (message, body) => this.#onMessage(message, body),
      mayWait: (pieces) => this.#isHeardLater(pieces),
      onError: (text) => {
        this.reportedError ??= text
      },
      onExit: (exit) => {
        // With all that it started: programs of a task die with the child that lost it.
        if (exit.code !== 0 || this.runs.size > 0) this.#link.kill('SIGKILL')
        this.exit = exit
      },
      onGone: () => this.#onGone(),
    })
  }

  /** Of the process in which it runs tasks; 0 when it could not be started. */
  get pid(): number {
    return this.#link.pid
  }

  /** Throws for a request that cannot cross; the child is untouched then. */
  send(run: PoolRun): void {
    const { head, body } = runMessage(run.n, run.request)
    this.#link.send(head, body)
    const first = this.runs.size < this.#options.concurrency
    run.state = 'sent'
    run.since = this.#options.clock.monotonic()
    this.runs.set(run.n, run)
    this.taken++
    // An idle child wakes up while this process goes on; to a busy one several go in one write.
    if (this.runs.size === 1) this.#link.flush()
    if (first) run.startLimits()
    if (run.abortCause !== undefined) this.abort(run)
  }

  /** What it said so far counts now. To be called every `hearEachMs` while it has runs of which no start was heard. */
  hear(): void {
    this.#link.read()
  }

  abort(run: PoolRun): void {
    if (run.abortCause !== undefined) this.#link.send({ t: 'abort', n: run.n, cause: run.abortCause })
  }

  /**
   * Takes back what has not started; `onGaveBack` names what is safe to run elsewhere. The pool sends nothing to this child while `givingBack`.
   *
   * A child whose event loop is blocked does not answer. But it starts nothing without having read its messages (child-frames.ts). So once the request
   * lies there, and all that the child wrote until then is read, whatever stands behind its first unfinished run can be taken; its answer,
   * whenever it comes, tells about that first run.
   */
  giveBack(): void {
    if (this.givingBack || this.state === 'gone') return
    this.givingBack = true
    const asked = ++this.#asked
    this.#link.send({ t: 'giveBack' })
    this.#link.flush()
    const look = (): void => {
      // What was answered is over: if it is asked again by now, that has a look, and the whole patience, of its own.
      if (!this.givingBack || this.#asked !== asked || this.state === 'gone') return
      if (!this.#link.isDelivered) lookLater()
      else {
        this.hear()
        if (this.givingBack && this.#asked === asked) this.#events.onGaveBack(this, this.#take([...this.runs.keys()].slice(1)))
      }
    }
    // After the timers of a turn, what children wrote is read: the look comes behind that.
    const lookLater = (): void => void this.#options.clock.setTimer(giveBackPatienceMs, () => setImmediate(look))
    lookLater()
  }

  /** No more runs: it finishes what it has and exits. */
  drain(): void {
    if (this.state === 'draining' || this.state === 'dying' || this.state === 'gone') return
    this.state = 'draining'
    this.#drained = true
    this.#link.send({ t: 'drain' })
    this.#expectExitWhenIdle()
  }

  /** Kills it and all that it started; `run` is the one meant, the others in it are lost. Without effect when it is being killed. */
  kill(kill: Kill, run?: PoolRun): void {
    if (this.state === 'dying' || this.state === 'gone') return
    this.state = 'dying'
    this.#whoKills = { run, kill }
    this.#link.kill(kill.signal)
    if (kill.signal !== 'SIGKILL') this.#options.clock.setTimer(killPatienceMs, () => this.#link.kill('SIGKILL'))
  }

  /** At once, whatever was asked before. */
  killNow(kill: Kill): void {
    if (this.state === 'gone') return
    this.kill(kill)
    this.#link.kill('SIGKILL')
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

  /** What the death of this child means for a run that it had started. */
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
    const { label } = this.#link
    const error = this.reportedError === undefined ? '' : `: ${this.reportedError}`
    if (this.exit === undefined) return `${label} could not be started${error}`
    const { code, signal, words = signal === null ? `exited with code ${code}` : `was killed by ${signal}` } = this.exit
    return `${label} ${words}${error}`
  }

  /** Whoever does all its work for each short run that ends takes the CPU away from what runs. Each piece is about one run. */
  #isHeardLater(pieces: number): boolean {
    const left = this.runs.size - pieces
    if (left <= 0 || left * this.averageMs < hearEachMs) return false
    if (this.#reports || this.givingBack || this.#options.concurrency > 1) return false
    for (const run of this.runs.values()) if (run.startMatters) return false
    return true
  }

  #onMessage(head: FromChild, body: string | Buffer): void {
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
        this.#onOutcome(head.n, head.ms, head.memory, decodeOutcome(head.outcome, body))
        return
      case 'gaveBack':
        this.givingBack = false
        this.#events.onGaveBack(this, this.#take(head.runs))
        return
      case 'state':
        this.#reports = true
        void this.#storeState(head, body)
        return
      default:
        head satisfies never
    }
  }

  #onOutcome(n: number, ms: number, memory: number | undefined, outcome: Outcome): void {
    const run = this.runs.get(n)
    if (run === undefined) return
    this.runs.delete(n)
    this.worked = true
    this.averageMs = this.averageMs === Number.POSITIVE_INFINITY ? ms : this.averageMs * 0.8 + ms * 0.2
    if (memory !== undefined) this.memoryKib = memory / 1024
    run.end(outcome)
    const [next] = this.runs.values()
    if (next?.state === 'sent') {
      next.since = this.#options.clock.monotonic()
      next.startLimits()
    }
    this.#events.onOutcome(this, run)
    if (this.state === 'draining') this.#expectExitWhenIdle()
  }

  async #storeState(head: Extract<FromChild, { t: 'state' }>, body: string | Buffer): Promise<void> {
    const run = this.runs.get(head.n)
    let error: string | null = null
    try {
      if (run === undefined) throw new Error('the task has ended')
      await this.#options.host.storeState(run.request.id, head.state, decodeState(head, body))
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown)
    }
    this.#link.send({ t: 'stored', s: head.s, error })
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
    const timer = this.#options.clock.setTimer(patienceMs, () => this.#link.kill('SIGKILL'))
    void this.gone.then(() => timer.cancel())
  }

  #onGone(): void {
    if (this.state === 'gone') return
    this.state = 'gone'
    this.#link.close()
    this.#isBooted()
    this.#events.onExit(this)
    this.#isGone()
  }
}
