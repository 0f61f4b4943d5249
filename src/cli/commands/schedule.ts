import type { Command } from 'commander'
import { importTasks } from '../../app/import-tasks.js'
import type { ScheduleInfo } from '../../app/schedule-handle.js'
import type { BeatEntry, Misfire, Overlap, Schedule, SolarEvent } from '../../canvas/schedules.js'
import type { ApplyOptions } from '../../canvas/sig.js'
import { OptionInvalidError, OptionUnknownError } from '../../errors.js'
import { didYouMean } from '../../internal/did-you-mean.js'
import type { Duration } from '../../internal/duration.js'
import { addConfigFlags } from '../flags.js'
import { addScheduleFlag, applyScheduleFlag } from '../schedule-flag.js'
import { showTime, table } from '../times.js'
import { UsageError } from '../usage-error.js'
import { count, dateText, durationOrDate, durationText, jsonArray, jsonObject } from '../values.js'
import { type CommandContext, withApp } from '../with-app.js'

interface ScheduleFlags {
  readonly task?: string
  readonly args?: unknown[]
  readonly kwargs?: Record<string, unknown>
  readonly cron?: string
  readonly timezone?: string
  readonly every?: Duration
  readonly relative?: true
  readonly at?: Date
  readonly solar?: string
  readonly lat?: string
  readonly lon?: string
  readonly queue?: string
  readonly priority?: number
  readonly expires?: ApplyOptions['expires']
  readonly overlap?: string
  readonly misfire?: string
  readonly misfireGrace?: Duration
  readonly jitter?: Duration
  readonly startAt?: Date
  readonly endAt?: Date
  readonly description?: string
  readonly count?: number
  readonly json?: true
  readonly schedule?: string
  readonly store?: string
}

type Action = (context: CommandContext, name: string, flags: ScheduleFlags) => Promise<void>

const actions: Readonly<Record<string, { readonly needsName: boolean; readonly does: Action }>> = {
  list: { needsName: false, does: list },
  next: { needsName: true, does: next },
  history: { needsName: false, does: history },
  add: {
    needsName: true,
    does: async (context, name, flags) => tell(context, await context.app.schedule.add(name, await newEntry(flags)), flags, 'added'),
  },
  update: {
    needsName: true,
    does: async (context, name, flags) => tell(context, await context.app.schedule.update(name, await changesOf(flags)), flags, 'changed'),
  },
  pause: { needsName: true, does: async (context, name, flags) => tell(context, await context.app.schedule.pause(name), flags, 'paused') },
  resume: {
    needsName: true,
    does: async (context, name, flags) => tell(context, await context.app.schedule.resume(name), flags, 'resumed'),
  },
  run: {
    needsName: true,
    does: async ({ app, terminal }, name, { json }) => {
      const id = await app.schedule.run(name)
      terminal.data(json === true ? JSON.stringify({ id }) : id)
    },
  },
  remove: {
    needsName: true,
    does: async ({ app, terminal }, name, { json }) => {
      await app.schedule.remove(name)
      if (json === true) terminal.data(JSON.stringify({ removed: name }))
      else terminal.note(`${name} removed`)
    },
  },
}

export function define(command: Command): void {
  command
    .argument('<action>', Object.keys(actions).join(', '))
    .argument('[name]', 'the name of the entry; list and history go without')
    .option('--task <name>', 'the task that is sent')
    .option('-a, --args <json>', 'its arguments as a JSON array', jsonArray)
    .option('-k, --kwargs <json>', 'its keyword arguments as a JSON object', jsonObject)
    .option('--cron <expression>', 'due at these times: "minute hour day-of-month month day-of-week"')
    .option('--timezone <zone>', "the zone whose clocks count for --cron; by default the app's")
    .option('--every <duration>', 'due again and again after it', (text) => durationText(text, '--every'))
    .option('--relative', 'with --every: at full days, hours or minutes')
    .option('--at <time>', 'due once (ISO 8601)', (text) => dateText(text, '--at'))
    .option('--solar <event>', 'due at this event of the sun, at --lat and --lon')
    .option('--lat <degrees>', 'north is positive')
    .option('--lon <degrees>', 'east is positive')
    .option('--queue <name>', 'send it to this queue')
    .option('--priority <number>', 'with this priority', (text) => count(text, '--priority', 255))
    .option('--expires <duration>', 'a run that has not begun by then is dropped', (text) => durationOrDate(text, '--expires'))
    .option('--overlap <rule>', 'when the run before has not ended: allow, skip, queue-one or cancel-previous')
    .option('--misfire <rule>', 'for times that were missed: once, skip, or a number: each of them, the latest so many')
    .option('--misfire-grace <duration>', 'with --misfire skip: how late a run may be', (text) => durationText(text, '--misfire-grace'))
    .option('--jitter <duration>', 'each run is later by a part of this', (text) => durationText(text, '--jitter'))
    .option('--start-at <time>', 'not due before (ISO 8601)', (text) => dateText(text, '--start-at'))
    .option('--end-at <time>', 'not due from then on (ISO 8601)', (text) => dateText(text, '--end-at'))
    .option('--description <text>', 'what it is for')
    .option('-n, --count <number>', 'how many times next shows, or how many runs history (default: 10)', (text) =>
      count(text, '--count', 10_000),
    )
    .option('--json', 'write JSON')
  // Where the beat is told to keep it, it is changed.
  addScheduleFlag(command)
  addConfigFlags(command, ['beatStore'])
  command
    .addHelpText('after', '\nExample: celeriac schedule add nightly --task tasks.report --cron "0 3 * * mon-fri" --timezone Europe/Berlin')
    .action((action: string, name: string | undefined, flags: ScheduleFlags) => {
      const chosen = Object.hasOwn(actions, action) ? actions[action] : undefined
      if (chosen === undefined) {
        const near = didYouMean(action, Object.keys(actions))
        throw new UsageError(
          `expected schedule ${Object.keys(actions).join('|')}, got: ${action}.${near === undefined ? '' : ` Did you mean ${near}?`}`,
        )
      }
      applyScheduleFlag(flags)
      if (chosen.needsName && name === undefined) throw new UsageError(`celeriac schedule ${action} needs the name of an entry`)
      return withApp(command, async (context) => {
        await importTasks(context.core)
        await chosen.does(context, name ?? '', flags)
      })
    })
}

async function list({ app, terminal }: CommandContext, _name: string, { json }: ScheduleFlags): Promise<void> {
  const entries = await app.schedule.list()
  if (json === true) {
    terminal.data(JSON.stringify(entries))
    return
  }
  const head = ['NAME', 'TASK', 'SCHEDULE', 'STATE', 'RUNS', 'LAST', 'NEXT']
  const rows = entries.map(({ name, task, schedule, state, totalRunCount, lastRunAt, dueAt, timezone }) => [
    name,
    task,
    schedule,
    state,
    String(totalRunCount),
    lastRunAt === null ? '-' : showTime(lastRunAt, timezone),
    dueAt === null ? '-' : `${showTime(dueAt, timezone)} ${timezone}`,
  ])
  for (const line of table([head, ...rows])) terminal.data(line)
}

async function next({ app, terminal }: CommandContext, name: string, { json, count: most = 10 }: ScheduleFlags): Promise<void> {
  const times = await app.schedule.next(name, most)
  if (json === true) {
    terminal.data(JSON.stringify({ name, next: times }))
    return
  }
  const timezone = (await app.schedule.get(name))?.timezone ?? 'UTC'
  for (const time of times) terminal.data(`${showTime(time, timezone)} ${timezone}`)
}

async function history({ app, core, terminal }: CommandContext, name: string, { json, count: limit = 10 }: ScheduleFlags): Promise<void> {
  const runs = await app.schedule.history(name === '' ? undefined : name, { limit })
  if (json === true) {
    terminal.data(JSON.stringify(runs))
    return
  }
  const { timezone } = core.config
  const rows = runs.map((run) => [
    showTime(run.at, timezone),
    run.entry,
    run.outcome,
    run.dueAt === null ? '-' : showTime(run.dueAt, timezone),
    run.taskId ?? '-',
    run.note ?? '',
  ])
  for (const line of table([['AT', 'NAME', 'OUTCOME', 'DUE', 'TASK', ''], ...rows])) terminal.data(line)
}

async function tell({ terminal }: CommandContext, info: ScheduleInfo, { json }: ScheduleFlags, done: string): Promise<void> {
  if (json === true) terminal.data(JSON.stringify(info))
  else terminal.note(`${info.name} ${done}${info.dueAt === null ? '' : `; next: ${showTime(info.dueAt, info.timezone)} ${info.timezone}`}`)
}

async function newEntry(flags: ScheduleFlags): Promise<BeatEntry> {
  const changes = await changesOf(flags)
  const { task, schedule } = changes
  if (task === undefined) throw new UsageError('celeriac schedule add needs --task')
  if (schedule === undefined) throw new UsageError('celeriac schedule add needs one of --cron, --every, --at and --solar')
  return { ...changes, task, schedule }
}

async function changesOf(flags: ScheduleFlags): Promise<Partial<BeatEntry>> {
  const { task, args, kwargs, queue, priority, expires, overlap, misfire, misfireGrace, jitter, startAt, endAt, description } = flags
  const options = given({ queue, priority, expires })
  const changes = {
    task,
    args,
    kwargs,
    schedule: await scheduleOf(flags),
    options: Object.keys(options).length === 0 ? undefined : options,
    // What is none is refused where entries are read, in the same words for programs.
    overlap: overlap as Overlap | undefined,
    misfire: misfire === undefined ? undefined : /^\d+$/.test(misfire) ? { all: Number(misfire) } : (misfire as Misfire),
    misfireGrace,
    jitter,
    startAt,
    endAt,
    description,
  }
  return given(changes)
}

async function scheduleOf({ cron, timezone, every, relative, at, solar, lat, lon }: ScheduleFlags): Promise<Schedule | undefined> {
  const kinds = Object.entries({ '--cron': cron, '--every': every, '--at': at, '--solar': solar }).filter(
    ([, value]) => value !== undefined,
  )
  if (kinds.length > 1) throw new UsageError(`expected one of ${kinds.map(([flag]) => flag).join(' and ')}`)
  if (timezone !== undefined && cron === undefined) throw new UsageError('--timezone belongs to --cron')
  if (relative !== undefined && every === undefined) throw new UsageError('--relative belongs to --every')
  const [crontabs, intervals, suns, times] = await Promise.all([
    import('../../beat/crontab.js'),
    import('../../beat/interval.js'),
    import('../../beat/solar.js'),
    import('../../beat/at.js'),
  ])
  try {
    if (cron !== undefined) return crontabs.crontab(cron, timezone === undefined ? {} : { timezone })
    if (every !== undefined) return intervals.every(every, { relative: relative === true })
    if (at !== undefined) return times.at(at)
    // Checked there.
    if (solar !== undefined) return suns.solar(solar as SolarEvent, Number(lat ?? Number.NaN), Number(lon ?? Number.NaN))
    return undefined
  } catch (error) {
    if (error instanceof OptionInvalidError || error instanceof OptionUnknownError) throw new UsageError(error.message)
    throw error
  }
}

/** What of the flags was given. */
function given<T extends Record<string, unknown>>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  // Filtered just here.
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
