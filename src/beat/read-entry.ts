/** From what a program or a command line says to a definition. Everything is checked here, so that beat never meets a wrong entry. */
import { checkCallOptions } from '../app/call-options.js'
import type { BeatEntry, Misfire, Overlap, Schedule, ScheduleData } from '../canvas/schedules.js'
import { Signature, type SignatureSender, signatureOf } from '../canvas/signature.js'
import { OptionInvalidError, OptionUnknownError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { type Duration, parseDuration } from '../internal/duration.js'
import { encodeJson } from '../serializers/json.js'
import type { Definition, ProgramEntry } from './definition.js'
import { intervalData } from './interval.js'
import { dataOf, isOwnSchedule, notASchedule } from './schedule.js'

const fields = [
  'task',
  'args',
  'kwargs',
  'schedule',
  'relative',
  'options',
  'misfire',
  'misfireGrace',
  'overlap',
  'jitter',
  'startAt',
  'endAt',
  'description',
] as const

export interface ReadEntryOptions {
  readonly sender: SignatureSender
  /** `beatCronStartingDeadline`, in seconds. */
  readonly cronDeadline: number | null
}

/** Throws OptionInvalidError and OptionUnknownError that name the entry. */
export function readEntry(name: string, entry: BeatEntry, { sender, cronDeadline }: ReadEntryOptions): ProgramEntry {
  const where = `beatSchedule.${name}`
  if (typeof entry !== 'object' || entry === null) throw new OptionInvalidError(where, 'an object with task and schedule', entry)
  for (const key of Object.keys(entry)) {
    if (!(fields as readonly string[]).includes(key)) throw new OptionUnknownError(`${where}.${key}`, didYouMean(key, fields))
  }
  const signature = callOf(where, entry, sender)
  const taskId = signature?.call.options.taskId ?? entry.options?.taskId
  if (taskId !== undefined) throw new OptionInvalidError(`${where}.options.taskId`, 'left out: each run has the id of its time', taskId)
  const schedule = readSchedule(`${where}.schedule`, entry.schedule, entry.relative ?? false)
  const definition: Definition = {
    task: signature?.task ?? '(made when it is due)',
    ...callData(where, signature),
    schedule,
    ...readMisfire(where, entry, schedule, cronDeadline),
    overlap: oneOf(`${where}.overlap`, ['allow', 'skip', 'queue-one', 'cancel-previous'] satisfies Overlap[], entry.overlap ?? 'allow'),
    jitterMs: milliseconds(`${where}.jitter`, entry.jitter ?? 0),
    startMs: timeOf(`${where}.startAt`, entry.startAt),
    endMs: timeOf(`${where}.endAt`, entry.endAt),
    description: entry.description ?? null,
  }
  return { name, definition, entry, signature }
}

/** The call as data. Throws for options that neither a message nor a schedule can carry. */
function callData(where: string, signature: Signature | undefined): Pick<Definition, 'call' | 'sending'> {
  if (signature === undefined) return { call: null }
  const { retry, unique } = signature.call.options
  // Those of a workflow concern no one message: it refuses them.
  const isOneTask = signature.call.subtaskType === null
  if (!isOneTask || (retry === undefined && unique === undefined)) return { call: encodeJson(signature.toJSON(), where) }
  const sending = { ...(retry === undefined ? {} : { retry }), ...(unique === undefined ? {} : { unique }) }
  checkCallOptions(sending)
  return { call: encodeJson(signature.set({ retry: undefined, unique: undefined }).toJSON(), where), sending }
}

/** Seconds, text with a unit, what `crontab` and the others made, or an object of the program's. */
function readSchedule(where: string, schedule: Schedule | Duration, relative = false): ScheduleData {
  if (typeof schedule === 'number' || typeof schedule === 'string') return intervalData(schedule, relative)
  const data = dataOf(schedule)
  if (data !== undefined) return relative && data.kind === 'interval' ? { ...data, relative } : data
  if (isOwnSchedule(schedule)) return { kind: 'own', says: ownName(schedule) }
  throw notASchedule(where, schedule)
}

function ownName(schedule: object): string {
  const said = String(schedule)
  return said === '[object Object]' ? (schedule.constructor?.name ?? 'own schedule') : said
}

/** Undefined: made when it is due. */
function callOf(where: string, { task, args, kwargs, options = {} }: BeatEntry, sender: SignatureSender): Signature | undefined {
  if (typeof task === 'string') {
    return new Signature({ task, args: args ?? [], kwargs: kwargs ?? {}, options, subtaskType: null, immutable: false }, sender)
  }
  if (args !== undefined || kwargs !== undefined)
    throw new OptionInvalidError(
      `${where}.${args === undefined ? 'kwargs' : 'args'}`,
      'left out: the arguments are in the signature',
      args ?? kwargs,
    )
  if (typeof task === 'function' && !('delay' in task)) return undefined
  try {
    // Checked just now to be what a program takes for a signature.
    return signatureOf(task as never).set(options)
  } catch (cause) {
    throw new OptionInvalidError(`${where}.task`, 'a signature such as add.s(1, 2), a name, or a function that gives a signature', cause)
  }
}

function readMisfire(
  where: string,
  { misfire, misfireGrace }: BeatEntry,
  schedule: ScheduleData,
  cronDeadline: number | null,
): Pick<Definition, 'misfire' | 'misfireGraceMs'> {
  if (misfire === undefined && cronDeadline !== null && schedule.kind === 'crontab')
    return { misfire: 'skip', misfireGraceMs: cronDeadline * 1000 }
  const misfireGraceMs = milliseconds(`${where}.misfireGrace`, misfireGrace ?? 60)
  if (misfireGrace !== undefined && misfire !== 'skip')
    throw new OptionInvalidError(`${where}.misfireGrace`, "left out: it belongs to misfire: 'skip'", misfireGrace)
  return { misfire: checkMisfire(`${where}.misfire`, misfire ?? 'once'), misfireGraceMs }
}

function checkMisfire(where: string, misfire: Misfire): Misfire {
  if (misfire === 'once' || misfire === 'skip') return misfire
  const most: unknown = typeof misfire === 'object' && misfire !== null ? misfire.all : undefined
  if (Number.isSafeInteger(most) && Number(most) >= 1 && Number(most) <= 10_000) return { all: Number(most) }
  throw new OptionInvalidError(where, '"once", "skip" or { all: most } with a number from 1 to 10000', misfire)
}

function milliseconds(where: string, value: Duration): number {
  const seconds = parseDuration(value)
  if (seconds === undefined) throw new OptionInvalidError(where, 'a duration of 0 or more, such as 30 or "5m"', value)
  return seconds * 1000
}

function timeOf(where: string, value: Date | undefined): number | null {
  if (value === undefined) return null
  const ms = value instanceof Date ? value.getTime() : Number.NaN
  if (Number.isNaN(ms)) throw new OptionInvalidError(where, 'a valid Date', value)
  return ms
}

function oneOf<T extends string>(where: string, words: readonly T[], value: T): T {
  if (words.includes(value)) return value
  throw new OptionInvalidError(where, words.map((word) => JSON.stringify(word)).join(', '), value)
}
