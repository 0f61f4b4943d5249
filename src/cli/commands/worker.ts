import type { Command } from 'commander'
import { importTasks } from '../../app/import-tasks.js'
import { nodeName } from '../../internal/node-name.js'
import { packageVersion } from '../../internal/package-version.js'
import { workerLog } from '../../worker/worker-log.js'
import { banner } from '../banner.js'
import { addDaemonFlags, begin, type DaemonFlags, detach } from '../daemon.js'
import { exitCodes } from '../exit-codes.js'
import { addConfigFlags, workerOptions } from '../flags.js'
import { endsByHangup } from '../hangup.js'
import { noteNearQueues } from '../near-queue.js'
import { addScheduleFlag, applyScheduleFlag } from '../schedule-flag.js'
import { UsageError } from '../usage-error.js'
import { nameList } from '../values.js'
import { withApp } from '../with-app.js'

interface WorkerFlags extends DaemonFlags {
  readonly hostname?: string
  readonly queues?: string[]
  readonly excludeQueues?: string[]
  readonly purge?: true
  readonly beat?: true
  readonly schedule?: string
  readonly withoutGossip?: true
  readonly withoutMingle?: true
  readonly withoutHeartbeat?: true
  /** Checked to be a whole number. */
  readonly concurrency?: string
}

export function define(command: Command): void {
  command
    .option('-n, --hostname <name>', 'the name of this worker; %h is the host, %n and %d its name and domain (default: celery@%h)')
    .option('-Q, --queues <names>', "take messages from these queues, separated by commas; by default the app's own", nameList)
    .option('-X, --exclude-queues <names>', 'not from these', nameList)
    .option('-B, --beat', 'send what is due, too; any number of workers may, one of them leads')
  addScheduleFlag(command)
  command
    .option('--without-gossip', 'do not listen to other workers')
    .option('--without-mingle', 'do not ask other workers at the start which tasks are revoked')
    .option('--without-heartbeat', 'do not tell monitors and other workers that this one is there')
    .option('--purge', 'first remove all messages that wait in these queues')
  addDaemonFlags(command)
  addConfigFlags(command, workerOptions())
  command.addHelpText(
    'after',
    '\nSIGTERM, SIGHUP and SIGINT (Ctrl-C) let running tasks finish; a second SIGINT, or SIGQUIT, gives them back to their queue at once.',
  )
  command.action((flags: WorkerFlags) =>
    flags.detach === true && flags.detached !== true ? detach(command, nodeName(flags.hostname)) : run(command, flags),
  )
}

function run(command: Command, flags: WorkerFlags): Promise<void> {
  if (flags.schedule !== undefined && flags.beat !== true) throw new UsageError('--schedule belongs to --beat')
  applyScheduleFlag(flags)
  return withApp(command, async ({ app, core, file, exportName, terminal }) => {
    const excluded = new Set(flags.excludeQueues)
    const queues = (flags.queues ?? core.routes.defaultQueues()).filter((name) => !excluded.has(name))
    if (queues.length === 0) throw new UsageError('no queue is left for this worker: see -Q and -X')
    noteNearQueues(flags.queues ?? [], core, terminal)
    await importTasks(core)
    const worker = app.worker({
      queues,
      app: `${file}#${exportName}`,
      ...(flags.hostname === undefined ? {} : { hostname: flags.hostname }),
      ...(flags.withoutGossip === true ? { gossip: false } : {}),
      ...(flags.withoutMingle === true ? { mingle: false } : {}),
      ...(flags.withoutHeartbeat === true ? { heartbeat: false } : {}),
    })
    if (core.config.logger === null) core.log = workerLog(core.config, { hostname: worker.hostname, process: 'MainProcess' })
    begin(flags, worker.hostname)
    if (flags.purge === true) for (const name of queues) terminal.note(`${name}: ${await app.control.purge(name)} messages removed`)
    terminal.note(banner({ core, version: packageVersion(), hostname: worker.hostname, file, queues }))
    app.on('workerReady', () => terminal.note('ready.'))
    // As Celery: who has interrupted it knows that it has not ended by itself; SIGTERM and SIGQUIT are how one is ended.
    process.once('SIGINT', () => {
      process.exitCode = exitCodes.failed
    })
    endsByHangup()
    // Its end is not waited for by beat, and beat's failure to start is the command's.
    const beat = flags.beat === true ? await app.beat().start() : undefined
    if (beat !== undefined) core.hooks.tell('beatEmbeddedInit', core.log, () => ({ hostname: worker.hostname }))
    try {
      await worker.run()
    } finally {
      await beat?.stop()
    }
  })
}
