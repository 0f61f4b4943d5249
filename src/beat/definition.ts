/** What an entry is: its call, schedule and rules, checked once, and as the JSON that a store keeps. */
import type { BeatEntry, Misfire, Overlap, ScheduleData } from '../canvas/schedules.js'
import type { ApplyOptions } from '../canvas/sig.js'
import type { Signature } from '../canvas/signature.js'
import { DecodeError } from '../errors.js'

export type SendingOptions = Pick<ApplyOptions, 'retry' | 'unique'>

export interface Definition {
  /** The name of what is sent, for people. */
  readonly task: string
  /** The call as JSON with kombu's tags; null: the program makes it when it is due. */
  readonly call: string | null
  /** Options of the sending, which no message carries. Missing: none. */
  readonly sending?: SendingOptions
  readonly schedule: ScheduleData
  readonly misfire: Misfire
  readonly misfireGraceMs: number
  readonly overlap: Overlap
  readonly jitterMs: number
  readonly startMs: number | null
  readonly endMs: number | null
  readonly description: string | null
}

/** An entry of the program, with what only its code knows. */
export interface ProgramEntry {
  readonly name: string
  readonly definition: Definition
  readonly entry: BeatEntry
  /** Undefined when the call is made when it is due. */
  readonly signature: Signature | undefined
}

export interface EntryState {
  /** Null: to be found from now on. */
  readonly dueMs: number | null
  /** When the due time was found without one before it, by the clock of then: what is later than now was found by a clock that was wrong. */
  readonly countedAtMs: number | null
  /** There is nothing more to come. */
  readonly isOver: boolean
  /** Rises when due times are counted anew because the clock was put back, so that the same instant may come again. */
  readonly generation: number
  readonly lastDueMs: number | null
  readonly lastAtMs: number | null
  readonly lastTaskId: string | null
  /** Celery's total_run_count. */
  readonly runs: number
  /** How often times of it were missed; several in a row count once. */
  readonly missed: number
  /** With `queue-one`: the instant that waits for the end of the run before. */
  readonly waitingMs: number | null
  /** On a broker without fences: what is being sent, and may have been when beat was killed. */
  readonly sendingMs: number | null
}

export const newState: EntryState = {
  dueMs: null,
  countedAtMs: null,
  isOver: false,
  generation: 0,
  lastDueMs: null,
  lastAtMs: null,
  lastTaskId: null,
  runs: 0,
  missed: 0,
  waitingMs: null,
  sendingMs: null,
}

/** An entry as it is stored. What was made or changed at run time wins over what the program says, until it is removed. */
export interface EntryRecord {
  readonly program: Definition | null
  readonly stored: Definition | null
  readonly paused: boolean
  readonly state: EntryState
}

export function definitionOf(record: EntryRecord): Definition | null {
  return record.stored ?? record.program
}

export function encodeRecord(record: EntryRecord): string {
  return JSON.stringify(record)
}

/** Throws DecodeError for what another program wrote there. */
export function decodeRecord(name: string, data: string): EntryRecord {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch (cause) {
    throw unreadable(name, cause)
  }
  if (typeof value !== 'object' || value === null || !('state' in value) || !('paused' in value)) throw unreadable(name)
  // The shape is that of encodeRecord; older ones had fewer fields.
  const record = value as EntryRecord
  return { ...record, state: { ...newState, ...record.state } }
}

function unreadable(name: string, cause?: unknown): DecodeError {
  return new DecodeError(`the stored schedule entry ${JSON.stringify(name)} cannot be read. Remove it: celeriac schedule remove`, { cause })
}

/** The record with what the program says now. */
export function withProgram(record: EntryRecord, program: Definition): EntryRecord {
  const before = definitionOf(record)
  const isAlike = before !== null && isDueAlike(before, record.stored ?? program)
  return { ...record, program, state: isAlike ? record.state : { ...record.state, dueMs: null, isOver: false } }
}

/** Whether a changed definition keeps its next due time. */
export function isDueAlike(one: Definition, other: Definition): boolean {
  const parts = ({ schedule, startMs, endMs }: Definition): string => JSON.stringify([schedule, startMs, endMs])
  return parts(one) === parts(other)
}
