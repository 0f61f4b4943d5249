/** What is to be done about an entry that is due: pure functions of its rules, its timetable and the time. */
import { createHash } from 'node:crypto'
import type { Definition, EntryState } from './definition.js'
import { catchUp, type Timetable } from './timetable.js'

export interface DuePlan {
  /** Instants to be run, in order. */
  readonly run: readonly number[]
  /** Instants that are left out, the last of them: for the history. */
  readonly skipped: number | undefined
  /** The due time after all these; undefined: none. */
  readonly nextMs: number | undefined
  /** The runs are in place of others that were missed since then. */
  readonly missedSinceMs: number | undefined
}

/** `dueMs` is due by now, its jitter included. */
export function planDue(definition: Definition, timetable: Timetable, dueMs: number, nowMs: number): DuePlan {
  const { misfire, misfireGraceMs, jitterMs, endMs } = definition
  const most = typeof misfire === 'object' ? misfire.all : 1
  // Those after the due one count as missed when the latest that jitter could make of them is past.
  const latest = Math.max(dueMs, endMs === null ? nowMs - jitterMs : Math.min(nowMs - jitterMs, endMs - 1))
  const instants = catchUp(timetable, dueMs, latest, most)
  const last = instants.at(-1) ?? dueMs
  const next = timetable.next(last)
  const nextMs = next === undefined || (endMs !== null && next >= endMs) ? undefined : next
  const tooLate = misfire === 'skip' && nowMs - last > misfireGraceMs + jitterMs
  if (tooLate) return { run: [], skipped: last, nextMs, missedSinceMs: undefined }
  return { run: instants, skipped: undefined, nextMs, missedSinceMs: (instants[0] ?? dueMs) > dueMs ? dueMs : undefined }
}

/** The first due time of an entry that beat sees now; undefined: there is none. */
export function firstDue({ schedule, startMs, endMs }: Definition, timetable: Timetable, nowMs: number): number | undefined {
  const first = firstFrom(schedule.kind, timetable, startMs, nowMs)
  return first === undefined || (endMs !== null && first >= endMs) ? undefined : first
}

function firstFrom(kind: Definition['schedule']['kind'], timetable: Timetable, startMs: number | null, nowMs: number): number | undefined {
  // A time that is past already is run at once, by the rule for what was missed.
  if (kind === 'at') return timetable.next(Number.NEGATIVE_INFINITY)
  if (startMs === null) return timetable.next(nowMs)
  // An interval is counted from its start; others have their own times.
  if (kind !== 'interval') return timetable.next(Math.max(nowMs, startMs - 1))
  if (startMs > nowMs) return startMs
  return timetable.next(catchUp(timetable, startMs, nowMs, 1)[0] ?? startMs)
}

/** How much later than its instant a run is: always the same for one instant, whoever leads. */
export function jitterOf(entry: string, instantMs: number, jitterMs: number): number {
  if (jitterMs === 0) return 0
  const share = createHash('sha256').update(`${entry}@${instantMs}`).digest().readUInt32BE(0) / 2 ** 32
  return Math.floor(share * jitterMs)
}

/** The id of the task that is the run of an entry at an instant: whoever sends it, and how often. A UUID in form. */
export function firingId(storeId: string, entry: string, instantMs: number, generation: number): string {
  const hex = createHash('sha256').update(`${storeId}/${entry}@${instantMs}#${generation}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-9${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** A calendar time that is repeated because the clock was put back by less is not run again. */
const smallStepMs = 3_600_000

/**
 * The state after the clock was put back, when its due time makes no sense any more: an interval goes on from now, and so does everything when the step was larger
 * than an hour, because then the clock was wrong before. Undefined: it stays.
 */
export function afterClockStep(
  definition: Definition,
  timetable: Timetable,
  state: EntryState,
  nowMs: number,
  stepMs: number,
): EntryState | undefined {
  const { schedule, startMs } = definition
  if (state.dueMs === null || state.isOver || schedule.kind === 'at') return undefined
  // An interval is due within itself, or when it starts.
  const isRight = (dueMs: number): boolean => dueMs <= Math.max(timetable.next(nowMs) ?? nowMs, startMs ?? Number.NEGATIVE_INFINITY)
  if (schedule.kind === 'interval' ? isRight(state.dueMs) : stepMs <= smallStepMs) return undefined
  const dueMs = firstDue(definition, timetable, nowMs)
  return { ...state, dueMs: dueMs ?? null, countedAtMs: nowMs, isOver: dueMs === undefined, generation: state.generation + 1 }
}
