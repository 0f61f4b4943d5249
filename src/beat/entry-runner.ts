/** Does what is due of one entry: decides, sends, and tells what to write down of it. */
import { Control } from '../app/control.js'
import type { AppCore } from '../app/core.js'
import { PublishUncertainError } from '../errors.js'
import type { HistoryOutcome, HistoryRow } from '../schedule-store.js'
import type { BeatLog } from './beat-log.js'
import { type EntryRecord, type EntryState, isDueAlike, type ProgramEntry } from './definition.js'
import type { Dispatcher, RunFences, SendOutcome } from './dispatcher.js'
import { firingId, jitterOf, planDue } from './due.js'
import type { LiveEntry } from './entry-book.js'
import { isUnfinished } from './overlap.js'

const firstRetryMs = 1_000
const longestRetryMs = 5_000

export interface RunReport {
  readonly entry: LiveEntry
  /** What was true when it was decided. */
  readonly before: EntryRecord
  readonly after: EntryState
  readonly rows: readonly HistoryRow[]
  readonly isDeposed: boolean
  /** Look again then: the broker could not take it. */
  readonly retryAtMs: number | undefined
  /** It waits for the end of the run before. */
  readonly waitsFor: string | undefined
}

export interface EntryRunnerParts {
  readonly core: AppCore
  readonly dispatcher: Dispatcher
  readonly storeId: string
  readonly log: BeatLog
  /** The program's entry, when it is its definition that counts. */
  readonly programOf: (entry: LiveEntry) => ProgramEntry | undefined
  /** Undefined when this process leads no more. */
  readonly token: () => number | undefined
  /** For a broker without fences: writes down what is about to be sent. False: another leads, or the entry has changed. */
  readonly markSending: (entry: LiveEntry, dueMs: number) => Promise<boolean>
}

/** What is known so far of one turn of an entry. */
interface Turn {
  readonly entry: LiveEntry
  state: EntryState
  readonly rows: HistoryRow[]
  isDeposed: boolean
  retryAtMs: number | undefined
  waitsFor: string | undefined
  /** On a broker without fences: one run has been noted before it was sent. What is noted is one run of an entry, so there is no other before it is recorded. */
  isNoted: boolean
}

export class EntryRunner {
  readonly #parts: EntryRunnerParts
  readonly #control: Control
  /** On a broker without fences: the last run of each entry that this process knows to be sent, recorded or not. */
  readonly #confirmed = new Map<string, string>()

  constructor(parts: EntryRunnerParts) {
    this.#parts = parts
    this.#control = new Control(parts.core)
  }

  async run(entry: LiveEntry): Promise<RunReport> {
    const before = entry.record
    const turn: Turn = {
      entry,
      state: before.state,
      rows: [],
      isDeposed: false,
      retryAtMs: undefined,
      waitsFor: undefined,
      isNoted: false,
    }
    try {
      if (!before.paused) {
        await this.#runWaiting(turn)
        if (!turn.isNoted) await this.#runDue(turn)
      }
    } catch (error) {
      // Results or the broker cannot be asked now, or the schedule's own code threw.
      this.#later(turn, error instanceof Error ? error : new Error(String(error)))
    }
    if (turn.retryAtMs === undefined) entry.tries = 0
    const { isDeposed, retryAtMs, waitsFor, rows } = turn
    return { entry, before, after: turn.state, rows, isDeposed, retryAtMs, waitsFor }
  }

  async #runWaiting(turn: Turn): Promise<void> {
    const { waitingMs } = turn.state
    if (waitingMs === null) return
    if (await this.#isRunning(turn)) {
      turn.waitsFor = turn.state.lastTaskId ?? undefined
      return
    }
    if (await this.#send(turn, waitingMs, null)) turn.state = { ...turn.state, waitingMs: null }
  }

  async #runDue(turn: Turn): Promise<void> {
    const { entry } = turn
    const { definition, timetable } = entry
    const { dueMs, isOver } = turn.state
    const nowMs = this.#parts.core.clock.now()
    if (turn.isDeposed || turn.retryAtMs !== undefined || dueMs === null || isOver) return
    if (dueMs + jitterOf(entry.name, dueMs, definition.jitterMs) > nowMs) return
    const plan = planDue(definition, timetable, dueMs, nowMs)
    if (plan.skipped !== undefined) {
      const late = Math.round((nowMs - plan.skipped) / 1000)
      this.#skip(turn, plan.skipped, `missed by ${late} s, and misfire is skip`)
      turn.state = { ...turn.state, missed: turn.state.missed + 1 }
    }
    for (const [index, instant] of plan.run.entries()) {
      const since = instant === plan.run[0] ? plan.missedSinceMs : undefined
      const note = since === undefined ? null : `in place of those that were missed since ${new Date(since).toISOString()}`
      if (!(await this.#runInstant(turn, instant, note))) {
        turn.state = { ...turn.state, dueMs: instant }
        return
      }
      if (since !== undefined) turn.state = { ...turn.state, missed: turn.state.missed + 1 }
      const following = plan.run[index + 1]
      if (turn.isNoted && following !== undefined) {
        turn.state = { ...turn.state, dueMs: following }
        return
      }
    }
    turn.state = { ...turn.state, dueMs: plan.nextMs ?? null, isOver: plan.nextMs === undefined }
  }

  /** False: it is still due. */
  async #runInstant(turn: Turn, instant: number, note: string | null): Promise<boolean> {
    const { overlap } = turn.entry.definition
    if (overlap !== 'allow' && (await this.#isRunning(turn))) {
      if (overlap === 'skip') return this.#skip(turn, instant, 'the run before has not ended')
      if (overlap === 'queue-one') return this.#queue(turn, instant)
      await this.#control.revoke(turn.state.lastTaskId ?? '', { terminate: true })
    }
    return this.#send(turn, instant, note)
  }

  async #isRunning({ state }: Turn): Promise<boolean> {
    return state.lastTaskId !== null && isUnfinished(this.#parts.core, state.lastTaskId, state.lastAtMs ?? 0)
  }

  #queue(turn: Turn, instant: number): true {
    if (turn.state.waitingMs !== null) return this.#skip(turn, instant, 'one run waits already for the end of the run before')
    turn.state = { ...turn.state, waitingMs: instant }
    turn.waitsFor = turn.state.lastTaskId ?? undefined
    return true
  }

  #skip(turn: Turn, instant: number, why: string): true {
    this.#parts.log.skipped(turn.entry.name, instant, why)
    this.#note(turn, instant, 'skipped', null, why)
    return true
  }

  /** False: it is still due. */
  async #send(turn: Turn, dueMs: number, note: string | null): Promise<boolean> {
    const { entry } = turn
    const { core, dispatcher, log, storeId } = this.#parts
    const taskId = firingId(storeId, entry.name, dueMs, turn.state.generation)
    // Noted by a leader before, or by this one, which could not tell whether it was sent.
    const isInDoubt = turn.state.sendingMs === dueMs
    const fences = await this.#fences(turn, dueMs)
    if (fences === 'deposed') {
      turn.isDeposed = true
      return false
    }
    let outcome: SendOutcome
    if (fences === undefined && isInDoubt && (await this.#isKnown(entry.name, taskId))) outcome = { status: 'sent-before' }
    else {
      log.sending(entry.name, entry.definition.task, taskId, dueMs)
      const program = this.#parts.programOf(entry)
      const isAgain = fences === undefined && isInDoubt
      const mayStill = (): boolean => this.#parts.token() !== undefined
      outcome = await dispatcher.send(
        { entry: entry.name, definition: entry.definition, program, taskId, dueMs, isAgain },
        { fences, mayStill },
      )
    }
    switch (outcome.status) {
      case 'sent':
      case 'sent-before': {
        const id = outcome.status === 'sent' ? outcome.taskId : taskId
        const { runs } = turn.state
        if (fences === undefined) this.#confirmed.set(entry.name, taskId)
        turn.state = { ...turn.state, runs: runs + 1, lastDueMs: dueMs, lastAtMs: core.clock.now(), lastTaskId: id, sendingMs: null }
        this.#note(turn, dueMs, 'sent', id, outcome.status === 'sent' ? note : 'by the beat that led before')
        return true
      }
      case 'failed':
        log.failed(entry.name, outcome.error)
        this.#note(turn, dueMs, 'failed', null, outcome.error.message)
        turn.state = { ...turn.state, sendingMs: null }
        return true
      case 'later':
        // What was certainly not sent by this try is in doubt only if it was before.
        if (!(outcome.error instanceof PublishUncertainError || isInDoubt)) turn.state = { ...turn.state, sendingMs: null }
        this.#later(turn, outcome.error)
        return false
      case 'deposed':
        turn.isDeposed = true
        return false
      default:
        return outcome satisfies never
    }
  }

  /** Undefined: the broker has none, and what is about to be sent was written down instead. */
  async #fences(turn: Turn, dueMs: number): Promise<RunFences | undefined | 'deposed'> {
    const { core, storeId, token: tokenNow, markSending } = this.#parts
    const { entry, state } = turn
    const connection = await core.connections.publisher()
    const token = tokenNow()
    if (token === undefined) return 'deposed'
    if (connection.raiseFences !== undefined) {
      return {
        leader: { key: `beat:${storeId}`, order: token, again: true },
        entry: { key: `beat:${storeId}:${entry.name}#${state.generation}`, order: dueMs },
      }
    }
    turn.isNoted = true
    if (state.sendingMs === dueMs) return undefined
    if (!(await markSending(entry, dueMs))) return 'deposed'
    turn.state = { ...turn.state, sendingMs: dueMs }
    return undefined
  }

  async #isKnown(entry: string, taskId: string): Promise<boolean> {
    if (this.#confirmed.get(entry) === taskId) return true
    const { connections } = this.#parts.core
    const backend = await connections.backend()
    if (backend.supports.results && (await backend.get(taskId)) !== undefined) return true
    const place = await (await connections.publisher()).locate(taskId)
    return place === 'waiting' || place === 'leased'
  }

  #later(turn: Turn, error: Error): void {
    const { entry } = turn
    const waitMs = Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(entry.tries, 10))
    entry.tries += 1
    turn.retryAtMs = this.#parts.core.clock.now() + waitMs
    this.#parts.log.later(entry.name, error, waitMs)
  }

  #note({ entry, rows }: Turn, dueMs: number, outcome: HistoryOutcome, taskId: string | null, note: string | null): void {
    rows.push({ entry: entry.name, dueMs, atMs: this.#parts.core.clock.now(), outcome, taskId, note })
  }
}

/** The record to be written after a turn, when it may have been changed by others since: what they decided about its due time stays. */
export function recordAfter(now: EntryRecord, { before, after }: RunReport): EntryRecord {
  const { state } = now
  const [one, other] = [before, now].map(({ stored, program }) => stored ?? program)
  const isSameDue =
    state.dueMs === before.state.dueMs &&
    state.generation === before.state.generation &&
    one != null &&
    other != null &&
    isDueAlike(one, other)
  return {
    ...now,
    state: {
      ...after,
      runs: state.runs + after.runs - before.state.runs,
      missed: state.missed + after.missed - before.state.missed,
      ...(isSameDue
        ? {}
        : {
            dueMs: state.dueMs,
            countedAtMs: state.countedAtMs,
            isOver: state.isOver,
            generation: state.generation,
            waitingMs: state.waitingMs,
          }),
    },
  }
}

/** Whether a record has what was sent in this turn already. */
export function isRecorded(now: EntryRecord | undefined, { before, after }: RunReport): boolean {
  return now !== undefined && after.lastTaskId !== before.state.lastTaskId && now.state.lastTaskId === after.lastTaskId
}
