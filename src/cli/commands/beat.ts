import { relative } from 'node:path'
import type { Command } from 'commander'
import { importTasks } from '../../app/import-tasks.js'
import type { ScheduleInfo } from '../../app/schedule-handle.js'
import type { RedBeatOptions } from '../../beat/open-beat.js'
import { ConnectionError } from '../../errors.js'
import { type Address, showAddress } from '../../internal/address.js'
import { formatDuration } from '../../internal/duration.js'
import { nodeName } from '../../internal/node-name.js'
import { packageVersion } from '../../internal/package-version.js'
import { workerLog } from '../../worker/worker-log.js'
import { addDaemonFlags, begin, type DaemonFlags, detach } from '../daemon.js'
import { addConfigFlags, beatOptions } from '../flags.js'
import { endsByHangup } from '../hangup.js'
import { addScheduleFlag, applyScheduleFlag } from '../schedule-flag.js'
import { showTime, table } from '../times.js'
import { UsageError } from '../usage-error.js'
import { type CommandContext, withApp } from '../with-app.js'

interface BeatFlags extends DaemonFlags {
  readonly schedule?: string
  readonly store?: string
  readonly import?: string
  readonly importFrom?: string
  readonly importPrefix?: string
}

const shownRuns = 3
const shownEntries = 40

export function define(command: Command): void {
  addScheduleFlag(command)
  command
    .option('--import <scheduler>', 'first bring in the entries of another scheduler: redbeat')
    .option('--import-from <url>', 'the Redis that has them; by default that of the store, the broker or the results')
    .option('--import-prefix <text>', 'what their keys begin with (default: redbeat:)')
  addDaemonFlags(command)
  addConfigFlags(command, beatOptions())
  command.addHelpText(
    'after',
    '\nAny number may run, on any hosts that share the store: one leads, and another takes over when it has been silent for --lease.',
  )
  command.action((flags: BeatFlags) => (flags.detach === true && flags.detached !== true ? detach(command, node) : run(command, flags)))
}

const node = nodeName('beat')

function run(command: Command, flags: BeatFlags): Promise<void> {
  if (flags.import !== undefined && flags.import !== 'redbeat')
    throw new UsageError(`expected --import to be redbeat, got: ${flags.import}`)
  applyScheduleFlag(flags)
  return withApp(command, async (context) => {
    const { app, core, terminal } = context
    await importTasks(core)
    if (core.config.logger === null) core.log = workerLog(core.config, { process: 'beat' })
    begin(flags, node)
    if (flags.import === 'redbeat') await importEntries(context, flags)
    terminal.note(await banner(context))
    endsByHangup()
    await app.beat().run()
  })
}

async function importEntries({ app, core, terminal }: CommandContext, { importFrom: url, importPrefix: prefix }: BeatFlags): Promise<void> {
  const { importFromRedBeat } = await import('../../beat/open-beat.js')
  // The app's own class, as in withApp: only `core` is used of the parts.
  const { sender } = (app.constructor as typeof import('../../app/app.js').Celeriac).internals(app)
  const options: RedBeatOptions = { ...(url === undefined ? {} : { url }), ...(prefix === undefined ? {} : { prefix }) }
  const { added, known, refused } = await importFromRedBeat({ core, sender, entries: new Map() }, options)
  terminal.note(`redbeat: ${added.length} entries brought in, ${known.length} were here already`)
  for (const { name, reason } of refused) terminal.note(`! redbeat: ${name} cannot be brought in: ${reason}`)
}

/** What beat says of itself when it starts: the next runs of each entry, as the clocks of its zone show them. */
async function banner({ app, core, file }: CommandContext): Promise<string> {
  const { config } = core
  const entries = await listed(app)
  const facts = [
    ['app', `${core.name}  (./${relative(process.cwd(), file)})`],
    ['broker', config.brokerUrl.map(showAddress).join('; ')],
    ['store', `${showAddress(config.beatStore)}  lease ${formatDuration(config.beatLease)}`],
    ['entries', String(entries.length)],
  ]
  const rows: string[][] = []
  for (const { name, schedule, timezone, state, next } of entries.slice(0, shownEntries)) {
    const shown = next.map((time) => showTime(time, timezone)).join(', ')
    rows.push([`  ${name}`, schedule, state === 'paused' ? 'paused' : shown === '' ? 'over' : `${shown} ${timezone}`])
  }
  const more = entries.length > shownEntries ? [`  (+${entries.length - shownEntries}: celeriac schedule list)`] : []
  const isHere = (address: Address): boolean => typeof address === 'string' && /^(?:sqlite|file|memory):/i.test(address)
  const apart = isHere(config.beatStore) && !config.brokerUrl.every(isHere)
  const problems = [
    ...(entries.length === 0 ? ['! there are no entries: see beatSchedule, or celeriac schedule add'] : []),
    ...(apart
      ? ['! the store is on this host: beats on other hosts send the same once more, unless all share one (--store redis://...)']
      : []),
  ]
  return [
    `celeriac ${packageVersion()}  beat  (pid ${process.pid})`,
    ...facts.map(([key, value]) => `  ${key?.padEnd(9)}${value}`),
    ...table(rows),
    ...more,
    ...problems,
  ].join('\n')
}

/** None, when the store cannot be reached: beat itself waits for it. */
async function listed(app: CommandContext['app']): Promise<readonly ScheduleInfo[]> {
  try {
    return await app.schedule.list({ next: shownRuns })
  } catch (error) {
    if (error instanceof ConnectionError) return []
    throw error
  }
}
