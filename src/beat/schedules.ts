import type { AppCore } from '../app/core.js'
import type { ScheduleInfo, ScheduleRun, Schedules } from '../app/schedule-handle.js'
import type { Sender } from '../app/sender.js'
import type { BeatEntry } from '../canvas/schedules.js'
import type { ApplyOptions } from '../canvas/sig.js'
import { wireOptions } from '../canvas/wire-options.js'
import { ConnectionError, DecodeError, OptionInvalidError, ScheduleConflictError, ScheduleNotFoundError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { newTaskId } from '../internal/task-id.js'
import { parseSignature } from '../protocol/signature.js'
import type { HistoryRow, ScheduleStore } from '../schedule-store.js'
import { decodeJson, encodeJson } from '../serializers/json.js'
import {
  type Definition,
  decodeRecord,
  definitionOf,
  type EntryRecord,
  encodeRecord,
  isDueAlike,
  newState,
  type ProgramEntry,
  withProgram,
} from './definition.js'
import { Dispatcher } from './dispatcher.js'
import { firstDue } from './due.js'
import { readEntry } from './read-entry.js'
import { isOwnSchedule, scheduleOf } from './schedule.js'
import { nextInstants, type Timetable } from './timetable.js'
import { describeSchedule, ownTimetable, type Timetables } from './timetables.js'

export interface SchedulesParts {
  readonly core: AppCore
  readonly sender: Sender
  readonly timetables: Timetables
  readonly program: ReadonlyMap<string, ProgramEntry>
  /** Opens one for each call: programs that change a schedule now and then hold nothing open. */
  readonly openStore: () => Promise<ScheduleStore>
}

interface Found {
  readonly record: EntryRecord
  /** 0: no beat has seen it, so it is not stored. */
  readonly revision: number
}

/** A change and a beat's record of a run may meet a few times, not many. */
const mostTries = 20

export class StoredSchedules implements Schedules {
  readonly #parts: SchedulesParts

  constructor(parts: SchedulesParts) {
    this.#parts = parts
  }

  async list({ next = 1 }: { next?: number } = {}): Promise<ScheduleInfo[]> {
    const entries = await this.#open((store) => this.#all(store))
    return [...entries].map(([name, found]) => this.#info(name, found, next)).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async get(name: string): Promise<ScheduleInfo | undefined> {
    const found = (await this.#open((store) => this.#all(store))).get(name)
    return found === undefined ? undefined : this.#info(name, found)
  }

  add(name: string, entry: BeatEntry): Promise<ScheduleInfo> {
    const definition = this.#storable(name, this.#read(name, entry))
    return this.#change(name, (record, revision) => {
      if (record !== undefined)
        throw new ScheduleConflictError(
          `there is a schedule entry ${JSON.stringify(name)} already: change it with update, or choose another name`,
        )
      // One of this name may have been sent and removed: its times are not those of this one.
      return { program: null, stored: definition, paused: false, state: { ...newState, generation: revision } }
    })
  }

  update(name: string, changes: Partial<BeatEntry>): Promise<ScheduleInfo> {
    return this.#change(name, (record) => {
      const before = record === undefined ? undefined : definitionOf(record)
      if (record === undefined || before === null || before === undefined) throw this.#notFound(name, [])
      const stored = this.#storable(name, this.#changed(name, before, changes))
      const { generation } = record.state
      const state = isDueAlike(before, stored)
        ? record.state
        : { ...record.state, dueMs: null, sendingMs: null, isOver: false, generation: generation + 1 }
      return { ...record, stored, state }
    })
  }

  pause(name: string): Promise<ScheduleInfo> {
    return this.#change(name, (record) => ({ ...this.#existing(name, record), paused: true }))
  }

  resume(name: string): Promise<ScheduleInfo> {
    return this.#change(name, (given) => {
      const record = this.#existing(name, given)
      if (!record.paused) return record
      // From now on: what fell into the pause is not made up for.
      const schedule = definitionOf(record)?.schedule
      const isOver = record.state.isOver || (schedule?.kind === 'at' && schedule.atMs <= this.#parts.core.clock.now())
      return { ...record, paused: false, state: { ...record.state, dueMs: null, waitingMs: null, isOver } }
    })
  }

  async run(name: string): Promise<string> {
    const { core, sender, program } = this.#parts
    return this.#open(async (store) => {
      const entries = await this.#all(store)
      const found = entries.get(name)
      const definition = found === undefined ? null : definitionOf(found.record)
      if (found === undefined || definition === null) throw this.#notFound(name, entries.keys())
      const own = found.record.stored === null ? program.get(name) : undefined
      const nowMs = core.clock.now()
      const taskId = newTaskId(nowMs)
      const outcome = await new Dispatcher(core, sender).send({ entry: name, definition, program: own, taskId, dueMs: nowMs })
      if (outcome.status === 'failed' || outcome.status === 'later') throw outcome.error
      const sentId = outcome.status === 'sent' ? outcome.taskId : taskId
      const row: HistoryRow = { entry: name, dueMs: null, atMs: nowMs, outcome: 'asked', taskId: sentId, note: null }
      await this.#changeIn(
        store,
        name,
        (record) => {
          const now = this.#existing(name, record)
          return { ...now, state: { ...now.state, runs: now.state.runs + 1, lastAtMs: nowMs, lastTaskId: sentId } }
        },
        [row],
      )
      return sentId
    })
  }

  async remove(name: string): Promise<void> {
    await this.#open(async (store) => {
      const unreadable = await this.#unreadable(store, name)
      if (unreadable !== undefined) {
        await store.write({ entries: [{ name, from: unreadable.revision, data: null }] })
        return
      }
      await this.#changeIn(store, name, (given) => {
        const record = this.#existing(name, given)
        if (record.program === null) return null
        if (record.stored === null) {
          throw new ScheduleConflictError(
            `the schedule entry ${JSON.stringify(name)} is the program's own: take it out of its code, or pause it`,
          )
        }
        const isAlike = isDueAlike(record.stored, record.program)
        return { ...record, stored: null, state: isAlike ? record.state : { ...record.state, dueMs: null, isOver: false } }
      })
    })
  }

  async next(name: string, count = 10): Promise<Date[]> {
    const entries = await this.#open((store) => this.#all(store))
    const found = entries.get(name)
    if (found === undefined) throw this.#notFound(name, entries.keys())
    return this.#nextOf(name, found.record, count)
  }

  async history(name?: string, { limit = 20 }: { limit?: number } = {}): Promise<ScheduleRun[]> {
    const rows = await this.#open((store) => store.history(name === undefined ? { limit } : { entry: name, limit }))
    return rows.map(({ dueMs, atMs, ...row }) => ({ ...row, dueAt: dateOf(dueMs), at: new Date(atMs) }))
  }

  #nextOf(name: string, record: EntryRecord, count: number): Date[] {
    const definition = definitionOf(record)
    const timetable = definition === null ? undefined : this.#timetable(name, definition)
    if (definition === null || timetable === undefined || record.state.isOver) return []
    const nowMs = this.#parts.core.clock.now()
    const first = record.state.dueMs ?? firstDue(definition, timetable, nowMs)
    if (first === undefined) return []
    return [first, ...nextInstants(timetable, first, count - 1)]
      .slice(0, count)
      .filter((ms) => definition.endMs === null || ms < definition.endMs)
      .map((ms) => new Date(ms))
  }

  #timetable(name: string, { schedule }: Definition): Timetable | undefined {
    const own = this.#parts.program.get(name)?.entry.schedule
    return this.#parts.timetables.of(schedule) ?? (isOwnSchedule(own) ? ownTimetable(own, name) : undefined)
  }

  async #open<T>(work: (store: ScheduleStore) => Promise<T>): Promise<T> {
    const store = await this.#parts.openStore()
    try {
      return await work(store)
    } finally {
      await store.close()
    }
  }

  /** The stored entries and the program's, as a beat would have them. What cannot be read is left out, and told. */
  async #all(store: ScheduleStore): Promise<Map<string, Found>> {
    const all = new Map<string, Found>()
    for (const { name, revision, data } of await store.entries(0)) {
      if (data === null) continue
      const record = this.#decoded(name, data)
      if (record instanceof DecodeError) this.#parts.core.log.warn({ err: record, entry: name }, record.message)
      else all.set(name, { record, revision })
    }
    for (const [name, { definition }] of this.#parts.program) {
      const known = all.get(name)
      const record =
        known === undefined ? { program: definition, stored: null, paused: false, state: newState } : withProgram(known.record, definition)
      all.set(name, { record, revision: known?.revision ?? 0 })
    }
    return all
  }

  #decoded(name: string, data: string): EntryRecord | DecodeError {
    try {
      return decodeRecord(name, data)
    } catch (error) {
      if (error instanceof DecodeError) return error
      throw error
    }
  }

  /** What is stored under the name, when it cannot be read. */
  async #unreadable(store: ScheduleStore, name: string): Promise<{ readonly revision: number; readonly error: DecodeError } | undefined> {
    const stored = (await store.entries(0)).find((entry) => entry.name === name)
    const error = stored === undefined || stored.data === null ? undefined : this.#decoded(name, stored.data)
    return stored !== undefined && error instanceof DecodeError ? { revision: stored.revision, error } : undefined
  }

  async #change(name: string, change: (record: EntryRecord | undefined, revision: number) => EntryRecord): Promise<ScheduleInfo> {
    return this.#open(async (store) => {
      const found = await this.#changeIn(store, name, change)
      if (found === undefined) throw this.#notFound(name, [])
      return this.#info(name, found)
    })
  }

  /** Undefined: it was removed. */
  async #changeIn(
    store: ScheduleStore,
    name: string,
    change: (record: EntryRecord | undefined, revision: number) => EntryRecord | null,
    history: readonly HistoryRow[] = [],
  ): Promise<Found | undefined> {
    const unreadable = await this.#unreadable(store, name)
    if (unreadable !== undefined) throw unreadable.error
    for (let tries = 0; tries < mostTries; tries++) {
      const [revision, entries] = [await store.revision(), await this.#all(store)]
      const found = entries.get(name)
      let record: EntryRecord | null
      try {
        record = change(found?.record, revision)
      } catch (error) {
        throw error instanceof ScheduleNotFoundError ? this.#notFound(name, entries.keys()) : error
      }
      const data = record === null ? null : encodeRecord(record)
      const entry = { name, from: found?.revision ?? 0, data }
      const outcome = await store.write({ entries: [entry], history, historyKept: this.#parts.core.config.beatHistory })
      if (outcome.status === 'written') return record === null ? undefined : { record, revision: outcome.revision }
    }
    throw new ConnectionError(`the schedule entry ${JSON.stringify(name)} is being changed by others all the time`)
  }

  #existing(name: string, record: EntryRecord | undefined): EntryRecord {
    if (record === undefined) throw this.#notFound(name, [])
    return record
  }

  #notFound(name: string, names: Iterable<string>): ScheduleNotFoundError {
    return new ScheduleNotFoundError(name, didYouMean(name, [...names]))
  }

  #read(name: string, entry: BeatEntry): ProgramEntry {
    const { core, sender } = this.#parts
    return readEntry(name, entry, { sender, cronDeadline: core.config.beatCronStartingDeadline })
  }

  #storable(name: string, { definition }: Pick<ProgramEntry, 'definition'>): Definition {
    const isCode = definition.call === null || definition.schedule.kind === 'own'
    if (!isCode) return definition
    throw new OptionInvalidError(
      `the schedule entry ${name}`,
      'data: a signature or the name of a task, and a schedule of crontab, every, solar or at. Functions and own schedules belong into beatSchedule',
      definition.call === null ? 'a function' : definition.schedule,
    )
  }

  /** The definition with the given fields of the changes. */
  #changed(name: string, before: Definition, changes: Partial<BeatEntry>): Pick<ProgramEntry, 'definition'> {
    const { task = 'unchanged', args, kwargs, options, relative, schedule = scheduleOf(before.schedule), ...rest } = changes
    const hasCall = changes.task !== undefined || args !== undefined || kwargs !== undefined
    const given = {
      ...(args === undefined ? {} : { args }),
      ...(kwargs === undefined ? {} : { kwargs }),
      ...(options === undefined ? {} : { options }),
      ...(relative === undefined ? {} : { relative }),
    }
    // How late a run may be belongs to the rule that there is.
    const misfire = changes.misfire ?? (changes.misfireGrace === undefined ? undefined : before.misfire)
    const read = this.#read(name, {
      task: hasCall && changes.task === undefined ? before.task : task,
      schedule,
      ...given,
      ...rest,
      ...(misfire === undefined ? {} : { misfire }),
    }).definition
    const call = hasCall
      ? { task: read.task, call: changes.task === undefined ? mergedCall(before, changes) : read.call }
      : { task: before.task, call: options === undefined ? before.call : mergedCall(before, changes) }
    const { sending: kept, ...rules } = before
    const sending = { ...(changes.task === undefined ? kept : {}), ...read.sending }
    return {
      definition: {
        ...rules,
        ...call,
        ...(Object.keys(sending).length === 0 ? {} : { sending }),
        ...(changes.schedule === undefined && relative === undefined ? {} : { schedule: read.schedule }),
        ...(misfire === undefined ? {} : { misfire: read.misfire, misfireGraceMs: read.misfireGraceMs }),
        ...(changes.overlap === undefined ? {} : { overlap: read.overlap }),
        ...(changes.jitter === undefined ? {} : { jitterMs: read.jitterMs }),
        ...(changes.startAt === undefined ? {} : { startMs: read.startMs }),
        ...(changes.endAt === undefined ? {} : { endMs: read.endMs }),
        ...(changes.description === undefined ? {} : { description: read.description }),
      },
    }
  }

  #info(name: string, { record, revision }: Found, count = 1): ScheduleInfo {
    const definition = definitionOf(record)
    if (definition === null) throw this.#notFound(name, [])
    const { timetables } = this.#parts
    const { state, paused } = record
    const next = paused ? [] : this.#nextOf(name, record, count)
    return {
      name,
      task: definition.task,
      schedule: describeSchedule(definition.schedule),
      scheduleData: definition.schedule,
      timezone: timetables.zoneOf(definition.schedule).name,
      source: record.program === null ? 'stored' : record.stored === null ? 'program' : 'changed',
      state: paused ? 'paused' : state.isOver ? 'over' : revision === 0 ? 'unseen' : 'waiting',
      dueAt: next[0] ?? null,
      next,
      lastDueAt: dateOf(state.lastDueMs),
      lastRunAt: dateOf(state.lastAtMs),
      lastTaskId: state.lastTaskId,
      totalRunCount: state.runs,
      missedCount: state.missed,
      overlap: definition.overlap,
      misfire: typeof definition.misfire === 'string' ? definition.misfire : `all ${definition.misfire.all}`,
      jitter: definition.jitterMs / 1000,
      startAt: dateOf(definition.startMs),
      endAt: dateOf(definition.endMs),
      description: definition.description,
    }
  }
}

/** The call that is there with other arguments or options. */
function mergedCall({ call }: Definition, { args, kwargs, options }: Partial<BeatEntry>): string | null {
  if (call === null) return null
  const signature = parseSignature(decodeJson(call), 'the stored call')
  return encodeJson(
    {
      ...signature,
      args: args ?? signature.args,
      kwargs: kwargs ?? signature.kwargs,
      options: options === undefined ? signature.options : { ...signature.options, ...wireOptions(travelling(options)) },
    },
    'the call',
  )
}

/** Without those of the sending, which the entry keeps beside its call. */
function travelling({ retry: _, unique: __, ...options }: ApplyOptions): ApplyOptions {
  return options
}

function dateOf(ms: number | null): Date | null {
  return ms === null ? null : new Date(ms)
}
