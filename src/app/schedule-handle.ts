import type { BeatEntry, ScheduleData } from '../canvas/schedules.js'
import type { HistoryRow } from '../schedule-store.js'

/** An entry as it is now. */
export interface ScheduleInfo {
  readonly name: string
  /** The name of the task that is sent. */
  readonly task: string
  /** For people: `crontab 0 3 * * * (Europe/Berlin)`. */
  readonly schedule: string
  readonly scheduleData: ScheduleData
  /** The zone in which its times are meant to be read. */
  readonly timezone: string
  /** program: only in its code. stored: made at run time. changed: the program's, changed at run time. */
  readonly source: 'program' | 'stored' | 'changed'
  /** unseen: no beat has seen it yet. over: it has no more times. */
  readonly state: 'waiting' | 'paused' | 'over' | 'unseen'
  readonly dueAt: Date | null
  /** The coming times, `dueAt` first: as many as were asked for. */
  readonly next: readonly Date[]
  /** The time that it was last due and run. */
  readonly lastDueAt: Date | null
  readonly lastRunAt: Date | null
  readonly lastTaskId: string | null
  readonly totalRunCount: number
  /** How often it was late, and times of it were left out or made up for; several in a row count once. */
  readonly missedCount: number
  readonly overlap: string
  readonly misfire: string
  readonly jitter: number
  readonly startAt: Date | null
  readonly endAt: Date | null
  readonly description: string | null
}

/** One time that was due, or asked for, and what became of it. */
export type ScheduleRun = Pick<HistoryRow, 'entry' | 'outcome' | 'taskId' | 'note'> & { readonly dueAt: Date | null; readonly at: Date }

/** Schedules at run time: every change is in the store at once, and the beat that leads follows within `beatMaxLoopInterval`. */
export interface Schedules {
  /** By name, each with its next times: one, or `next`. */
  list(options?: { next?: number }): Promise<ScheduleInfo[]>
  /** Undefined: there is none of that name. */
  get(name: string): Promise<ScheduleInfo | undefined>
  /** A new entry. ScheduleConflictError when there is one of that name. What only the program's code can do (functions, own schedules) cannot be stored. */
  add(name: string, entry: BeatEntry): Promise<ScheduleInfo>
  /** Changes these fields. A changed program's entry stays changed, also after a restart, until `remove`. */
  update(name: string, changes: Partial<BeatEntry>): Promise<ScheduleInfo>
  /** Not due from now on, also after a restart, until `resume`. What falls into the pause is not made up for. */
  pause(name: string): Promise<ScheduleInfo>
  resume(name: string): Promise<ScheduleInfo>
  /** Sends it now, whatever its schedule says, and gives the id of the task. */
  run(name: string): Promise<string>
  /** Removes an entry that was added; takes back what `update` changed of the program's. The program's own cannot be removed: pause it. */
  remove(name: string): Promise<void>
  /** The next times of an entry, jitter left aside. */
  next(name: string, count?: number): Promise<Date[]>
  /** What became of its times, the newest first. Default limit: 20. */
  history(name?: string, options?: { limit?: number }): Promise<ScheduleRun[]>
}
