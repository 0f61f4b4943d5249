import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Beat, BeatState } from '../app/beat-handle.js'
import type { AppCore } from '../app/core.js'
import type { Sender } from '../app/sender.js'
import { ConnectionError, FencedError } from '../errors.js'
import type { Timer } from '../internal/clock.js'
import { Deferred } from '../internal/deferred.js'
import { failpoint } from '../internal/failpoints.js'
import type { ScheduleStore } from '../schedule-store.js'
import { BeatLog } from './beat-log.js'
import { definitionOf, type ProgramEntry } from './definition.js'
import { Dispatcher } from './dispatcher.js'
import { afterClockStep } from './due.js'
import { EntryBook, type LiveEntry } from './entry-book.js'
import { EntryLoader } from './entry-loader.js'
import { EntryRunner, type RunReport } from './entry-runner.js'
import { Leader } from './leader.js'
import { ended } from './overlap.js'
import { Recorder } from './recorder.js'
import type { Timetables } from './timetables.js'

export interface BeatParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly timetables: Timetables
  readonly program: ReadonlyMap<string, ProgramEntry>
  readonly openStore: () => Promise<ScheduleStore>
  readonly signal?: AbortSignal | undefined
}

/** Sent together: their publishes share round trips, and so do the records of them. */
const batchSize = 200
/** A follower looks more often than the store must be asked, so that it takes over in time. */
const longestFollowMs = 250
const reopenMs = 1_000
/** How soon a turn that went wrong is tried again. */
const againMs = 250
/** SIGHUP: its terminal is closed. */
const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
/** Steps that an adjusted clock makes all day are none. */
const smallestStepMs = 1_000

/**
 * Sends what is due, if it leads; watches the one that does, if it does not.
 *
 *   new ─start─▶ starting ─▶ following ⇄ leading ─stop─▶ stopped
 *
 * A turn comes when something is due, and at least each `beatMaxLoopInterval`: it asks the store (who leads, what has changed), sends what is due, and writes down
 * what it sent. A run is published behind two fences at the broker – the leader's token, and the entry's instants – so it is published once, wherever a leader
 * was stopped or killed: the next one tries again what was not written down, and is held if it was sent.
 */
export class AppBeat implements Beat {
  readonly name = `${hostname()} ${process.pid} ${randomUUID().slice(0, 8)}`
  readonly #parts: BeatParts
  readonly #core: AppCore
  readonly #log: BeatLog
  readonly #book = new EntryBook()
  readonly #stopped = new Deferred<void>()
  readonly #waits = new Map<string, AbortController>()
  #state: BeatState = 'new'
  #store: ScheduleStore | undefined
  /** Another is to be opened in its place. */
  #isStoreOver = false
  #leader: Leader | undefined
  #loader: EntryLoader | undefined
  #runner: EntryRunner | undefined
  #recorder: Recorder | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #turning: Promise<void> | undefined
  #timer: Timer | undefined
  #isFenceRaised = false
  /** Under which this one took the lead. */
  #ledToken: number | undefined
  #askedAtMs = Number.NEGATIVE_INFINITY
  #following = ''
  #clockAtMs = { wall: 0, monotonic: 0 }
  /** What went wrong in the turn before, so that it is told once. */
  #trouble = ''

  constructor(parts: BeatParts) {
    this.#parts = parts
    this.#core = parts.core
    this.#log = new BeatLog(() => parts.core.log)
    this.#stopped.promise.catch(() => {})
    if (parts.signal?.aborted) this.#onAbort()
    parts.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get state(): BeatState {
    return this.#state
  }

  get isLeading(): boolean {
    return this.#state === 'leading' && this.#leader?.token !== undefined
  }

  async start(): Promise<this> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#state = 'stopped'
      throw error
    })
    await this.#starting
    return this
  }

  async run(): Promise<void> {
    const stop = (): void => void this.stop()
    for (const signal of stopSignals) process.on(signal, stop)
    // Timers of the clock do not keep the process, and a follower has nothing else that would.
    const keepAlive = setInterval(() => {}, 2 ** 30)
    try {
      await this.start()
      await this.#stopped.promise
    } finally {
      clearInterval(keepAlive)
      for (const signal of stopSignals) process.off(signal, stop)
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #start(): Promise<void> {
    if (this.#stopping !== undefined) return
    this.#state = 'starting'
    const { core } = this.#parts
    core.hooks.tell('beatInit', core.log, () => ({ name: this.name }))
    for (let isFirst = true; this.#stopping === undefined; isFirst = false) {
      try {
        return await this.#open()
      } catch (error) {
        // As a worker waits for its broker; what is wrong with the entries is told at once.
        if (!(error instanceof ConnectionError) || !core.config.brokerConnectionRetryOnStartup) throw error
        if (isFirst) this.#log.trouble(error, 'the store of schedules is waited for')
      }
      await new Promise<void>((resolve) => core.clock.setTimer(reopenMs, resolve, { keepAlive: true }))
    }
  }

  async #open(): Promise<void> {
    await this.#openStore()
    // The first turn tells what is wrong with the entries and the store; later ones try again.
    await this.#turn()
    this.#arm()
  }

  async #openStore(): Promise<void> {
    const { core, timetables, program, sender } = this.#parts
    const store = this.#store ?? (await this.#parts.openStore())
    this.#store = store
    this.#isStoreOver = false
    void store.ended?.then(() => {
      if (this.#store === store) this.#isStoreOver = true
    })
    this.#leader = new Leader(store, { owner: this.name, leaseMs: core.config.beatLease * 1000, clock: core.clock })
    const token = (): number | undefined => this.#leader?.token
    this.#loader = new EntryLoader({ store, core, timetables, program, book: this.#book, token, log: this.#log })
    const recorder = new Recorder({ store, book: this.#book, loader: this.#loader, historyKept: core.config.beatHistory, token })
    this.#recorder = recorder
    this.#runner = new EntryRunner({
      core,
      dispatcher: new Dispatcher(core, sender),
      storeId: store.id,
      log: this.#log,
      programOf: ({ name, record }) => (record.stored === null ? program.get(name) : undefined),
      token,
      markSending: (entry, dueMs) => recorder.markSending(entry, dueMs),
    })
    this.#clockAtMs = { wall: core.clock.now(), monotonic: core.clock.monotonic() }
  }

  /** What is there now in place of the store that this one knew, with nothing that was known of that. */
  async #openAgain(): Promise<void> {
    this.#forget()
    this.#state = 'following'
    const before = this.#store
    this.#store = undefined
    this.#isStoreOver = true
    await before?.close()
    await this.#openStore()
  }

  async #stop(): Promise<void> {
    this.#timer?.cancel()
    this.#parts.signal?.removeEventListener('abort', this.#onAbort)
    await this.#starting?.catch(() => undefined)
    this.#timer?.cancel()
    await this.#turning?.catch(() => undefined)
    this.#forget()
    try {
      if (this.#leader !== undefined)
        await this.#leader.resign().catch((error: unknown) => this.#log.trouble(error, 'the lead could not be given up'))
      await this.#store?.close()
    } finally {
      this.#state = 'stopped'
      this.#stopped.resolve()
    }
  }

  readonly #onAbort = (): void => void this.stop()

  /** The next turn: when something is due, or when it is time to look. */
  #arm(): void {
    this.#timer?.cancel()
    if (this.#stopping !== undefined) return
    const { clock } = this.#core
    const lookMs = this.#state === 'leading' ? this.#leadMs : this.#followMs
    const nextMs = this.#book.nextMs
    // What is due waits, too, while turns go wrong.
    const leastMs = this.#trouble === '' ? 0 : Math.min(lookMs, againMs)
    const waitMs = Math.max(leastMs, Math.min(lookMs, nextMs === undefined ? lookMs : nextMs - clock.now()))
    this.#timer = clock.setTimer(waitMs, () => this.#wake())
  }

  get #leadMs(): number {
    const { beatLease, beatMaxLoopInterval } = this.#core.config
    return Math.min(beatMaxLoopInterval, beatLease / 3) * 1000
  }

  get #followMs(): number {
    const { beatLease, beatMaxLoopInterval } = this.#core.config
    return Math.min(longestFollowMs, (beatLease * 1000) / 8, beatMaxLoopInterval * 1000)
  }

  #wake(): void {
    if (this.#turning !== undefined || this.#stopping !== undefined) return
    this.#turning = this.#turn().then(
      () => this.#turned(''),
      (error: unknown) => this.#turned(error instanceof Error ? error.message : String(error), error),
    )
  }

  #turned(trouble: string, error?: unknown): void {
    // A store that is away for an hour is told of once.
    if (trouble !== '' && trouble !== this.#trouble) this.#log.trouble(error, 'a turn went wrong, and is tried again')
    this.#trouble = trouble
    this.#turning = undefined
    this.#arm()
  }

  async #turn(): Promise<void> {
    if (this.#isStoreOver) await this.#openAgain()
    this.#lookAtClock()
    await this.#keepLead()
    const [leader, runner] = [this.#leader, this.#runner]
    const token = leader?.token
    if (this.#state !== 'leading' || leader === undefined || runner === undefined || token === undefined) return
    await leader.during(this.#raiseFence())
    await this.#record([], token)
    // However much is due, the store is asked in time.
    const untilMs = this.#core.clock.monotonic() + this.#leadMs
    while (this.#stopping === undefined && this.isLeading && this.#core.clock.monotonic() < untilMs) {
      const due = this.#book.takeDue(this.#core.clock.now(), batchSize)
      if (due.length === 0) return
      for (const entry of due) entry.isBusy = true
      const reports = await leader.during(Promise.all(due.map((entry) => runner.run(entry))))
      failpoint('beat.after_publish_before_save')
      await this.#record(reports, token)
    }
  }

  /** Asks when a third of the lease is over; looks for changes meanwhile. */
  async #keepLead(): Promise<void> {
    const { clock, config } = this.#core
    const [leader, loader, store] = [this.#leader, this.#loader, this.#store]
    if (leader === undefined || loader === undefined || store === undefined) return
    const isLeading = this.#state === 'leading'
    const nowMs = clock.monotonic()
    if (isLeading && leader.token === undefined) this.#follow('')
    if (isLeading && leader.token !== undefined && nowMs - this.#askedAtMs < (config.beatLease * 1000) / 3) {
      const revision = await store.revision()
      if (revision > loader.revision) await loader.refresh()
      if (revision >= loader.revision) return
    }
    const { leads, token, owner, revision } = await leader.ask()
    this.#askedAtMs = nowMs
    // A store that was emptied gives the lead anew, and one that was put back knows less: nothing that is known here counts any more.
    if (leads && this.#state === 'leading' && (token !== this.#ledToken || revision < loader.revision)) {
      this.#log.trouble(new Error('it was emptied, or put back to an older state'), 'the store of schedules is opened anew')
      await this.#openAgain()
      return this.#keepLead()
    }
    if (!leads) this.#follow(owner)
    else if (this.#state !== 'leading') await this.#takeOver(token, loader)
    else if (revision !== loader.revision) await loader.refresh()
  }

  async #takeOver(token: number, loader: EntryLoader): Promise<void> {
    this.#isFenceRaised = false
    await loader.takeOver()
    if (this.#leader?.token !== token) return
    this.#ledToken = token
    this.#state = 'leading'
    this.#log.leads(this.name, token, this.#book.size)
  }

  #follow(owner: string): void {
    if (this.#state === 'leading') this.#log.deposed()
    this.#forget()
    this.#state = 'following'
    if (owner !== '' && owner !== this.#following) this.#log.follows(owner)
    this.#following = owner
  }

  /** What only a leader knows. */
  #forget(): void {
    for (const wait of this.#waits.values()) wait.abort()
    this.#waits.clear()
    this.#recorder?.forget()
    this.#book.clear()
  }

  /** From here on, nothing that an older leader sends can pass. */
  async #raiseFence(): Promise<void> {
    const token = this.#leader?.token
    if (this.#isFenceRaised || token === undefined || this.#store === undefined) return
    try {
      const connection = await this.#core.connections.publisher()
      await connection.raiseFences?.([{ key: `beat:${this.#store.id}`, order: token, again: true }])
      this.#isFenceRaised = true
    } catch (error) {
      if (error instanceof FencedError) await this.#outrank()
      // What is sent meanwhile brings the token itself.
      else if (!(error instanceof ConnectionError)) throw error
    }
  }

  /** The broker knows a higher token. If the store has been put back to an older state, it gives one that is no higher until this one is given up. */
  async #outrank(): Promise<void> {
    this.#follow('')
    await this.#leader?.resign()
  }

  #depose(): void {
    this.#leader?.stepDown()
    this.#follow('')
  }

  async #record(reports: readonly RunReport[], token: number): Promise<void> {
    if (this.#recorder === undefined) return
    const { isDeposed, settled } = await this.#recorder.record(reports, token)
    for (const report of settled) this.#settle(report)
    if (isDeposed) this.#depose()
  }

  #settle({ entry, retryAtMs, waitsFor }: RunReport): void {
    entry.isBusy = false
    entry.retryAtMs = retryAtMs
    this.#book.place(entry)
    if (waitsFor !== undefined && this.#state === 'leading') this.#watchEnd(entry, waitsFor)
  }

  #watchEnd(entry: LiveEntry, taskId: string): void {
    if (this.#waits.has(entry.name)) return
    const wait = new AbortController()
    this.#waits.set(entry.name, wait)
    void ended(this.#core, taskId, wait.signal)
      // Results could not be read: looks again, and not at once.
      .catch(() => (wait.signal.aborted ? undefined : new Promise<void>((resolve) => this.#core.clock.setTimer(1_000, resolve))))
      .then(() => {
        if (wait.signal.aborted) return
        this.#waits.delete(entry.name)
        entry.retryAtMs = this.#core.clock.now()
        this.#book.place(entry)
        this.#wake()
      })
  }

  #lookAtClock(): void {
    const { clock } = this.#core
    const now = { wall: clock.now(), monotonic: clock.monotonic() }
    const stepMs = now.monotonic - this.#clockAtMs.monotonic - (now.wall - this.#clockAtMs.wall)
    this.#clockAtMs = now
    if (stepMs < smallestStepMs) return
    this.#log.clockStepped(stepMs)
    for (const entry of this.#book.all()) {
      const definition = definitionOf(entry.record)
      const state = definition === null ? undefined : afterClockStep(definition, entry.timetable, entry.record.state, now.wall, stepMs)
      // Written with its next run; a leader after this one finds the same.
      if (state !== undefined) entry.record = { ...entry.record, state }
      entry.retryAtMs = undefined
      this.#book.place(entry)
    }
  }
}
