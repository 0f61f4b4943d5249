import type { Command } from 'commander'
import type { Worker } from '../../app/worker-handle.js'
import { banner } from '../banner.js'
import { exitCodes } from '../exit-codes.js'
import { addConfigFlags, workerOptions } from '../flags.js'
import { version } from '../program.js'
import { UsageError } from '../usage-error.js'
import { nameList } from '../values.js'
import { withApp } from '../with-app.js'
import { workerLog } from '../worker-log.js'

interface WorkerFlags {
  readonly hostname?: string
  readonly queues?: string[]
  readonly excludeQueues?: string[]
  readonly purge?: true
}

export function define(command: Command): void {
  command
    .option('-n, --hostname <name>', 'the name of this worker; %h is the host, %n and %d its name and domain (default: celery@%h)')
    .option('-Q, --queues <names>', "take messages from these queues, separated by commas; by default the app's own", nameList)
    .option('-X, --exclude-queues <names>', 'not from these', nameList)
    .option('--purge', 'first remove all messages that wait in these queues')
  addConfigFlags(command, workerOptions())
  command.addHelpText(
    'after',
    '\nSIGTERM and SIGINT let running tasks finish; a second one, or SIGQUIT, gives them back to their queue at once.',
  )
  command.action((flags: WorkerFlags) =>
    withApp(command, async ({ app, core, file, exportName, terminal }) => {
      const excluded = new Set(flags.excludeQueues)
      const queues = (flags.queues ?? core.routes.defaultQueues()).filter((name) => !excluded.has(name))
      if (queues.length === 0) throw new UsageError('no queue is left for this worker: see -Q and -X')
      if (flags.purge === true) for (const name of queues) terminal.note(`${name}: ${await app.control.purge(name)} messages removed`)
      const worker = app.worker({
        queues,
        app: `${file}#${exportName}`,
        ...(flags.hostname === undefined ? {} : { hostname: flags.hostname }),
      })
      if (core.config.logger === null) core.log = workerLog(core.config, worker.hostname)
      terminal.note(banner({ core, version: version(), hostname: worker.hostname, file, queues }))
      app.on('workerReady', () => terminal.note('ready.'))
      process.exitCode = await untilStopped(worker, core.config.workerSoftShutdownTimeout > 0)
    }),
  )
}

/** Runs the worker until it ends or a signal stops it: first warm (soft, where that has a time), then cold. Gives the exit code. */
async function untilStopped(worker: Worker, soft: boolean): Promise<number> {
  let signals = 0
  let cold = false
  const stop = (signal: NodeJS.Signals): void => {
    signals++
    cold = signal === 'SIGQUIT' || signals > 1
    if (signals > 2) process.exit(exitCodes.failed)
    // What goes wrong while it stops comes out of run(), too.
    worker.stop({ mode: cold ? 'cold' : soft ? 'soft' : 'warm' }).catch(() => {})
  }
  const stopSignals = ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const
  for (const signal of stopSignals) process.on(signal, stop)
  try {
    await worker.run()
  } finally {
    for (const signal of stopSignals) process.off(signal, stop)
  }
  // As Celery: a worker that cut its tasks off did not end well.
  return cold ? exitCodes.failed : exitCodes.ok
}
